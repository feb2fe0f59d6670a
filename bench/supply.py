"""Where do the tasks of a run come from, and when is the last of them done?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic
from typing import Any

import msgspec

from bench.processes import BenchFailed
from bench.stage import Stage
from leaseq.config import Config
from leaseq.engine.submission import Request, accept
from leaseq.model import Submission

QUEUE = "default"
# For what goes on beside the queue that is measured.
ASIDE = "aside"
# With the number before it, a payload of about 100 bytes.
NOTE = "x" * 70
POLL_SECONDS = 0.05
PATIENCE_SECONDS = 300.0


def submission(config: Config, task_type: str, *, queue: str = QUEUE, **payload: Any) -> Submission:
    """One submission, as an engine takes it."""
    return accept(Request(type=task_type, queue=queue, payload=msgspec.json.encode(payload)), config)


def noops(config: Config, count: int) -> Iterable[Submission]:
    """Tasks that do nothing."""
    return (submission(config, "noop", order_id=number, note=NOTE) for number in range(count))


async def supply(stage: Stage, count: int) -> None:
    """Record `count` tasks that do nothing, and wait until all of them are in dispatch."""
    answers = await stage.engine.submit_many(list(noops(stage.config, count)))
    if refused := [answer for answer in answers if isinstance(answer, BaseException)]:
        raise refused[0]

    async def delivered() -> bool:
        return await backlog(stage) == count

    await until(delivered, what="the deliveries are in dispatch")


async def backlog(stage: Stage) -> int:
    """How many deliveries wait for a worker?"""
    return (await stage.engine.stores.survey.depths(QUEUE)).waiting


async def all_ended(stage: Stage) -> None:
    """Wait until every task has ended. The ledger, whose answer costs it a scan, is asked when dispatch is empty."""

    async def ended() -> bool:
        return not await backlog(stage) and not await stage.witness.unfinished()

    await until(ended, what="every task has ended")


async def until(
    condition: Callable[[], Awaitable[bool]],
    *,
    what: str,
    seconds: float = PATIENCE_SECONDS,
    every: float = POLL_SECONDS,
) -> None:
    """Wait until a condition holds, looking `every` so many seconds. Raises `BenchFailed` after `seconds`."""
    give_up = monotonic() + seconds
    while not await condition():
        if monotonic() > give_up:
            raise BenchFailed(f"after {seconds:.0f} s it was still in vain to wait until {what}")
        await asyncio.sleep(every)


async def require_single_runs(stage: Stage, count: int) -> None:
    """A run in which a task failed, or ran twice, is not worth a figure. Raises `BenchFailed`."""
    endings = await stage.witness.endings()
    if not count == endings.succeeded == endings.first_attempts:
        raise BenchFailed(
            f"of {count} tasks {endings.succeeded} succeeded, {endings.first_attempts} of them at the first attempt"
        )
