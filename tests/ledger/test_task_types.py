"""The ledger keeps registered task types, and refuses invalid ones."""

from __future__ import annotations

from datetime import datetime

import psycopg
import pytest
from msgspec.structs import replace

from leaseq.ledger.maintenance import Maintenance
from leaseq.ledger.session import Connection
from leaseq.ledger.task_types import TaskType, TypeLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import TypeDefaults

PLAIN = TaskType("add", "sums", b'{"type":"object"}')
LIMITED = TaskType("charge", "billing", b"{}", max_attempts=2, timeout_seconds=30.0)


async def _written(plain: Connection) -> datetime:
    cursor = await plain.execute("select max(updated_at) from leaseq.task_types")
    (row,) = await cursor.fetchall()
    return datetime.fromisoformat(str(row[0]))


async def test_types_come_back_as_they_were_registered(type_ledger: TypeLedger) -> None:
    await type_ledger.register_types([LIMITED, PLAIN])
    assert await type_ledger.list_types() == [PLAIN, LIMITED]
    assert PLAIN.defaults == TypeDefaults(queue="sums")
    assert LIMITED.defaults == TypeDefaults(queue="billing", max_attempts=2, timeout_seconds=30.0)


@pytest.mark.parametrize(
    "change",
    [
        {"queue": "other"},
        {"shape": b"[]"},
        {"max_attempts": 3},
        {"max_attempts": None},
        {"timeout_seconds": 0.5},
        {"timeout_seconds": None},
        {"retention_seconds": 60.0},
        {"encoded": True},
    ],
    ids=str,
)
async def test_a_new_release_changes_each_of_them(
    type_ledger: TypeLedger, change: dict[str, object]
) -> None:
    await type_ledger.register_types([LIMITED])
    await type_ledger.register_types([replace(LIMITED, **change)])
    assert await type_ledger.list_types() == [replace(LIMITED, **change)]


async def test_registering_the_same_again_writes_nothing(
    type_ledger: TypeLedger, plain: Connection
) -> None:
    await type_ledger.register_types([PLAIN, LIMITED])
    written = await _written(plain)
    await type_ledger.register_types([PLAIN, LIMITED])
    assert await _written(plain) == written


@pytest.mark.parametrize(
    "wrong", [{"max_attempts": 0}, {"timeout_seconds": 0.0}, {"timeout_seconds": -1.0}], ids=str
)
async def test_limits_that_mean_nothing_are_refused(
    type_ledger: TypeLedger, wrong: dict[str, object]
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        await type_ledger.register_types([replace(PLAIN, **wrong)])


OLD = TaskType("add", "sums", b'{"classes":[1]}')
NEW = TaskType("add", "totals", b'{"classes":[2]}', max_attempts=4)


async def boot(
    worker_ledger: WorkerLedger, type_ledger: TypeLedger, worker_id: str, *types: TaskType
) -> None:
    await worker_ledger.open_worker(worker_id, host="here", pid=1, queues=["default"], version="0")
    await type_ledger.register_types(types, worker_id=worker_id)


async def close(worker_ledger: WorkerLedger, *worker_ids: str) -> None:
    for worker_id in worker_ids:
        await worker_ledger.close_worker(worker_id, reason="drained")


async def test_a_worker_of_the_release_before_that_starts_again_turns_nothing_back(
    worker_ledger: WorkerLedger,
    type_ledger: TypeLedger,
) -> None:
    await boot(worker_ledger, type_ledger, "old-1", OLD)
    await boot(worker_ledger, type_ledger, "new-1", NEW)
    assert await type_ledger.list_types() == [NEW, OLD], "both are live, and the newer one is first"
    await close(worker_ledger, "old-1")
    assert await type_ledger.list_types() == [NEW]
    await boot(worker_ledger, type_ledger, "old-2", OLD)
    assert await type_ledger.list_types() == [NEW, OLD]
    assert await type_ledger.find_outdated([OLD, NEW, LIMITED]) == {"add"}
    assert await type_ledger.find_outdated([NEW]) == set()


async def test_a_rollback_turns_it_back_once_no_newer_worker_is_open(
    worker_ledger: WorkerLedger, type_ledger: TypeLedger
) -> None:
    await boot(worker_ledger, type_ledger, "old-1", OLD)
    await boot(worker_ledger, type_ledger, "new-1", NEW)
    await close(worker_ledger, "old-1", "new-1")
    assert await type_ledger.list_types() == [NEW], "the last that was in use"
    await boot(worker_ledger, type_ledger, "old-2", OLD)
    assert await type_ledger.list_types() == [OLD]
    assert await type_ledger.find_outdated([OLD]) == set()
    await close(worker_ledger, "old-2")
    assert await type_ledger.list_types() == [OLD], "also while no worker is open"


async def test_types_of_closed_workers_are_kept_once_per_version(
    worker_ledger: WorkerLedger, type_ledger: TypeLedger, plain: Connection
) -> None:
    await boot(worker_ledger, type_ledger, "new-0", NEW)
    for n in range(3):
        await boot(worker_ledger, type_ledger, f"old-{n}", OLD)
        await close(worker_ledger, f"old-{n}")
    cursor = await plain.execute("select worker_id from leaseq.worker_types order by 1")
    assert await cursor.fetchall() == [("new-0",), ("old-2",)]


async def test_a_worker_of_an_older_leaseq_turns_nothing_back(
    worker_ledger: WorkerLedger, type_ledger: TypeLedger, plain: Connection
) -> None:
    """It writes `task_types` alone. A type that only it has registered has a JSON Schema, and no
    shape."""
    await boot(worker_ledger, type_ledger, "new-1", NEW)
    for name in ("add", "note"):
        await plain.execute(
            "insert into leaseq.task_types (type, queue, payload_schema) values (%s, 'other', '{\"type\":\"object\"}')"
            " on conflict (type) do update set queue = excluded.queue, payload_schema = excluded.payload_schema",
            (name,),
        )
    assert await type_ledger.list_types() == [
        NEW,
        TaskType("note", "other", None, payload_schema=b'{"type":"object"}'),
    ]


async def test_versions_that_no_worker_is_known_to_have_used_are_pruned(
    worker_ledger: WorkerLedger,
    type_ledger: TypeLedger,
    maintenance: Maintenance,
    plain: Connection,
) -> None:
    await type_ledger.register_types([OLD])
    await type_ledger.register_types([NEW, LIMITED])
    await boot(worker_ledger, type_ledger, "w-1", PLAIN)
    await maintenance.prune_workers(retention_seconds=3600)
    cursor = await plain.execute("select count(*) from leaseq.type_versions")
    assert await cursor.fetchall() == [(4,)]
    await plain.execute(
        "update leaseq.type_versions set first_seen_at = first_seen_at - interval '2 hours'"
    )
    await maintenance.prune_workers(retention_seconds=3600)
    cursor = await plain.execute("select queue from leaseq.type_versions order by 1")
    # PLAIN, which a worker runs, is the newest of its type: both older ones are gone, and so is no
    # other type.
    assert await cursor.fetchall() == [("billing",), ("sums",)]


async def test_the_newest_version_of_a_type_says_how_long_its_tasks_are_kept(
    type_ledger: TypeLedger, worker_ledger: WorkerLedger
) -> None:
    old, new = replace(LIMITED, retention_seconds=60.0), replace(LIMITED, retention_seconds=90.0)
    assert len({version.version for version in (LIMITED, old, new)}) == 3
    for number, version in enumerate((old, new)):
        await worker_ledger.open_worker(
            f"w{number}", host="h", pid=1, queues=["default"], version="1"
        )
        await type_ledger.register_types([version, PLAIN], worker_id=f"w{number}")
    assert await type_ledger.find_retentions() == {"charge": 90.0}
    await worker_ledger.close_worker("w1", reason="rolled back")
    assert await type_ledger.find_retentions() == {"charge": 60.0}


def test_a_type_without_a_retention_has_the_version_that_it_had_before() -> None:
    assert LIMITED.version == "bd3b5c539eca"
