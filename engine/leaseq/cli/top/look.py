"""One look at the cluster, with bounded statements and commands.

The overview is that of the dashboard. Everything else is read for the screen alone.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from leaseq.dispatch.worker_holdings import Holding
from leaseq.ledger.dead_letters import CountedLetters
from leaseq.ledger.failures import FailureFilter, FailureGroup
from leaseq.ledger.notices import NoticeFilter, NoticeRecord
from leaseq.ledger.operation_log import OperationFilter, OperationRecord
from leaseq.model import State, WorkerRecord
from leaseq.operations.engine import Engine
from leaseq.operations.overview.answer import Overview
from leaseq.operations.statistics.read import Statistics

MOST_ROWS = 200
# Running tasks that are read.
MOST_RUNNING = 100
# Causes of failures. More than a screen shows.
MOST_CAUSES = 50
HOLDINGS_SECONDS = 1.0


class Wanted(Struct, frozen=True, kw_only=True):
    """The part of the cluster to look at. None: all of it."""

    queue: str | None = None
    type: str | None = None


class RunningTask(Struct, frozen=True, kw_only=True):
    """A task that a worker runs. `lease_left_seconds`: of its worker; None: not known."""

    task_id: str
    type: str
    queue: str
    attempt: int
    worker_id: str
    host: str
    started_at: datetime | None
    lease_left_seconds: float | None


class Look(Struct, frozen=True, kw_only=True):
    """The cluster at one moment. `running` and `holdings` are None while Redis is away."""

    overview: Overview
    statistics: Statistics
    workers: list[WorkerRecord]
    holdings: dict[str, Holding] | None
    running: list[RunningTask] | None
    letters: list[CountedLetters]
    failures: list[FailureGroup]
    operations: list[OperationRecord]
    notices: list[NoticeRecord]


async def look_at(engine: Engine, wanted: Wanted) -> Look:
    """Look at the cluster. Raises `ServerUnreachable` where Postgres does not answer."""
    overview = await engine.overview_reader().read()
    workers = await engine.list_workers(limit=MOST_ROWS)
    holdings = await engine.find_holdings(workers, seconds=HOLDINGS_SECONDS)
    letters = await engine.count_dead_letters(tenant=None, limit=MOST_ROWS)
    causes = FailureFilter(queue=wanted.queue, type=wanted.type, limit=MOST_CAUSES)
    failures = await engine.failures.list_groups(causes, tenant=None)
    operations = await engine.list_operations(OperationFilter(limit=MOST_ROWS), tenant=None)
    notices = await engine.list_notices(NoticeFilter(queue=wanted.queue, limit=MOST_ROWS))
    running = None if holdings is None else await _running(engine, workers, holdings)
    return Look(
        overview=overview,
        statistics=await engine.statistics("1h", queue=wanted.queue, type_name=wanted.type),
        workers=workers,
        holdings=holdings,
        running=running if running is None else [each for each in running if fits(each, wanted)],
        letters=[each for each in letters if fits(each, wanted)],
        failures=failures.groups,
        operations=operations.operations,
        notices=notices.notices,
    )


def fits(row: RunningTask | CountedLetters, wanted: Wanted) -> bool:
    """Whether a row is about the queue and the type that were asked for."""
    return wanted.queue in (None, row.queue) and wanted.type in (None, row.type)


async def _running(
    engine: Engine, workers: list[WorkerRecord], holdings: dict[str, Holding]
) -> list[RunningTask]:
    """The tasks in the processing lists that are PROCESSING under these workers, the oldest first."""
    held = {
        task_id: worker
        for worker in workers
        if worker.worker_id in holdings
        for task_id in holdings[worker.worker_id].task_ids
    }
    ids = sorted(held)[:MOST_RUNNING]
    found = await engine.find_followed(ids)
    return [
        RunningTask(
            task_id=task.task_id,
            type=task.type,
            queue=task.queue,
            attempt=task.attempt,
            worker_id=held[task.task_id].worker_id,
            host=held[task.task_id].host,
            started_at=task.started_at,
            lease_left_seconds=_seconds(holdings[held[task.task_id].worker_id]),
        )
        for task in sorted(found.values(), key=lambda task: task.task_id)
        if task.state is State.PROCESSING
    ]


def _seconds(holding: Holding) -> float | None:
    return None if holding.left_ms is None else holding.left_ms / 1000


__all__ = ["Look", "RunningTask", "Wanted", "fits", "look_at"]
