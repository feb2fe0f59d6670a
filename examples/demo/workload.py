"""The tasks of a made-up shop, the same in every run (one seed)."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

from msgspec import Struct

MONTHS = [f"{year}-{month:02}" for year in range(2021, 2026) for month in range(1, 13)]
ORDERS_A_MONTH = 1_500
PRODUCTS = {
    "espresso": 320,
    "filter coffee": 380,
    "grinder": 8_900,
    "green tea": 290,
    "kettle": 4_500,
    "oat milk": 190,
}
CUSTOMERS = 200
# Of ten submissions, one is sent twice.
REPEATED = 0.1


class Errand(Struct, frozen=True):
    """One task to be submitted, and how: once, twice at the same moment, or again later."""

    type: str
    payload: dict[str, Any]
    key: str
    twice: bool = False
    later: bool = False


class Workload(Struct, frozen=True):
    """The errands, and what the reports must say: orders and cents, by month."""

    errands: list[Errand]
    months: dict[str, tuple[int, int]]

    @property
    def repeated(self) -> int:
        return sum(errand.twice or errand.later for errand in self.errands)


def make_workload(directory: Path, *, tasks: int) -> Workload:
    """Write the orders of some months to `directory`, and think of `tasks` errands: charges,
    receipts, reports."""
    chance = random.Random(2026)
    months = {
        month: write_orders(directory, month, chance)
        for month in MONTHS[: max(1, tasks * 3 // 100)]
    }
    errands = [Errand("monthly_report", {"month": month}, f"report-{month}") for month in months]
    errands += [
        shop_errand(number // 2 + 1, receipt=bool(number % 2), chance=chance)
        for number in range(tasks - len(errands))
    ]
    chance.shuffle(errands)
    for place in chance.sample(range(tasks), int(tasks * REPEATED)):
        said = errands[place]
        together = chance.random() < 0.5
        errands[place] = Errand(
            said.type, said.payload, said.key, twice=together, later=not together
        )
    return Workload(errands, months)


def shop_errand(order_id: int, *, receipt: bool, chance: random.Random) -> Errand:
    """Charge an order, or send its receipt."""
    cents = chance.choice(list(PRODUCTS.values())) * chance.randint(1, 3)
    customer = f"customer-{chance.randint(1, CUSTOMERS):03}@example.com"
    if receipt:
        return Errand(
            "send_receipt",
            {"order_id": order_id, "to": customer, "cents": cents},
            f"receipt-{order_id}",
        )
    return Errand(
        "charge", {"order_id": order_id, "customer": customer, "cents": cents}, f"charge-{order_id}"
    )


def write_orders(directory: Path, month: str, chance: random.Random) -> tuple[int, int]:
    """Write a month of orders; returns how many there are and what they cost."""
    names = chance.choices(list(PRODUCTS), k=ORDERS_A_MONTH)
    with (directory / f"orders-{month}.csv").open("w", newline="", encoding="utf-8") as lines:
        table = csv.writer(lines, lineterminator="\n")
        table.writerow(["order_id", "customer", "product", "cents"])
        table.writerows(
            [order_id, f"customer-{chance.randint(1, CUSTOMERS):03}", name, PRODUCTS[name]]
            for order_id, name in enumerate(names, start=1)
        )
    return len(names), sum(PRODUCTS[name] for name in names)
