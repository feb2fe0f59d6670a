"""The tasks that run now, the longest first.

Dispatch knows which tasks each worker holds, and the ledger which of them run. Two statements and a
fixed number of commands, however many tasks there are: of each worker the deliveries that it took
first are looked at, MOST_LOOKED_AT in total. Where Redis does not answer, the list is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import timedelta
from itertools import chain, zip_longest
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from leaseq.dispatch.worker_holdings import Holding
from leaseq.ledger.fleet import FleetLedger, RunningRow
from leaseq.ledger.session import Session
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import Moment
from leaseq.operations.statistics.read import Statistics
from leaseq.operations.stores import Stores

MOST_WORKERS = 200
# A task that is found by its id costs four blocks, and no statement for a page reads more than 4,000.
MOST_LOOKED_AT = 800
MOST_LISTED = 200
DISPATCH_SECONDS = 1.0
# A run of more than so many times the usual p95 is worth a look.
UNUSUAL = 3.0

Turn = Callable[[], AbstractAsyncContextManager[None]]
# By queue and type: the p95 of its run time in seconds.
Usual = Mapping[tuple[str, str], float]


class RunningTask(Struct, frozen=True, kw_only=True):
    """One task that runs. A key without the scope `payloads` gets no `progress`."""

    task_id: str
    tenant: str
    queue: str
    type: str
    attempt: int
    max_attempts: int
    worker_id: str
    host: str | None
    started_at: Moment
    run_seconds: Annotated[float, Meta(ge=0)]
    timeout_seconds: float
    timeout_share: Annotated[
        float, Meta(ge=0, description="`run_seconds` as a share of `timeout_seconds`")
    ]
    lease_left_seconds: Annotated[
        float | None, Meta(description="Of its worker; negative once it has run out; null: none")
    ]
    usual_p95_seconds: Annotated[
        float | None,
        Meta(description="Of this type in this queue, in the last 24 hours; null: not known"),
    ]
    unusual: Annotated[bool, Meta(description="It runs for more than three times that long")]
    cancel_requested_at: Moment | None
    progress: Raw | UnsetType | None = UNSET


class Running(Struct, frozen=True, kw_only=True):
    """The tasks that run, the longest first. `tasks` is null while Redis does not answer, because
    Postgres alone does not know which they are. `more`: some were not looked at."""

    at: Moment
    redis: Literal["up", "away"]
    held: Annotated[
        int | None,
        Meta(description="Deliveries that workers hold; null for keys that are bound to a tenant"),
    ]
    more: bool
    tasks: list[RunningTask] | None


class RunningReader:
    """Reads the running tasks on one session of Postgres. `turn`: within which each series of
    statements runs."""

    def __init__(self, session: Session, stores: Stores, *, turn: Turn = nullcontext) -> None:
        self._fleet = FleetLedger(session)
        self._workers = WorkerLedger(session)
        self._stores = stores
        self._turn = turn

    async def read(
        self, *, tenant: str | None, usual: Usual, contents: bool, worker_id: str | None = None
    ) -> Running:
        """The running tasks of one tenant (None: of all), of one worker or of all. `contents`: with
        the progress that handlers report."""
        async with self._turn():
            if worker_id is None:
                workers = await self._workers.list_workers(closed=False, limit=MOST_WORKERS)
            else:
                one = await self._workers.find_worker(worker_id)
                workers = [] if one is None or one.closed_at is not None else [one]
        queues = {each.worker_id: each.queues for each in workers}
        held = await self._stores.holdings.of(
            queues, seconds=DISPATCH_SECONDS, most=max(MOST_LOOKED_AT // max(len(queues), 1), 50)
        )
        ids = [] if held is None else first_ids(held)
        async with self._turn():
            now, found = await self._fleet.list_running(ids, tenant=tenant, limit=MOST_LISTED)
        if held is None:
            return Running(at=now, redis="away", held=None, more=False, tasks=None)
        total = sum(each.count for each in held.values())
        return Running(
            at=now,
            redis="up",
            held=total if tenant is None else None,
            more=total > len(ids) or len(found) == MOST_LISTED or len(workers) == MOST_WORKERS,
            tasks=[_running(row, now, held, usual, contents=contents) for row in found],
        )


def first_ids(held: Mapping[str, Holding]) -> list[str]:
    """The ids to look at: the first of each worker, then the second of each, and so on."""
    rounds = zip_longest(*(each.task_ids for each in held.values()))
    ids = [task_id for task_id in chain.from_iterable(rounds) if task_id is not None]
    return ids[:MOST_LOOKED_AT]


def usual_runs(statistics: Statistics) -> dict[tuple[str, str], float]:
    """The p95 of the run time of each type in each queue."""
    return {
        (each.queue, each.type): each.figures.run.p95
        for each in statistics.types
        if each.figures.run.p95 is not None
    }


def _running(
    row: RunningRow,
    now: Moment,
    held: Mapping[str, Holding],
    usual: Usual,
    *,
    contents: bool,
) -> RunningTask:
    ran = max((now - row.started_at) / timedelta(seconds=1), 0.0)
    p95 = usual.get((row.queue, row.type))
    holding = held.get(row.worker_id)
    left = None if holding is None or holding.left_ms is None else holding.left_ms / 1000
    return RunningTask(
        task_id=row.task_id,
        tenant=row.tenant,
        queue=row.queue,
        type=row.type,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        worker_id=row.worker_id,
        host=row.host,
        started_at=row.started_at,
        run_seconds=ran,
        timeout_seconds=row.timeout_seconds,
        timeout_share=ran / row.timeout_seconds,
        lease_left_seconds=left,
        usual_p95_seconds=p95,
        unusual=p95 is not None and ran > UNUSUAL * p95,
        cancel_requested_at=row.cancel_requested_at,
        progress=_progress(row) if contents else UNSET,
    )


def _progress(row: RunningRow) -> Raw | None:
    return None if row.progress is None else Raw(row.progress)


__all__ = ["Running", "RunningReader", "RunningTask", "first_ids", "usual_runs"]
