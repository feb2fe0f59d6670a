"""The tasks of a shop: charge a customer, send a receipt, and sum up a month.

The three kinds of effect there are: rows in Postgres (exactly once, with the completion of the
task), a message to a service outside (at least once, under a key that never changes), and a file
(replaced as a whole, so that writing it twice is writing it once). Run it with `leaseq dev
examples.orders:app`; for the receipts, a mail server that only prints what it gets is `python -m
aiosmtpd -n -l 127.0.0.1:1025`.
"""

from __future__ import annotations

import csv
import os
import smtplib
from collections import Counter
from email.message import EmailMessage
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from leaseq import Context, Fail, Leaseq

SMTP = os.environ.get("ORDERS_SMTP", "127.0.0.1:1025")
DATA = Path(os.environ.get("ORDERS_DATA", Path(__file__).parent / "data"))
REPORTS = Path(os.environ.get("ORDERS_REPORTS", "reports"))
TABLES = Path(__file__).with_name("orders.sql").read_bytes()

Cents = Annotated[int, Meta(gt=0)]
Month = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}$")]

app = Leaseq()


class Charged(Struct, frozen=True):
    """The result of `charge`."""

    charge_id: int
    order_id: int
    balance_cents: int


class Report(Struct, frozen=True):
    """The result of `monthly_report`."""

    file: str
    orders: int
    cents: int


@app.task(queue="billing", max_attempts=5, timeout=30)
async def charge(ctx: Context, order_id: int, customer: str, cents: Cents) -> Charged:
    """Take the money for an order: two tables and the completion of the task, in one commit."""
    async with ctx.transaction() as tx:
        await tx.execute(TABLES)  # creates missing tables; a real application has migrations
        account = await tx.execute(
            "insert into accounts as account values (%(customer)s, -%(cents)s) on conflict (customer)"
            " do update set balance_cents = account.balance_cents - %(cents)s returning balance_cents",
            {"customer": customer, "cents": cents},
        )
        [(balance,)] = await account.fetchall()
        made = await tx.execute(
            "insert into charges (order_id, customer, cents) values (%s, %s, %s) returning charge_id",
            (order_id, customer, cents),
        )
        [(charge_id,)] = await made.fetchall()
    return Charged(charge_id, order_id, balance)


@app.task(queue="mail", timeout=60)
def send_receipt(ctx: Context, order_id: int, to: str, cents: Cents) -> str:
    """Send an e-mail. A mail server offers no transaction: the Message-ID lets a receiver drop a
    duplicate."""
    message = EmailMessage()
    # The same for every attempt of this task. An address may not hold a colon.
    message["Message-ID"] = f"<{ctx.key('receipt').replace(':', '.')}@orders.example>"
    message["From"] = "shop@orders.example"
    message["To"] = to
    message["Subject"] = f"Your order {order_id}"
    message.set_content(
        f"Thank you. We have charged {cents / 100:.2f} for your order {order_id}.\n"
    )
    host, _, port = SMTP.rpartition(":")
    try:
        with smtplib.SMTP(host, int(port), timeout=20) as server:
            server.send_message(message)
    except smtplib.SMTPRecipientsRefused as error:
        code, said = error.recipients[to]
        if code >= 500:  # there is no such mailbox, and a retry will not make one
            raise Fail(
                f"the mail server refused {to}: {code} {said.decode(errors='replace')}"
            ) from error
        raise
    return str(message["Message-ID"])


@app.task(queue="reports", timeout=120)
def monthly_report(ctx: Context, month: Month) -> Report:
    """Sum up a month's orders by product. The file appears complete or not at all."""
    try:
        totals = read_totals(DATA / f"orders-{month}.csv")
    except FileNotFoundError:
        raise Fail(f"there are no orders for {month}") from None
    target = REPORTS / f"report-{month}.csv"
    target.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own for every attempt: one that was given up may still be writing.
    unfinished = target.with_name(f".{target.name}.{ctx.task_id}.{ctx.fence}")
    write_report(unfinished, totals)
    unfinished.replace(target)
    return Report(str(target), totals.orders.total(), totals.cents.total())


class Totals(Struct):
    """By product."""

    orders: Counter[str]
    cents: Counter[str]


def read_totals(file: Path) -> Totals:
    """Read one month's orders: order_id, customer, product, cents."""
    totals = Totals(Counter(), Counter())
    with file.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            totals.orders[row["product"]] += 1
            totals.cents[row["product"]] += int(row["cents"])
    return totals


def write_report(file: Path, totals: Totals) -> None:
    """Write one line for each product."""
    with file.open("w", newline="", encoding="utf-8") as lines:
        table = csv.writer(lines, lineterminator="\n")
        table.writerow(["product", "orders", "cents"])
        table.writerows(
            [product, totals.orders[product], totals.cents[product]]
            for product in sorted(totals.orders)
        )
