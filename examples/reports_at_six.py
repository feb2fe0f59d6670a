"""Reports at six in the morning, as the clock on the wall shows it.

Run it with `leaseq dev examples.reports_at_six:app`. `leaseq schedules` lists the schedules with
their next times, and `leaseq schedules run report` does not wait until tomorrow.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from leaseq import Context, Leaseq

app = Leaseq()


@app.cron("0 6 * * *", tz="Europe/Zurich", catch_up="once", overlap="skip")
@app.task(queue="reports")
async def report(ctx: Context) -> str:
    """Report about the day before. A report that comes late is about the same day."""
    due = ctx.scheduled_at or datetime.now(UTC)
    return f"report of {due:%Y-%m-%d}"


@app.every(30, name="poll-orders", arguments={"shop": "zurich"}, jitter=5)
def poll(shop: str) -> str:
    """Ask a shop for new orders."""
    return f"no new orders in {shop}"


@app.task(queue="reports")
def invoice(customer: str) -> str:
    """Write the invoice of one customer."""
    return f"invoice for {customer}"


async def welcome(customer: str) -> None:
    """Each customer gets a schedule of their own, by the clock of their city."""
    async with app:
        schedule = await app.schedules.put(
            f"invoice-{customer}",
            invoice.bind(customer=customer),
            cron="0 6 1 * *",
            tz="America/New_York",
            catch_up="all",
            max_catch_up=12,
        )
        for moment in schedule.preview(5):
            print(f"{moment:%Y-%m-%d %H:%M} UTC")
        task = await app.schedules.run_now(schedule.name, request="first")
        print(task.id)


if __name__ == "__main__":
    asyncio.run(welcome("acme"))
