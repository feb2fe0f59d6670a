"""Submit the tasks of a run, and wait until the last one is done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from time import monotonic
from typing import Any

import msgspec

from bench.processes import BenchFailed
from bench.stage import Stage
from bench.witness import Endings
from leaseq.config import Config
from leaseq.model import DEFAULT_TENANT, Submission
from leaseq.operations.submission import Request, accept
from leaseq.options import SubmitOptions

QUEUE = "default"
# For what goes on beside the queue that is measured.
ASIDE = "aside"
# With the number before it, a payload of about 100 bytes.
NOTE = "x" * 70
CHUNK = 10_000
POLL_SECONDS = 0.05
STILL_SECONDS = 0.5
PATIENCE_SECONDS = 300.0


def submission(config: Config, task_type: str, *, queue: str = QUEUE, **payload: Any) -> Submission:
    """One submission, as an engine takes it."""
    request = Request(
        type=task_type, payload=msgspec.json.encode(payload), options=SubmitOptions(queue=queue)
    )
    return accept(request, config, tenant=DEFAULT_TENANT)


def noops(config: Config, count: int) -> Iterable[Submission]:
    """Tasks that do nothing."""
    return (submission(config, "noop", order_id=number, note=NOTE) for number in range(count))


def noop_of(config: Config, queue: str) -> Submission:
    """One that does nothing, of this queue."""
    return submission(config, "noop", queue=queue, order_id=0, note=NOTE)


async def record(stage: Stage, count: int) -> list[str]:
    """Record `count` tasks that do nothing; returns their ids, in the order in which they are to be
    run."""
    task_ids: list[str] = []
    while len(task_ids) < count:
        chunk = list(noops(stage.config, min(CHUNK, count - len(task_ids))))
        answers = await stage.engine.submit_many(chunk)
        if refused := [answer for answer in answers if isinstance(answer, BaseException)]:
            raise refused[0]
        task_ids += [submission.task_id for submission in chunk]
    return task_ids


async def supply(stage: Stage, count: int) -> list[str]:
    """Record `count` tasks that do nothing, and wait until dispatch holds what it will hold of
    them. Returns their ids."""
    task_ids = await record(stage, count)
    await delivered(stage)
    return task_ids


async def delivered(stage: Stage) -> int:
    """Wait until the number of deliveries that wait for a worker stands still; returns it.

    It need not be the number of tasks: what dispatch has no room for waits in the ledger.
    """
    seen = [-1, -1]

    async def still() -> bool:
        seen[:] = [seen[1], await backlog(stage)]
        return seen[0] == seen[1] > 0

    await until(still, what="the deliveries are in dispatch", every=STILL_SECONDS)
    return seen[1]


async def backlog(stage: Stage) -> int:
    """How many deliveries wait for a worker?"""
    return (await stage.engine.stores.lists.depths(QUEUE)).waiting


async def all_ended(stage: Stage, *, every: float = POLL_SECONDS) -> None:
    """Wait until every task has ended, looking `every` so many seconds.

    The ledger, whose answer costs it a scan, is asked when dispatch is empty.
    """

    async def ended() -> bool:
        return not await backlog(stage) and not await stage.witness.unfinished()

    await until(ended, what="every task has ended", every=every)


async def until(
    condition: Callable[[], Awaitable[bool]],
    *,
    what: str,
    seconds: float = PATIENCE_SECONDS,
    every: float = POLL_SECONDS,
) -> None:
    """Wait until a condition holds, looking `every` so many seconds. Raises `BenchFailed` after
    `seconds`."""
    give_up = monotonic() + seconds
    while not await condition():
        if monotonic() > give_up:
            raise BenchFailed(f"after {seconds:.0f} s this had not happened: {what}")
        await asyncio.sleep(every)


async def require_single_runs(stage: Stage, count: int) -> None:
    """A run in which a task failed, or ran twice, is not worth a figure. Raises `BenchFailed`."""
    endings = await single_runs_since(stage, None)
    if count != endings.ended:
        raise BenchFailed(f"of {count} tasks {endings.ended} have ended")


async def single_runs_since(stage: Stage, moment: datetime | None) -> Endings:
    """The tasks that ended since a moment. Raises `BenchFailed` if one of them failed or ran
    twice."""
    endings = await stage.witness.endings(moment)
    if not endings.ended == endings.succeeded == endings.first_attempts:
        raise BenchFailed(
            f"of {endings.ended} tasks {endings.succeeded} succeeded, {endings.first_attempts} of them at the first attempt"
        )
    return endings
