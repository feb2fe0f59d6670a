"""Run one task at a time for each customer, and different customers together.

Run it with `leaseq dev examples.one_at_a_time:app`, then `python -m examples.one_at_a_time` in another
shell. `leaseq limits show accounts` shows the lines meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from leaseq import Leaseq

app = Leaseq()
# Over the whole fleet, however many workers there are.
app.limit("accounts", key_concurrency=1, order="strict")

BALANCES = Path("balances")


@app.task(limit="accounts", key="customer")
def deposit(customer: str, cents: int) -> int:
    """Add to the balance of a customer. Two of these at a time would lose one deposit: both would
    read the same balance. The write is not undone if the task is run again, so a real balance belongs
    into `ctx.transaction()`."""
    file = BALANCES / customer
    balance = int(file.read_text(encoding="utf-8")) if file.exists() else 0
    time.sleep(0.02)  # a slow bank
    BALANCES.mkdir(exist_ok=True)
    file.write_text(str(balance + cents), encoding="utf-8")
    return balance + cents


async def deposits() -> list[int]:
    """Ten deposits for each of two customers; the balances after each."""
    tasks = [
        await deposit.submit(customer=customer, cents=100)
        for _ in range(10)
        for customer in ("acme", "blue")
    ]
    return [await task.result() for task in tasks]


async def main() -> None:
    """Print the balances that the deposits led to."""
    async with app:
        print(sorted(await deposits()))


if __name__ == "__main__":
    asyncio.run(main())
