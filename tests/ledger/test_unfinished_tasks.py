"""The list of unfinished tasks of tenants with a quota."""

from __future__ import annotations

import asyncio

import pytest

from leaseq.connections.postgres_connection import Connection
from leaseq.connections.postgres_pool import Pool
from leaseq.ledger.quotas import LEAST_FOLDED, ListedQueue, QuotaLedger
from leaseq.ledger.session import Session
from leaseq.ledger.statements import STATEMENTS
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.tenants import TenantLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import DEFAULT_TENANT
from support.ledger import (
    RETENTION,
    claim_task,
    holding,
    open_worker,
    submission,
    submit,
    succeeded,
    until_blocked,
)

QUEUE = ListedQueue(DEFAULT_TENANT, "default")
KEY = (DEFAULT_TENANT, "default")
LOOKED = "where l.ended\n"
WAIT = "and (select pg_advisory_xact_lock(7)::text is not null)\n"


class CheckedQuotas(QuotaLedger):
    """Quotas whose counts are compared with the list."""

    def __init__(self, session: Session, plain: Connection) -> None:
        super().__init__(session)
        self._plain = plain

    async def count_unfinished(self) -> dict[tuple[str, str], int]:
        found = await super().count_unfinished()
        rows = "select tenant, queue, count(*) from leaseq.unfinished_tasks group by tenant, queue"
        listed = await (await self._plain.execute(rows)).fetchall()
        assert found == {(tenant, queue): tasks for tenant, queue, tasks in listed}
        return found


@pytest.fixture
async def quotas(session: Session, ledger: TaskLedger, plain: Connection) -> QuotaLedger:
    """Quotas of a process that lists the tasks of a tenant."""
    await TenantLedger(session).limit(DEFAULT_TENANT, {"unfinished": 10})
    ledger.counted = frozenset({DEFAULT_TENANT})
    return CheckedQuotas(session, plain)


async def test_each_kind_of_submission_is_listed_with_its_task(
    ledger: TaskLedger, quotas: QuotaLedger
) -> None:
    wanted = [
        submission(),
        submission(idempotency_key="a"),
        submission(queue="mail", delay_seconds=60.0),
        submission(tenant="other", idempotency_key="a"),
    ]
    await ledger.submit(wanted, retention_seconds=RETENTION)
    await ledger.submit([submission(idempotency_key="a")], retention_seconds=RETENTION)
    await ledger.submit([submission(tenant="other")], retention_seconds=RETENTION)
    assert await quotas.count_unfinished() == {KEY: 2, (DEFAULT_TENANT, "mail"): 1}


async def test_a_refused_submission_leaves_no_row(
    ledger: TaskLedger, quotas: QuotaLedger, plain: Connection
) -> None:
    await plain.execute("alter table leaseq.tasks add constraint no check (type <> 'bad')")
    with pytest.raises(Exception, match="no"):
        await ledger.submit([submission(type="bad")], retention_seconds=RETENTION)
    assert await quotas.count_unfinished() == {}


async def test_a_sweep_removes_tasks_that_ended_or_were_pruned(
    ledger: TaskLedger, quotas: QuotaLedger, plain: Connection
) -> None:
    cancelled, pruned, waiting = [await submit(ledger) for _ in range(3)]
    await ledger.cancel([cancelled], tenant=None)
    await plain.execute("delete from leaseq.tasks where id = %s", [pruned])
    found = await quotas.sweep_unfinished([QUEUE], chunk=2)
    assert (found[KEY].looked, found[KEY].ended, found[KEY].last) == (2, 2, pruned)
    found = await quotas.sweep_unfinished([QUEUE], chunk=10)
    assert (found[KEY].looked, found[KEY].ended, found[KEY].last) == (1, 0, waiting)
    assert await quotas.count_unfinished() == {KEY: 1}
    await quotas.sweep_unfinished([ListedQueue(*KEY, removed=True)], chunk=10)
    assert await quotas.count_unfinished() == {}


async def test_a_sweep_goes_on_behind_a_place(ledger: TaskLedger, quotas: QuotaLedger) -> None:
    ids = [await submit(ledger) for _ in range(4)]
    await ledger.cancel([ids[3]], tenant=None)
    first = await quotas.sweep_unfinished([QUEUE], chunk=2)
    behind = ListedQueue(*KEY, after=first[KEY].last)
    second = await quotas.sweep_unfinished([behind], chunk=2)
    assert (second[KEY].looked, second[KEY].ended) == (2, 1)
    assert await quotas.count_unfinished() == {KEY: 3}


async def test_a_sweep_leaves_a_locked_row_for_the_next_one(
    ledger: TaskLedger, quotas: QuotaLedger, plain: Connection
) -> None:
    held, ended = await submit(ledger), await submit(ledger)
    await ledger.cancel([held, ended], tenant=None)
    async with plain.transaction():
        lock = "select from leaseq.unfinished_tasks where task_id = %s for update"
        await plain.execute(lock, [held])
        await quotas.sweep_unfinished([QUEUE], chunk=10)
        assert await quotas.count_unfinished() == {KEY: 1}
    await quotas.sweep_unfinished([QUEUE], chunk=10)
    assert await quotas.count_unfinished() == {}


async def test_a_sweep_that_saw_the_end_leaves_a_row_of_a_redriven_task(
    ledger: TaskLedger, quotas: QuotaLedger, plain: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep waits between its look at the task and the lock of its row."""
    sql = STATEMENTS["sweep_unfinished"]
    assert sql.count(LOOKED) == 1
    monkeypatch.setitem(STATEMENTS, "sweep_unfinished", sql.replace(LOOKED, LOOKED + WAIT))
    task_id = await submit(ledger)
    await ledger.cancel([task_id], tenant=None)
    async with plain.transaction():
        await plain.execute("select pg_advisory_xact_lock(7)")
        sweep = asyncio.create_task(quotas.sweep_unfinished([QUEUE], chunk=10))
        await until_blocked(plain, sweep)
        assert len(await ledger.redrive([task_id], tenant=None)) == 1
    assert (await sweep)[KEY].ended == 1
    assert await quotas.count_unfinished() == {KEY: 1}


async def test_a_redrive_that_waited_for_a_sweep_lists_the_task_again(
    ledger: TaskLedger, quotas: QuotaLedger, pool: Pool, plain: Connection
) -> None:
    task_id = await submit(ledger)
    await ledger.cancel([task_id], tenant=None)
    async with holding(pool) as held:
        await QuotaLedger(held).sweep_unfinished([QUEUE], chunk=10)
        redrive = asyncio.create_task(ledger.redrive([task_id], tenant=None))
        await until_blocked(plain, redrive)
    assert len(await redrive) == 1
    assert await quotas.count_unfinished() == {KEY: 1}
    await quotas.sweep_unfinished([QUEUE], chunk=10)
    assert await quotas.count_unfinished() == {KEY: 1}


async def test_a_redrive_of_a_tenant_without_a_quota_lists_nothing(
    ledger: TaskLedger, session: Session
) -> None:
    task_id = await submit(ledger)
    await ledger.cancel([task_id], tenant=None)
    await ledger.redrive([task_id], tenant=None)
    assert await QuotaLedger(session).count_unfinished() == {}


async def test_a_sweep_is_due_once_for_all_processes(quotas: QuotaLedger) -> None:
    assert await quotas.begin_sweeps(["a", "b"], seconds=600) == ["a", "b"]
    assert await quotas.begin_sweeps(["a", "b", "c"], seconds=600) == ["c"]
    assert sorted(await quotas.begin_sweeps(["a", "b"], seconds=0)) == ["a", "b"]


async def test_a_success_makes_room(
    ledger: TaskLedger, quotas: QuotaLedger, worker_ledger: WorkerLedger
) -> None:
    task_id = await submit(ledger)
    worker_id = await open_worker(worker_ledger, "default")
    claim = await claim_task(ledger, task_id, worker_id)
    await quotas.sweep_unfinished([QUEUE], chunk=10)
    assert await quotas.count_unfinished() == {KEY: 1}
    await ledger.settle([succeeded(claim)])
    await quotas.sweep_unfinished([QUEUE], chunk=10)
    assert await quotas.count_unfinished() == {}


async def test_a_redrive_of_a_task_that_is_still_listed_counts_it_once(
    ledger: TaskLedger, quotas: QuotaLedger
) -> None:
    task_id = await submit(ledger)
    await ledger.cancel([task_id], tenant=None)
    await ledger.redrive([task_id], tenant=None)
    assert await quotas.count_unfinished() == {KEY: 1}


async def test_changes_are_folded_into_their_sum(
    ledger: TaskLedger, quotas: QuotaLedger, pool: Pool, plain: Connection
) -> None:
    changes = "select count(*) from leaseq.unfinished_counts"

    async def rows() -> int:
        return int((await (await plain.execute(changes)).fetchall())[0][0])

    ids = [await submit(ledger) for _ in range(LEAST_FOLDED)]
    await submit(ledger, queue="mail")
    await ledger.cancel(ids[:30], tenant=None)
    await quotas.sweep_unfinished([QUEUE], chunk=1_000)
    before = await quotas.count_unfinished()
    assert before == {KEY: LEAST_FOLDED - 30, (DEFAULT_TENANT, "mail"): 1}
    assert await rows() == LEAST_FOLDED + 2
    async with holding(pool) as held:
        await QuotaLedger(held).fold_counts()
        # The changes are held: another one has nothing to fold, and both see the old sum.
        await quotas.fold_counts()
        assert await quotas.count_unfinished() == before
        await submit(ledger)
    assert await rows() == 3
    await quotas.fold_counts()  # too few
    assert await rows() == 3
    before[KEY] += 1
    assert await quotas.count_unfinished() == before
