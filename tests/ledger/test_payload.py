"""Postgres stores every checked payload byte for byte."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaseq.codec import check_payload
from leaseq.config import Config
from leaseq.errors import PayloadInvalid
from leaseq.ledger.task_lists import TaskFilter, TaskLists
from leaseq.ledger.tasks import TaskLedger
from leaseq.model import DEFAULT_TENANT, State
from leaseq.operations.submission import accept
from support.ledger import RETENTION
from support.requests import request_of

PIECES = [
    "{",
    "}",
    "[",
    "]",
    '"',
    ":",
    ",",
    "\\",
    "\\u0000",
    "\\ud83d",
    "\\ude00",
    "\\u00e9",
    "1",
    "-0",
    "1e308",
    ".5",
]
PIECES += [
    "true",
    "null",
    " ",
    "\n",
    "\t",
    '"a"',
    '{"a":',
    "[]",
    "\u2028",
    "\ufeff",
    "\x7f",
    "é",
    "1e-400",
]
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10
)
payloads = values.map(json.dumps) | st.lists(st.sampled_from(PIECES)).map("".join)


@given(payloads)
def test_an_accepted_payload_is_json_to_postgres_too(server: psycopg.Connection, text: str) -> None:
    with suppress(PayloadInvalid):
        check_payload(text.encode(), max_bytes=1_000_000)
        row = server.execute(
            "select %s::json::text, %s::jsonb is not null", [text, text]
        ).fetchone()
        assert row == (text, True)


@pytest.mark.parametrize(
    "said",
    [
        {"run_at": datetime(1970, 1, 1, tzinfo=timezone(timedelta(hours=14)))},
        {
            "run_at": datetime(
                9998, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=-14))
            )
        },
        {"expires_at": datetime(9998, 12, 31, tzinfo=UTC), "delay_seconds": 366 * 86_400.0},
        {"type": "t" * 128, "queue": "q" * 128, "idempotency_key": "k" * 255},
        {"timeout_seconds": 5e-324, "max_attempts": 1_000},
        {"payload": b"[" * 64 + b"]" * 64},
        {"payload": b'"' + b"a" * 1_000_000 + b'"'},
        {"payload": b"9" * 4_000},
    ],
)
async def test_an_accepted_request_can_be_written_and_read_again(
    ledger: TaskLedger, said: dict[str, Any]
) -> None:
    """Otherwise one of them would fail the whole batch, or every list that contains it."""
    accepted = accept(request_of(**({"payload": b"{}"} | said)), Config(), tenant=DEFAULT_TENANT)

    await ledger.submit([accepted], retention_seconds=RETENTION)
    task = (await ledger.find([accepted.task_id], tenant="default"))[accepted.task_id]

    assert [
        listed.task_id
        for listed in (
            await TaskLists(ledger.session).list_tasks(TaskFilter(), tenant="default")
        ).tasks
    ] == [task.task_id]
    assert task.payload == accepted.payload
    assert (task.expires_at, task.timeout_seconds) == (
        accepted.expires_at,
        accepted.timeout_seconds,
    )
    if accepted.run_at is not None:
        assert task.run_at == accepted.run_at
        assert (task.state is State.SCHEDULED) == (accepted.run_at > task.created_at)
