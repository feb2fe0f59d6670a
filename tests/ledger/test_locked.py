"""Statements over several tasks skip rows that are locked elsewhere."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from leaseq.codec import FIRST_ID, LAST_ID
from leaseq.config import Config
from leaseq.connections.postgres import LOCK_SECONDS, open_pool
from leaseq.connections.postgres_connection import Connection
from leaseq.connections.postgres_pool import Pool
from leaseq.errors import ServerUnreachable
from leaseq.ledger.due_tasks import DueTaskLedger
from leaseq.ledger.locked_tasks import LockedTaskFinder
from leaseq.ledger.maintenance import Maintenance
from leaseq.ledger.session import Locked, Session
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.observability.telemetry import recorded
from support.ledger import claim_task, find, holding, open_worker, scheduled, submit


@pytest.mark.parametrize("table", ["tasks", "scheduled"])
@pytest.mark.parametrize("lock", ["for update", "for no key update", "for share"])
async def test_find_locked_names_the_locked_and_waits_for_none(
    pool: Pool, ledger: TaskLedger, table: str, lock: str
) -> None:
    ids = [await submit(ledger, delay_seconds=60.0) for _ in range(5)]
    key = "id" if table == "tasks" else "task_id"
    async with holding(pool) as held:
        await held.conn.execute(
            f"select from leaseq.{table} where {key} = any(%s::uuid[]) {lock}".encode(), (ids[1:3],)
        )
        assert sorted(await ledger.find_locked(ids)) == sorted(ids[1:3])
    assert await ledger.find_locked(ids) == []


async def test_find_locked_takes_no_row_that_only_must_stay_for_a_locked_one(
    pool: Pool, ledger: TaskLedger
) -> None:
    """`for key share`, which a foreign key of the user's takes, hinders neither claim nor
    settle."""
    task_id = await submit(ledger)
    async with holding(pool) as held:
        await held.conn.execute("select from leaseq.tasks where id = %s for key share", (task_id,))
        assert await ledger.find_locked([task_id]) == []


async def test_a_locked_task_is_reported_once_with_the_session_that_holds_it(
    pool: Pool, ledger: TaskLedger
) -> None:
    ids = [await submit(ledger) for _ in range(2)]
    locked = LockedTaskFinder(ledger, verb="claim")
    with recorded() as events:
        for _ in range(2):
            async with holding(pool) as held:
                await held.conn.execute(
                    "update leaseq.tasks set priority = 0 where id = %s", (ids[0],)
                )
                pid = held.conn.info.backend_pid
                for _ in range(3):
                    assert await locked.find_and_report(ids) == {ids[0]}
            assert await locked.find_and_report(ids) == set()
    told = [event.fields for event in events if event.name == "task.locked"]
    assert [(fields["task_ids"], fields["count"], fields["verb"]) for fields in told] == [
        ([ids[0]], 1, "claim")
    ] * 2
    assert told[1]["held_by"][0].startswith(f"pid {pid} of role ")
    assert "idle in transaction, in a transaction for " in told[1]["held_by"][0]


async def test_a_look_at_a_locked_table_is_an_outage(pool: Pool, ledger: TaskLedger) -> None:
    task_id = await submit(ledger)
    async with holding(pool) as held:
        await held.conn.execute("lock table leaseq.tasks in access exclusive mode")
        with pytest.raises(ServerUnreachable):
            await ledger.find_locked([task_id])


async def test_reschedule_passes_over_a_task_that_is_locked(
    pool: Pool, ledger: TaskLedger, maintenance: Maintenance, plain: Connection
) -> None:
    first, second = [await submit(ledger, delay_seconds=60.0) for _ in range(2)]
    await plain.execute("delete from leaseq.scheduled")
    async with holding(pool) as held:
        await held.conn.execute("select from leaseq.tasks where id = %s for update", (first,))
        assert await DueTaskLedger(ledger.session).reschedule([first, second]) == [second]
    assert await DueTaskLedger(ledger.session).reschedule([first, second]) == [first]
    assert await scheduled(plain) == {first, second}


async def test_progress_waits_briefly_for_a_locked_row(
    config: Config, pool: Pool, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    claim = await claim_task(ledger, await submit(ledger), await open_worker(worker_ledger))
    patient = await open_pool(
        replace(config, statement_timeout_seconds=60), name="leaseq test", max_size=1
    )
    async with patient, holding(pool) as held:
        await held.conn.execute(
            "select from leaseq.tasks where id = %s for update", (claim.task_id,)
        )
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(Locked):
            await TaskLedger(Session(patient, deadline_seconds=60)).set_progress(claim, b"1")
        assert loop.time() - began < LOCK_SECONDS - 0.5, "as long as any other statement"
    assert await ledger.set_progress(claim, b"1")


@pytest.mark.parametrize("table", ["workers", "heartbeats"])
@pytest.mark.parametrize("lock", ["for update", "for no key update", "for share"])
async def test_find_locked_workers_names_the_locked_and_waits_for_none(
    pool: Pool, worker_ledger: WorkerLedger, table: str, lock: str
) -> None:
    ids = [await open_worker(worker_ledger) for _ in range(3)]
    await worker_ledger.touch(ids)
    silent = await open_worker(worker_ledger)
    key = "id" if table == "workers" else "worker_id"
    async with holding(pool) as held:
        await held.conn.execute(
            f"select from leaseq.{table} where {key} = %s {lock}".encode(), (ids[1],)
        )
        assert await worker_ledger.find_locked([*ids, silent, "unknown"]) == {ids[1]}
    assert await worker_ledger.find_locked(ids) == set()


@pytest.mark.parametrize("table", ["tasks", "idempotency_keys"])
async def test_prune_passes_over_a_task_that_is_locked_or_whose_key_is(
    pool: Pool, ledger: TaskLedger, maintenance: Maintenance, plain: Connection, table: str
) -> None:
    ids = sorted(
        [await submit(ledger, idempotency_key=f"key-{n}" if n else None) for n in range(3)]
    )
    await ledger.cancel(ids, tenant="default")
    await plain.execute("update leaseq.tasks set finished_at = now() - interval '1 hour'")
    keys = {task_id: (await find(ledger, task_id)).idempotency_key for task_id in ids}
    locked = next(task_id for task_id in ids if keys[task_id] == "key-1")
    key = "id" if table == "tasks" else "task_id"

    async def prune() -> int:
        pruned = await maintenance.prune_tasks(
            after=FIRST_ID, before=LAST_ID, retention_seconds=60, limit=10
        )
        return pruned.count

    async with holding(pool) as held:
        await held.conn.execute(
            f"select from leaseq.{table} where {key} = %s for update".encode(), (locked,)
        )
        assert await prune() == 2
        assert set(await ledger.find_states(ids)) == {locked}
    assert await prune() == 1
    cursor = await plain.execute(
        "select key, final_state from leaseq.idempotency_keys order by key"
    )
    assert await cursor.fetchall() == [("key-1", "CANCELLED"), ("key-2", "CANCELLED")]
