"""The facts about one task, from both stores, on which its explanation rests.

They are read one after another, so they may contradict each other. A fact that could not be read is
None or empty, and the explanation says less.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from leaseq.dispatch.delivery_search import DispatchFacts
from leaseq.ledger.failures import FailureSummary
from leaseq.ledger.operation_log import OperationRecord
from leaseq.ledger.services import ServiceRecord
from leaseq.ledger.task_facts import CountedTasks, Line, OpenWorker, Pace, Remembered
from leaseq.lifecycle import lane_of
from leaseq.model import AttemptRecord, Lane, Moment, QueueRecord, TaskSummary, WorkerRecord
from leaseq.operations.why.wording import moment_after


class Rules(Struct, frozen=True, kw_only=True):
    """The settings of this process that the explanation names."""

    lease_seconds: float = 10.0
    retention_seconds: float = 259_200.0


class UsualRun(Struct, frozen=True):
    """How long attempts of a type ran in the last day, in seconds: 95 of 100 of them, and 99. `count`:
    how many there were; 0 where that is not to be shown."""

    count: int
    p95: float
    p99: float


class Facts(Struct, frozen=True, kw_only=True):
    """Everything that is known about one task. Times are those of Postgres."""

    now: Moment
    rules: Rules = Rules()
    task: TaskSummary | None = None  # None: pruned
    remembered: Remembered | None = None
    queue: QueueRecord | None = None
    last_attempt: AttemptRecord | None = None
    worker: WorkerRecord | None = None  # the one that runs the task
    servers: list[OpenWorker] = []  # open workers, those of the queue first
    last_server: WorkerRecord | None = None  # closed; read where no open worker serves the queue
    services: list[ServiceRecord] = []
    operations: list[OperationRecord] = []  # changes of the task, newest first
    lockers: list[str] = []  # sessions that hold a lock on its row
    dispatch: DispatchFacts | None = None  # None: not read, or Redis does not answer
    dispatch_error: str | None = None  # the reason
    pace: Pace | None = None
    backlog_before: CountedTasks | None = None
    usual: UsualRun | None = None  # read for a task that runs
    line: Line | None = None  # of its limit, in which it waits for a permit
    # The group of the last failure of a task that is FAILED or goes on after it. None: its attempts
    # did not fail, or are not counted yet.
    failure: FailureSummary | None = None

    @property
    def lane(self) -> Lane:
        """The lane in which a delivery of the task belongs."""
        assert self.task is not None
        task = self.task
        return lane_of(task.priority, crash_count=task.crash_count, loss_count=task.loss_count)

    @property
    def serving(self) -> list[OpenWorker]:
        """The open workers that serve its queue."""
        return [worker for worker in self.servers if worker.serves]

    def services_of(self, role: str) -> list[ServiceRecord]:
        """The services of a role that are alive."""
        return [each for each in self.services if each.role == role and each.is_alive]

    @property
    def reapers(self) -> list[ServiceRecord]:
        """The reapers that are alive."""
        return self.services_of("reaper")

    @property
    def last_reaper(self) -> ServiceRecord | None:
        """The reaper that was seen last, if none is alive."""
        gone = [each for each in self.services if each.role == "reaper"]
        return None if self.reapers else max(gone, key=lambda each: each.last_seen, default=None)

    @property
    def is_reaper_failing(self) -> bool:
        """Whether every reaper that is alive reports that it cannot promote tasks."""
        details = [_object(each.detail) for each in self.reapers]
        return bool(details) and all("promote" in _list(each, "failing") for each in details)

    @property
    def is_reaper_held_back(self) -> bool:
        """Whether every reaper that is alive recovers no silent worker at present."""
        details = [_object(each.detail) for each in self.reapers]
        return bool(details) and all(
            each.get("braked") is True or each.get("quiet") is True for each in details
        )

    def ago(self, moment: Moment) -> float:
        """The seconds since a moment; negative before it."""
        return (self.now - moment).total_seconds()

    def after(self, seconds: float) -> Moment | None:
        """The moment so many seconds from now; None where no calendar has it."""
        return moment_after(self.now, seconds)


def without_contents(facts: Facts) -> Facts:
    """The same facts without texts of clients and handlers, for keys without the scope
    `payloads`. The code of an error is leaseq's own."""
    task, attempt = facts.task, facts.last_attempt
    return replace(
        facts,
        task=None if task is None else replace(task, error=_code_alone(task.error)),
        last_attempt=None
        if attempt is None
        else replace(attempt, error=_code_alone(attempt.error)),
    )


def of_one_tenant(facts: Facts) -> Facts:
    """The same facts without hosts, names of people, and numbers in which the tasks of other tenants
    count, for keys that are bound to a tenant."""
    dispatch, queue = facts.dispatch, facts.queue
    if dispatch is not None:
        place = dispatch.place
        dispatch = replace(
            dispatch,
            place=None if place is None else replace(place, before=None, behind=None),
            lengths={
                lane: length if length >= dispatch.window else 0
                for lane, length in dispatch.lengths.items()
            },
            heads=[],
            backlog_since=facts.task.created_at
            if dispatch.backlog_since is not None and facts.task is not None
            else None,
            backlog_cursor=None,
        )
    return replace(
        facts,
        queue=None if queue is None else replace(queue, paused_by=None),
        worker=None if facts.worker is None else replace(facts.worker, host="", pid=0),
        servers=[replace(each, host="", pid=0) for each in facts.servers],
        last_server=None
        if facts.last_server is None
        else replace(facts.last_server, host="", pid=0),
        services=[replace(each, host="", pid=0) for each in facts.services],
        operations=[replace(each, actor="", detail=None) for each in facts.operations],
        lockers=["a session" for _ in facts.lockers],
        dispatch=dispatch,
        pace=None,
        backlog_before=None,
        # The case is the same, and the numbers, which are those of all tenants, are not shown.
        usual=None if facts.usual is None else replace(facts.usual, count=0),
    )


def _code_alone(error: bytes | None) -> bytes | None:
    return None if error is None else msgspec.json.encode({"code": _object(error).get("code")})


def _object(raw: bytes) -> dict[str, Any]:
    """A JSON object; an empty one for any other value."""
    try:
        found = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _list(found: dict[str, Any], name: str) -> list[Any]:
    value = found.get(name)
    return value if isinstance(value, list) else []


__all__ = ["Facts", "Rules", "UsualRun", "of_one_tenant", "without_contents"]
