"""Mistakes that a type checker must find, marked with `# wrong`.

Checked, never run (test_types.py).
"""

from __future__ import annotations

from leaseq import Context, Leaseq
from leaseq_http import Client, Submission

app = Leaseq()


@app.task
async def charge(ctx: Context, order_id: int, cents: int = 100) -> str:
    """With a context."""
    return f"{ctx.task_id} {order_id} {cents}"


@app.task(queue="reports", timeout=30)
def report(month: str) -> int:
    """With options."""
    return len(month)


async def mistakes(ctx: Context) -> None:
    """One in each line."""
    await charge.submit()  # wrong
    await charge.submit(order_id="1")  # wrong
    await charge.submit(1, 2, 3)  # wrong
    await charge.submit(1, amount=2)  # wrong
    await charge.submit(ctx, 1)  # wrong
    await report.submit(month=1)  # wrong
    await report.options(delay=5).submit(1)  # wrong
    await charge.options(idempotence_key="order-1").submit(1)  # wrong
    await charge.options(delay="soon").submit(1)  # wrong
    await report.submit_many([1])  # wrong
    charge.bind("1")  # wrong
    charge.sync.submit("1")  # wrong
    await charge("1")  # wrong
    await report("2026-01")  # wrong
    length: str = report("2026-01")  # wrong
    await app.submit_many([charge.submit(1)])  # wrong
    text: int = await (await charge.submit(1)).result()  # wrong
    number: str = await (await report.submit("2026-01")).result()  # wrong
    await (await charge.submit(1)).result(30)  # wrong
    print(text, number, length)


@app.task(retries=3)  # wrong
async def ping() -> None:
    """With an option that does not exist."""


@app.task(timeout="30")  # wrong
async def pong() -> None:
    """With an option of the wrong type."""


def over_http(client: Client) -> None:
    """The clients of leaseq-http."""
    client.submit("charge", {}, delay=5)  # wrong
    client.submit("charge", {}, priority="urgent")  # wrong
    client.list_tasks(state="DONE")  # wrong
    count: str = client.result("id", type=int)  # wrong
    Submission("charge", {}, max_attempts="3")  # wrong
    print(count)
