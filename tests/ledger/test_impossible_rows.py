"""Postgres refuses rows that no transition can make."""

from __future__ import annotations

import psycopg
import pytest

from leaseq.codec import new_task_id
from leaseq.connections.postgres_connection import Connection

# Values written over a good PENDING row, and the constraint that must object.
IMPOSSIBLE = {
    "pending and finished": ({"finished_at": "now()"}, "finished_exactly_when_terminal"),
    "failed and not finished": ({"state": "'FAILED'"}, "finished_exactly_when_terminal"),
    "cancelled and not finished": ({"state": "'CANCELLED'"}, "finished_exactly_when_terminal"),
    "pending with a worker": ({"worker_id": "'w'"}, "worker_exactly_when_processing"),
    "failed with a worker": (
        {"state": "'FAILED'", "finished_at": "now()", "worker_id": "'w'"},
        "worker_exactly_when_processing",
    ),
    "processing without a worker": (
        {"state": "'PROCESSING'", "attempt": "1", "started_at": "now()"},
        "worker_exactly_when_processing",
    ),
    "processing without an attempt": (
        {"state": "'PROCESSING'", "worker_id": "'w'", "started_at": "now()"},
        "processing_has_an_attempt",
    ),
    "processing without a start": (
        {"state": "'PROCESSING'", "worker_id": "'w'", "attempt": "1"},
        "processing_has_an_attempt",
    ),
    "success without a result": (
        {"state": "'SUCCESS'", "finished_at": "now()"},
        "result_exactly_with_success",
    ),
    "failed with a result": (
        {"state": "'FAILED'", "finished_at": "now()", "result": "'1'"},
        "result_exactly_with_success",
    ),
    "pending with a result": ({"result": "'1'"}, "result_exactly_with_success"),
    "pending and asked to stop": (
        {"cancel_requested_at": "now()"},
        "cancel_request_leaves_no_waiting_task",
    ),
    "scheduled and asked to stop": (
        {"state": "'SCHEDULED'", "cancel_requested_at": "now()"},
        "cancel_request_leaves_no_waiting_task",
    ),
    "a state that is none": ({"state": "'pending'"}, "tasks_state_check"),
    "a priority that is none": ({"priority": "2"}, "tasks_priority_check"),
    "fewer than no attempts": ({"attempt": "-1"}, "tasks_attempt_check"),
    "fewer than no retries": ({"retry_count": "-1"}, "tasks_retry_count_check"),
    "no attempts allowed": ({"max_attempts": "0"}, "tasks_max_attempts_check"),
    "no time allowed": ({"timeout_seconds": "0"}, "tasks_timeout_seconds_check"),
    "an empty key": ({"idempotency_key": "''"}, "tasks_idempotency_key_check"),
}
GOOD = {"queue": "'q'", "type": "'t'", "payload": "'{}'", "state": "'PENDING'", "max_attempts": "1"}
GOOD |= {"timeout_seconds": "1"}


async def _insert(plain: Connection, over: dict[str, str]) -> None:
    row = {"id": f"'{new_task_id()}'"} | GOOD | over
    statement = f"insert into leaseq.tasks ({', '.join(row)}) values ({', '.join(row.values())})"
    await plain.execute(statement.encode())


async def test_the_good_row_is_taken(plain: Connection) -> None:
    await _insert(plain, {})


async def test_an_impossible_row_is_refused(plain: Connection) -> None:
    for name, (over, constraint) in IMPOSSIBLE.items():
        with pytest.raises(psycopg.errors.CheckViolation) as caught:
            await _insert(plain, over)
        assert caught.value.diag.constraint_name == constraint, name


async def test_a_queue_with_an_impossible_name_is_refused(plain: Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        await plain.execute("insert into leaseq.queues (name) values ('a{b')")
    assert caught.value.diag.constraint_name == "queues_name_check"


async def test_an_attempt_that_succeeded_is_not_recorded(plain: Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        await plain.execute(
            "insert into leaseq.attempts values (%s, 1, 'succeeded', 'w', now(), now(), 'SUCCESS', null)",
            [new_task_id()],
        )
