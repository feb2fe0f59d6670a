"""Convert rows of the ledger to structs, and structs to arrays.

Rows are read by the names of their columns. Rows of submit, claim and settle are read by position,
because they are on the hot path: there the order of columns is the select list of the statement
that the docstring names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from enum import EnumType
from operator import attrgetter
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec.structs import astuple, replace

from leaseq.ledger.arrays import NOTHING, numbers, quoted, words
from leaseq.lifecycle import LANES, lane_of
from leaseq.model import (
    AttemptRecord,
    Claim,
    ClaimedTask,
    Counts,
    Lane,
    Priority,
    QueueRecord,
    Settled,
    Settlement,
    State,
    Submission,
    Submitted,
    Task,
    TaskError,
    TaskSnapshot,
    TaskSummary,
    WorkerRecord,
)
from leaseq.safe_text.fingerprint import HARMLESS, of_code

T = TypeVar("T")
NO_ERROR = TaskError("unknown", "", fingerprint="")
Row = Sequence[Any]
_encode = msgspec.json.Encoder().encode
_decode_labels = msgspec.json.Decoder(dict[str, str]).decode
_decode_numbers = msgspec.json.Decoder(dict[str, int]).decode
# A look into a dict is quicker than the call of an enum, and there are three in the life of a task.
STATES = {state.value: state for state in State}
SUCCESS = State.SUCCESS  # looked up once, as lifecycle.SUCCEEDED
PRIORITIES = {priority.value: priority for priority in Priority}
# Of the lanes without suspects.
LANE_PRIORITIES = {lane: int(priority) for priority, lane in LANES.items()}


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def _mapping(text: str | None) -> dict[str, str]:
    return {} if text is None else _decode_labels(text)


def _numbers(text: str | None) -> dict[str, int]:
    return {} if text is None else _decode_numbers(text)


def lane(priority: int, crash_count: int, loss_count: int) -> Lane:
    return lane_of(PRIORITIES[priority], crash_count=crash_count, loss_count=loss_count)


def _plain(hint: Any) -> Any:
    """The type of a field that may be None."""
    return next((part for part in get_args(hint) if part is not NoneType), hint)


def _converter(hint: Any) -> Callable[[Any], Any] | None:
    """How a column becomes a field of this type; None: it is one already."""
    if get_origin(hint) is dict:
        return _mapping if get_args(hint)[1] is str else _numbers
    plain = _plain(hint)
    if plain is bytes:
        return _bytes
    return plain if isinstance(plain, EnumType) else None


def reader(kind: type[T]) -> Callable[[Any], T]:
    """Make structs of one kind from rows whose columns are named like its fields. JSON comes as
    text and is kept as bytes."""
    converters = {name: _converter(hint) for name, hint in get_type_hints(kind).items()}

    def read(row: Any) -> T:
        return kind(
            **{
                name: getattr(row, name) if convert is None else convert(getattr(row, name))
                for name, convert in converters.items()
            }
        )

    return read


to_summary = reader(TaskSummary)
to_task = reader(Task)
to_attempt = reader(AttemptRecord)
to_worker = reader(WorkerRecord)
to_queue = reader(QueueRecord)


def to_claimed(row: Row, worker_id: str) -> ClaimedTask:
    """claim_tasks.sql, find_claimed.sql"""
    return ClaimedTask(
        claim=Claim(row[0], row[1], worker_id, row[15]),
        tenant=row[2],
        queue=row[3],
        type=row[4],
        payload=row[5].encode(),
        counts=Counts(row[6], row[7], row[8], row[9], row[13]),
        timeout_seconds=row[10],
        headers=_bytes(row[11]),
        expired=row[12],
        waited=row[14],
    )


def to_settled(row: Row) -> Settled:
    """settle_attempts.sql, settle_failed.sql; settle_bound.sql, whose rows have the limit too"""
    place = lane(row[4], row[5], row[6])
    limit = row[8] if len(row) > 8 else None
    return Settled(row[0], row[1], STATES[row[2]], row[3], place, type=row[7], limit=limit)


def to_snapshot(row: Any) -> TaskSnapshot:
    """find_snapshots.sql, redrive_tasks.sql, scan_tasks.sql"""
    place = lane(row.priority, row.crash_count, row.loss_count)
    return TaskSnapshot(
        row.task_id, row.queue, STATES[row.state], row.attempt, row.worker_id, place
    )


def to_claim(row: Any) -> Claim:
    """find_held.sql, scan_tasks.sql"""
    return Claim(row.task_id, row.attempt, row.worker_id, row.traits)


def to_counts(row: Any) -> Counts:
    """find_held.sql, scan_tasks.sql"""
    return Counts(row.retry_count, row.crash_count, row.loss_count, row.max_attempts)


def fresh(
    submission: Submission, state: State, created_at: datetime, run_at: datetime
) -> Submitted:
    """submit_plain.sql and submit_tasks.sql, for a task that was created"""
    placed = lane_of(submission.priority, crash_count=0, loss_count=0)
    return Submitted(submission.task_id, state, False, created_at, run_at, submission.queue, placed)


def replay(row: Any) -> Submitted:
    """find_keys.sql"""
    placed = lane_of(PRIORITIES[row.priority], crash_count=0, loss_count=0)
    return Submitted(
        row.task_id,
        STATES[row.state],
        True,
        row.created_at,
        row.run_at,
        row.queue,
        placed,
        row.headers,
    )


Pack = Callable[[Iterable[Any]], str]

# How the values of a field become an array, by the type of the field.
_PACKS: dict[Any, Pack] = {
    str: quoted,
    bytes: lambda values: quoted([None if value is None else value.decode() for value in values]),
    datetime: lambda values: quoted(
        [None if value is None else value.isoformat() for value in values]
    ),
    float: numbers,
    int: numbers,
    Priority: lambda values: numbers([int(value) for value in values]),
}
_SPECIAL: dict[str, Pack] = {
    "task_id": words,  # has no character to quote
    "fingerprint": lambda values: quoted(["\\x" + value.hex() for value in values]),
}
_HINTS = get_type_hints(Submission)
# Labels are rows of a table of their own, and limits and unique keys concern few tasks.
_APART = ("labels", "limit", "concurrency_key", "unique")
_SUBMISSION = [
    (name, _SPECIAL.get(name) or _PACKS[_plain(_HINTS[name])])
    for name in Submission.__struct_fields__
    if name not in _APART
]
_columns = attrgetter(*(name for name, _ in _SUBMISSION))


def submission_arrays(batch: Sequence[Submission]) -> dict[str, Any]:
    """The arrays of submit_tasks.sql: one for each field of `Submission` but its labels and its
    limit, by its name."""
    columns = [*zip(*map(_columns, batch), strict=True)] or [()] * len(_SUBMISSION)
    return {name: pack(column) for (name, pack), column in zip(_SUBMISSION, columns, strict=True)}


NO_LABELS = {"label_tasks": NOTHING, "label_names": NOTHING, "label_values": NOTHING}


def label_arrays(batch: Sequence[Submission]) -> dict[str, Any] | None:
    """The arrays of submit_labelled.sql. None: no submission has labels."""
    labels = [
        (s.task_id, name, value) for s in batch if s.labels for name, value in s.labels.items()
    ]
    if not labels:
        return None
    tasks, names, values = zip(*labels, strict=True)
    return {
        "label_tasks": words(tasks),
        "label_names": quoted(names),
        "label_values": quoted(values),
    }


NO_LIMITS = {"bound_tasks": NOTHING, "limit_names": NOTHING, "concurrency_keys": NOTHING}


def bound_arrays(batch: Sequence[Submission]) -> dict[str, Any] | None:
    """The arrays of submit_bound.sql, with those of labels. None: no submission has a limit."""
    bound = [(s.task_id, s.limit, s.concurrency_key) for s in batch if s.limit is not None]
    if not bound:
        return None
    tasks, limits, keys = zip(*bound, strict=True)
    return (label_arrays(batch) or NO_LABELS) | {
        "bound_tasks": words(tasks),
        "limit_names": quoted(limits),
        "concurrency_keys": quoted(keys),
    }


# The fields that plain submissions of one batch share, those that each has for itself (the
# fingerprint is that of a key), and those that are None.
_SHARED = ("tenant", "queue", "type", "priority", "max_attempts", "timeout_seconds")
_OWN = ("task_id", "payload", "headers", "fingerprint")
_LACKED = tuple(
    name for name in Submission.__struct_fields__ if name not in _SHARED and name not in _OWN
)
_kind = attrgetter(*_SHARED, *_LACKED)


def plain_submissions(batch: Sequence[Submission]) -> dict[str, Any] | None:
    """The parameters of submit_plain.sql, or None where it cannot record this batch."""
    kinds = [*map(_kind, batch)]
    if not kinds or kinds.count(kinds[0]) < len(kinds):
        return None
    shared, lacked = kinds[0][: len(_SHARED)], kinds[0][len(_SHARED) :]
    # A text that is no part of an array ends at a NUL, which no column can store.
    if lacked.count(None) < len(lacked) or any("\0" in text for text in shared[:3]):
        return None
    headers = [s.headers for s in batch]
    return dict(zip(_SHARED, shared, strict=True)) | {
        "ids": words([s.task_id for s in batch]),
        "payloads": quoted([s.payload.decode() for s in batch]),
        "headers": None if headers.count(None) == len(headers) else _PACKS[bytes](headers),
        "priority": int(batch[0].priority),
    }


def divide(
    batch: Sequence[Settlement],
) -> tuple[list[Settlement], list[Settlement], list[Settlement]]:
    """The successes of one worker, for succeed_attempts.sql, the other endings, for
    settle_attempts.sql, and the endings of tasks with traits, for settle_bound.sql."""
    worker_id = batch[0].claim.worker_id if batch else ""
    successes: list[Settlement] = []
    others: list[Settlement] = []
    bound: list[Settlement] = []
    for settlement in batch:
        claim = settlement.claim
        if claim.traits:
            bound.append(settlement)
        elif settlement.disposition.state is SUCCESS and claim.worker_id == worker_id:
            successes.append(settlement)
        else:
            others.append(settlement)
    return successes, others, bound


def success_arrays(batch: Sequence[Settlement]) -> dict[str, Any]:
    """The parameters of succeed_attempts.sql, for the successes of one worker."""
    claims = [s.claim for s in batch]
    results = [s.ending.result for s in batch]
    return {
        "ids": words([claim.task_id for claim in claims]),
        "attempts": numbers([claim.attempt for claim in claims]),
        "worker_id": claims[0].worker_id,
        "results": quoted([None if result is None else result.decode() for result in results]),
    }


def settlement_arrays(batch: Sequence[Settlement]) -> dict[str, Any]:
    """The arrays of settle_attempts.sql; settle_failed.sql has one more."""
    claims = [s.claim for s in batch]
    endings = [s.ending for s in batch]
    what = [s.disposition for s in batch]
    headers = [s.headers for s in batch]
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
        "headers": None if headers.count(None) == len(headers) else _PACKS[bytes](headers),
    }


def failure_arrays(batch: Sequence[Settlement]) -> dict[str, Any]:
    """The arrays of settle_errored.sql and settle_failed.sql. An end that is no failure has no
    fingerprint."""
    errors = [s.disposition.error or s.ending.error or NO_ERROR for s in batch]
    told = [(_plain_text(e.code), _plain_text(e.type), _plain_text(e.frame)) for e in errors]
    codes, names, frames = zip(*told, strict=True)
    return settlement_arrays(batch) | {
        "codes": quoted(codes),
        "exceptions": quoted(names),
        "frames": quoted(frames),
        "fingerprints": quoted(
            [
                None if is_harmless(s) else fingerprint_of(e)
                for s, e in zip(batch, errors, strict=True)
            ]
        ),
    }


def is_failure(error: TaskError | None) -> bool:
    """Whether an attempt that ended with this error has failed: its end was not asked for."""
    return error is not None and error.code not in HARMLESS


def is_harmless(settlement: Settlement) -> bool:
    """Whether an attempt has not failed, and does not make its task FAILED."""
    is_dead = settlement.disposition.state is State.FAILED
    return not (is_dead or is_failure(settlement.ending.error))


def _error(error: TaskError | None) -> str | None:
    """As JSON. The message of an exception may hold lone surrogates, and one such text must not
    fail a whole batch."""
    if error is None:
        return None
    told = TaskError(*(_text(part) for part in astuple(error)))
    if is_failure(error):
        told = replace(told, fingerprint=fingerprint_of(error))
    return _encode(told).decode()


def fingerprint_of(error: TaskError) -> str:
    """The fingerprint of an error, by its code where no exception gave it one."""
    return error.fingerprint or of_code(error.code, error.type)


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _plain_text(text: str) -> str:
    """As a value of an array, which holds no NUL."""
    return _text(text).replace("\0", "?")
