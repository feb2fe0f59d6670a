"""How do rows of the ledger become structs, and structs become arrays?

The column order of each function is the select list of the statement named in its docstring.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import asdict, astuple

from leaseq.ledger.arrays import numbers, quoted, words
from leaseq.lifecycle import lane_of
from leaseq.model import (
    Claim,
    ClaimedTask,
    Counts,
    Glimpse,
    Lane,
    Outcome,
    Priority,
    Settled,
    Settlement,
    State,
    Submission,
    Submitted,
    Task,
    TaskError,
    TaskSummary,
)
from leaseq.records import Attempt, WorkerRecord

Row = Sequence[Any]
_encode = msgspec.json.Encoder().encode
# A look into a dict is quicker than the call of an enum, and there are three in the life of a task.
STATES = {state.value: state for state in State}
PRIORITIES = {priority.value: priority for priority in Priority}


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def lane(priority: int, crash_count: int, loss_count: int) -> Lane:
    return lane_of(PRIORITIES[priority], crash_count=crash_count, loss_count=loss_count)


def to_summary(row: Row) -> TaskSummary:
    """list_tasks.sql, and the first columns of find_tasks.sql"""
    return TaskSummary(
        task_id=row[0],
        tenant=row[1],
        queue=row[2],
        type=row[3],
        state=STATES[row[4]],
        priority=PRIORITIES[row[5]],
        attempt=row[6],
        retry_count=row[7],
        crash_count=row[8],
        loss_count=row[9],
        max_attempts=row[10],
        timeout_seconds=row[11],
        idempotency_key=row[12],
        created_at=row[13],
        run_at=row[14],
        started_at=row[15],
        finished_at=row[16],
        expires_at=row[17],
        cancel_requested_at=row[18],
        worker_id=row[19],
        error=_bytes(row[20]),
        progress=_bytes(row[21]),
        hand_back_count=row[22],
    )


def to_task(row: Row) -> Task:
    """find_tasks.sql"""
    return Task(**asdict(to_summary(row)), payload=row[23].encode(), result=_bytes(row[24]))


def to_claimed(row: Row, worker_id: str) -> ClaimedTask:
    """claim_tasks.sql, find_claimed.sql"""
    return ClaimedTask(
        claim=Claim(row[0], row[1], worker_id),
        tenant=row[2],
        queue=row[3],
        type=row[4],
        payload=row[5].encode(),
        priority=PRIORITIES[row[6]],
        counts=Counts(row[7], row[8], row[9], row[10], row[17]),
        timeout_seconds=row[11],
        idempotency_key=row[12],
        headers=_bytes(row[13]),
        created_at=row[14],
        run_at=row[15],
        expired=row[16],
    )


def to_settled(row: Row) -> Settled:
    """settle_attempts.sql"""
    return Settled(row[0], row[1], STATES[row[2]], row[3], lane(row[4], row[5], row[6]))


def to_glimpse(row: Row) -> Glimpse:
    """glimpse_tasks.sql"""
    return Glimpse(row[0], row[1], STATES[row[2]], row[3], row[4], lane(row[5], row[6], row[7]))


def to_delivery(row: Row) -> Glimpse:
    """promote_tasks.sql, redrive_tasks.sql"""
    return Glimpse(row[0], row[1], STATES[row[2]], row[3], row[4], lane(row[5], row[6], row[7]))


def to_held(row: Row) -> tuple[Claim, Counts]:
    """find_held.sql"""
    return Claim(row[0], row[1], row[2]), Counts(row[3], row[4], row[5], row[6])


def to_attempt(row: Row) -> Attempt:
    """list_attempts.sql"""
    return Attempt(
        task_id=row[0],
        attempt=row[1],
        outcome=Outcome(row[2]),
        worker_id=row[3],
        started_at=row[4],
        finished_at=row[5],
        next_state=STATES[row[6]],
        error=_bytes(row[7]),
        hand_backs=row[8],
    )


def to_worker(row: Row) -> WorkerRecord:
    """list_workers.sql, find_worker.sql"""
    return WorkerRecord(
        worker_id=row[0],
        host=row[1],
        pid=row[2],
        queues=row[3],
        version=row[4],
        started_at=row[5],
        last_seen=row[6],
        closed_at=row[7],
        close_reason=row[8],
    )


def fresh(submission: Submission, row: Row) -> Submitted:
    """submit_tasks.sql, for a task that was created"""
    priority = submission.priority
    placed = lane_of(priority, crash_count=0, loss_count=0)
    return Submitted(submission.task_id, STATES[row[1]], False, row[2], row[3], submission.queue, placed)


def replay(row: Row) -> Submitted:
    """find_keys.sql"""
    placed = lane_of(PRIORITIES[row[8]], crash_count=0, loss_count=0)
    return Submitted(row[3], STATES[row[4]], True, row[5], row[6], row[7], placed)


def submission_arrays(batch: Sequence[Submission]) -> dict[str, Any]:
    """The arrays of submit_tasks.sql."""
    return {
        "ids": words([s.task_id for s in batch]),
        "tenants": quoted([s.tenant for s in batch]),
        "queues": quoted([s.queue for s in batch]),
        "types": quoted([s.type for s in batch]),
        "payloads": quoted([s.payload.decode() for s in batch]),
        "headers": quoted([None if s.headers is None else s.headers.decode() for s in batch]),
        "keys": quoted([s.idempotency_key for s in batch]),
        "fingerprints": quoted(["\\x" + s.fingerprint.hex() for s in batch]),
        "priorities": numbers([int(s.priority) for s in batch]),
        "max_attempts": numbers([s.max_attempts for s in batch]),
        "timeouts": numbers([s.timeout_seconds for s in batch]),
        "delays": numbers([s.delay_seconds for s in batch]),
        "run_ats": quoted([None if s.run_at is None else s.run_at.isoformat() for s in batch]),
        "expires_ats": quoted([None if s.expires_at is None else s.expires_at.isoformat() for s in batch]),
    }


def settlement_arrays(batch: Sequence[Settlement]) -> dict[str, Any]:
    """The arrays of settle_attempts.sql."""
    claims = [s.claim for s in batch]
    endings = [s.ending for s in batch]
    what = [s.disposition for s in batch]
    return {
        "ids": words([claim.task_id for claim in claims]),
        "attempts": numbers([claim.attempt for claim in claims]),
        "worker_ids": quoted([claim.worker_id for claim in claims]),
        "outcomes": words([ending.outcome for ending in endings]),
        "states": words([d.state for d in what]),
        "delays": numbers([d.delay for d in what]),
        "retries": numbers([d.retries for d in what]),
        "crashes": numbers([d.crashes for d in what]),
        "losses": numbers([d.losses for d in what]),
        "hand_backs": numbers([d.hand_backs for d in what]),
        "results": quoted([None if e.result is None else e.result.decode() for e in endings]),
        "errors": quoted([_error(d.error) for d in what]),
        "attempt_errors": quoted([_error(e.error) for e in endings]),
    }


def _error(error: TaskError | None) -> str | None:
    """As JSON. What an exception said may hold lone surrogates, and one such text must not fail a whole batch."""
    if error is None:
        return None
    return _encode(TaskError(*(_text(part) for part in astuple(error)))).decode()


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
