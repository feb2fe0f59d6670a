"""Forge facts about tasks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from leaseq.dispatch.delivery_search import DeliveryPlace, DispatchFacts
from leaseq.ledger.operation_log import OperationOutcome, OperationRecord
from leaseq.ledger.services import ServiceRecord
from leaseq.ledger.task_facts import Line, OpenWorker, Pace
from leaseq.model import (
    AttemptRecord,
    Lane,
    Outcome,
    Priority,
    QueueRecord,
    State,
    TaskSummary,
    WorkerRecord,
)
from leaseq.operations.why.answer import CaseName
from leaseq.operations.why.facts import Facts

NOW = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC)
TASK_ID = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6a7b"
WORKER_ID = "a1b2c3d4e5f6a7b8"


class Forged(Struct, frozen=True):
    """One situation, and what has to be explained about it."""

    case: CaseName
    facts: Facts
    sentence: str  # a part of it
    next: str  # a part of it
    needs_person: bool = False
    next_at: datetime | None = None
    action: str = ""  # a part of one


LINE = Line(
    limit="stripe",
    key="acme",
    concurrency=50,
    key_concurrency=3,
    admitted=50,
    key_admitted=3,
    ahead=7,
)
FREE_LINE = replace(LINE, admitted=49, key_admitted=2)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def a_task(state: State = State.PENDING, **said: Any) -> TaskSummary:
    ended = state in (State.SUCCESS, State.FAILED, State.CANCELLED)
    running = state is State.PROCESSING
    usual = TaskSummary(
        task_id=TASK_ID,
        tenant="default",
        queue="mail",
        type="send",
        state=state,
        priority=Priority.NORMAL,
        attempt=1 if running or ended else 0,
        retry_count=0,
        crash_count=0,
        loss_count=0,
        max_attempts=5,
        timeout_seconds=30.0,
        idempotency_key=None,
        created_at=ago(60),
        run_at=ago(60),
        started_at=ago(5) if running or ended else None,
        finished_at=ago(2) if ended else None,
        expires_at=None,
        cancel_requested_at=None,
        worker_id=WORKER_ID if running else None,
        error=None,
        progress=None,
        hand_back_count=0,
        erased_at=None,
        key_freed_at=None,
        labels={},
        limit_name=None,
        concurrency_key=None,
        in_line=None,
        unique_key=None,
        unique_hold=None,
        has_unique_key=None,
    )
    return replace(usual, **said)


def an_error(code: str, **more: str) -> bytes:
    return msgspec.json.encode({"code": code, "message": "no luck", "type": "ValueError"} | more)


def a_worker(**said: Any) -> WorkerRecord:
    usual = WorkerRecord(
        worker_id=WORKER_ID,
        host="ant.example",
        pid=9,
        queues=["mail"],
        version="1",
        started_at=ago(600),
        last_seen=ago(1),
        closed_at=None,
        close_reason=None,
    )
    return replace(usual, **said)


def a_server(**said: Any) -> OpenWorker:
    usual = OpenWorker(
        worker_id=WORKER_ID,
        host="ant.example",
        pid=9,
        queues=["mail"],
        serves=True,
        knows=True,
        types=["send"],
        silent_seconds=0.4,
        open_count=1,
        serving_count=1,
    )
    return replace(usual, **said)


def a_reaper(**detail: Any) -> ServiceRecord:
    return ServiceRecord(
        service_id="r",
        role="reaper",
        host="bee.example",
        pid=7,
        version="1",
        beat_seconds=10.0,
        detail=msgspec.json.encode({"failing": [], "braked": False, "quiet": False} | detail),
        started_at=ago(900),
        last_seen=ago(2),
        ended_at=None,
        silent_seconds=2.0,
    )


GONE = replace(a_reaper(), last_seen=ago(41), silent_seconds=41.0)


def an_operation(action: str) -> OperationRecord:
    return OperationRecord(
        operation_id="o",
        kind="single",
        action=action,
        target=TASK_ID,
        tenant=None,
        key_id=None,
        actor="ada@ops",
        outcome=OperationOutcome.DONE,
        code=None,
        detail=None,
        began_at=ago(3),
        ended_at=ago(3),
    )


def an_attempt(**said: Any) -> AttemptRecord:
    usual = AttemptRecord(
        task_id=TASK_ID,
        attempt=1,
        outcome=Outcome.ERRORED,
        worker_id=WORKER_ID,
        started_at=ago(5),
        finished_at=ago(4),
        next_state=State.SCHEDULED,
        error=an_error("error"),
    )
    return replace(usual, **said)


IN_LANE = DispatchFacts(
    place=DeliveryPlace(Lane.NORMAL, 99, 3), lengths={Lane.NORMAL: 103}, window=20_000
)
NOWHERE = DispatchFacts(lengths={Lane.NORMAL: 0}, window=20_000)
HELD = replace(NOWHERE, holders=[WORKER_ID])
BACKLOG = replace(
    NOWHERE,
    lengths={Lane.NORMAL: 20_000},
    backlogs=[Lane.NORMAL],
    backlog_since=ago(60),
    backlog_cursor=TASK_ID,
)
PACE = Pace(count=100, span=10.0, since_last=0.1, newer=50)


def facts(task: TaskSummary | None = None, **said: Any) -> Facts:
    """The facts of a task in an ordinary deployment."""
    usual = Facts(
        now=NOW,
        task=task,
        queue=QueueRecord(name="mail", paused=False),
        worker=a_worker() if task is not None and task.worker_id else None,
        servers=[a_server()],
        services=[a_reaper()],
        dispatch=IN_LANE if task is None or task.state is State.PENDING else HELD,
    )
    return replace(usual, **said)
