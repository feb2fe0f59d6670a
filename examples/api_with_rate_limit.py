"""Call an outside API that allows five calls in a second, from any worker.

Run it with `leaseq dev examples.api_with_rate_limit:app`, then `python -m examples.api_with_rate_limit`
in another shell. `leaseq why` of a task that waits says when the rate allows its start.
"""

from __future__ import annotations

import asyncio
import time

from leaseq import Leaseq

app = Leaseq()
# Over the whole fleet. In any second at most five calls start, and no worker sleeps for that.
app.limit("rates-api", rate="4/1s", burst=1)


@app.task(limit="rates-api")
def fetch_rate(currency: str) -> float:
    """Ask for the rate of a currency; the time at which it was asked."""
    return time.time()


async def calls(count: int) -> list[float]:
    """Submit so many calls together; the times at which they were made, in order."""
    tasks = [await fetch_rate.submit(currency="CHF") for _ in range(count)]
    return sorted([await task.result() for task in tasks])


async def main() -> None:
    """Print after how many seconds each call was made."""
    async with app:
        made = await calls(20)
    print(*(f"{each - made[0]:.2f}" for each in made))


if __name__ == "__main__":
    asyncio.run(main())
