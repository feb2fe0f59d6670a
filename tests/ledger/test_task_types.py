"""Does the ledger keep what a worker's app says of its task types, and refuse what no handler can mean?"""

from __future__ import annotations

from datetime import datetime

import psycopg
import pytest
from msgspec.structs import replace

from leaseq.ledger.fleet import Fleet, TaskType
from leaseq.ledger.session import Connection
from leaseq.model import TypeDefaults

PLAIN = TaskType("add", "sums", b'{"type":"object"}')
LIMITED = TaskType("charge", "billing", b"{}", max_attempts=2, timeout_seconds=30.0)


async def _written(plain: Connection) -> datetime:
    cursor = await plain.execute("select max(updated_at) from leaseq.task_types")
    (row,) = await cursor.fetchall()
    return datetime.fromisoformat(str(row[0]))


async def test_types_come_back_as_they_were_registered(fleet: Fleet) -> None:
    await fleet.register_types([LIMITED, PLAIN])
    assert await fleet.list_types() == [PLAIN, LIMITED]
    assert PLAIN.defaults == TypeDefaults(queue="sums")
    assert LIMITED.defaults == TypeDefaults(queue="billing", max_attempts=2, timeout_seconds=30.0)


@pytest.mark.parametrize(
    "change",
    [
        {"queue": "other"},
        {"payload_schema": b"[]"},
        {"max_attempts": 3},
        {"max_attempts": None},
        {"timeout_seconds": 0.5},
        {"timeout_seconds": None},
    ],
    ids=str,
)
async def test_a_new_release_changes_each_of_them(fleet: Fleet, change: dict[str, object]) -> None:
    await fleet.register_types([LIMITED])
    await fleet.register_types([replace(LIMITED, **change)])
    assert await fleet.list_types() == [replace(LIMITED, **change)]


async def test_registering_the_same_again_writes_nothing(fleet: Fleet, plain: Connection) -> None:
    await fleet.register_types([PLAIN, LIMITED])
    written = await _written(plain)
    await fleet.register_types([PLAIN, LIMITED])
    assert await _written(plain) == written


@pytest.mark.parametrize("wrong", [{"max_attempts": 0}, {"timeout_seconds": 0.0}, {"timeout_seconds": -1.0}], ids=str)
async def test_limits_that_mean_nothing_are_refused(fleet: Fleet, wrong: dict[str, object]) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        await fleet.register_types([replace(PLAIN, **wrong)])
