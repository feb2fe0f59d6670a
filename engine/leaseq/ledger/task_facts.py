"""Read from the ledger why a task is where it is.

Each method is one statement whose work has a bound, with tables of any size. Nothing is
locked. The statements run one after another, so their answers may be of different moments.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec import Struct

from leaseq.codec import made_at
from leaseq.ledger import rows
from leaseq.ledger.session import Session
from leaseq.ledger.task_types import TypeLedger
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import AttemptRecord, Moment, Priority, QueueRecord, TaskSummary, WorkerRecord

# Open workers that are read.
MOST_WORKERS = 100
# Tasks that are looked at for each head of a lane, and for the part of a backlog before a task: a
# few hundred blocks, and with the largest payloads that are kept in the row less than 4,000.
PACE_ROWS = 2000
COUNTED_ROWS = 7500
LOCKED_SECONDS = 1
MOST_IN_LINE = 10_000


class Situation(Struct, frozen=True, kw_only=True):
    """A task and its queue, and the time at which both were read, by the clock of Postgres."""

    now: Moment
    task: TaskSummary
    queue: QueueRecord


class Remembered(Struct, frozen=True, kw_only=True):
    """The rest of a pruned task: what its idempotency key remembers."""

    now: Moment
    task_id: str
    tenant: str
    queue: str
    final_state: str | None
    created_at: Moment
    expires_at: Moment


class OpenWorker(Struct, frozen=True, kw_only=True):
    """An open worker, seen from one task: whether it serves its queue, and knows its type. `types`
    and `knows` are None for a worker whose version does not register them. The counts are those of
    all open workers, and are the same in each row."""

    worker_id: str
    host: str
    pid: int  # of its supervisor
    queues: list[str]  # the first of them
    serves: bool
    knows: bool | None
    types: list[str] | None  # the first of them
    silent_seconds: float
    open_count: int
    serving_count: int


class Pace(Struct, frozen=True):
    """How many tasks of a queue began within `span` seconds, `newer` of them in the second half of
    it, and when the last one did."""

    count: int
    span: float
    since_last: float
    newer: int


class CountedTasks(Struct, frozen=True):
    """A number of tasks, counted or (`is_all` false) estimated from the first part of them."""

    count: int
    is_all: bool


class Line(Struct, frozen=True, kw_only=True):
    """The line in which a task waits for a permit of its limit: the permits that the limit and its
    key have given, and the tasks of the key before it, at most MOST_IN_LINE of each."""

    limit: str
    key: str
    concurrency: int | None
    key_concurrency: int | None
    admitted: int
    key_admitted: int
    ahead: int
    start_in: float | None = None  # seconds until the rate has a token; None: there is no rate
    key_start_in: float | None = None


class Origin(Struct, frozen=True):
    """The time now, and the task of which one is a replay; None: of none."""

    now: Moment
    replay_of: str | None


class TaskFacts:
    """The facts about one task in Postgres."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def find_situation(self, task_id: str, *, tenant: str | None) -> Situation | None:
        """One task with its queue, or None."""
        task = (await TaskLedger(self._session).find([task_id], tenant=tenant)).get(task_id)
        if task is None:
            return None
        (row,) = await self._session.fetch("read_queue", {"queue": task.queue}, idempotent=True)
        queue = QueueRecord(
            name=task.queue,
            paused=row.paused,
            paused_by=row.paused_by,
            paused_reason=row.paused_reason,
            paused_at=row.paused_at,
        )
        return Situation(now=row.now, task=task, queue=queue)

    async def find_remembered(self, task_id: str, *, tenant: str, key: str) -> Remembered | None:
        """The rest of a pruned task, or None where this key does not stand for it."""
        params = {"task_id": task_id, "tenant": tenant, "key": key}
        found = await self._session.fetch("find_remembered", params, idempotent=True)
        return _to_remembered(found[0]) if found else None

    async def find_last_attempt(self, task_id: str) -> AttemptRecord | None:
        """The last attempt that did not succeed, or None."""
        found = await self._session.fetch(
            "find_last_attempt", {"task_id": task_id}, idempotent=True
        )
        return rows.to_attempt(found[0]) if found else None

    async def list_servers(self, queue: str, type: str) -> list[OpenWorker]:  # noqa: A002
        """The open workers, those of this queue first."""
        params = {"queue": queue, "type": type, "limit": MOST_WORKERS}
        found = await self._session.fetch("list_servers", params, idempotent=True)
        return [_to_open_worker(row) for row in found]

    async def find_last_server(self, queue: str) -> WorkerRecord | None:
        """The closed worker that served this queue last, or None."""
        found = await self._session.fetch("find_last_server", {"queue": queue}, idempotent=True)
        return rows.to_worker(found[0]) if found else None

    async def find_worker(self, worker_id: str) -> WorkerRecord | None:
        """One worker, open or closed, or None."""
        return await WorkerLedger(self._session).find_worker(worker_id)

    async def find_lockers(self, task_id: str) -> list[str]:
        """The sessions that have locked the row of this task for a while, in words. Claims and
        endings lock it for a moment, too."""
        return await TaskLedger(self._session).find_lockers([task_id], for_seconds=LOCKED_SECONDS)

    async def read_line(self, task_id: str) -> Line | None:
        """The line of its limit in which this task waits, or None."""
        params = {"task_id": task_id, "most": MOST_IN_LINE}
        found = await self._session.fetch("read_line", params, idempotent=True)
        return _to_line(found[0]) if found else None

    async def find_retention(self, type: str) -> float | None:  # noqa: A002
        """How long the ended tasks of a type are kept, in seconds; None: as the configuration
        says."""
        return (await TypeLedger(self._session).find_retentions()).get(type)

    async def measure_pace(self, queue: str, heads: Sequence[str]) -> Pace:
        """How quickly tasks of this queue begin, by the tasks before these heads of its lanes."""
        params = {"queue": queue, "heads": list(heads), "rows": PACE_ROWS}
        ((count, span, since_last, newer),) = await self._session.fetch(
            "measure_pace", params, idempotent=True
        )
        return Pace(count, span, since_last, newer)

    async def count_before(
        self, task_id: str, *, queue: str, priority: Priority, first: str
    ) -> CountedTasks:
        """Count the waiting tasks of a backlog that begins at this id, up to a task.

        Of a long backlog the first part is counted. The rest is estimated by the times of the ids,
        as if submissions had come steadily.
        """
        params = {
            "task_id": task_id,
            "queue": queue,
            "priority": int(priority),
            "first_id": first,
            "rows": COUNTED_ROWS,
        }
        ((count, looked_at, last),) = await self._session.fetch(
            "count_before", params, idempotent=True
        )
        if looked_at < COUNTED_ROWS:
            return CountedTasks(count, is_all=True)
        counted, whole = (
            made_at(each).timestamp() - made_at(first).timestamp() for each in (last, task_id)
        )
        return CountedTasks(round(count * whole / counted) if counted > 0 else count, is_all=False)

    async def read_origin(self, task_id: str, *, tenant: str | None) -> Origin | None:
        """Read the time and of which task this one is a replay. None: there is no such task."""
        params = {"task_id": task_id, "tenant": tenant}
        found = await self._session.fetch("read_origin", params, idempotent=True)
        return Origin(found[0].now, found[0].replay_of) if found else None

    async def find_holders(self, worker_ids: Collection[str]) -> dict[str, WorkerRecord]:
        """Read these workers, open or closed, by id. Pruned ones are missing."""
        params = {"worker_ids": sorted(set(worker_ids))}
        found = await self._session.fetch("find_holders", params, idempotent=True)
        return {row.worker_id: _to_holder(row) for row in found}


_to_remembered = rows.reader(Remembered)
_to_line = rows.reader(Line)
_to_open_worker = rows.reader(OpenWorker)
_to_holder = rows.reader(WorkerRecord)

__all__ = [
    "CountedTasks",
    "Line",
    "OpenWorker",
    "Origin",
    "Pace",
    "Remembered",
    "Situation",
    "TaskFacts",
]
