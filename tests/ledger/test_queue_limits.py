"""Tasks of queues with a limit, and of fair ones, take it whenever they came."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from leaseq.codec import new_task_id
from leaseq.connections.postgres_connection import Connection
from leaseq.connections.postgres_pool import Pool
from leaseq.errors import LimitInUse, LimitNotFound
from leaseq.ledger import queue_limits
from leaseq.ledger.limits import LimitLedger
from leaseq.ledger.queue_limits import QueueLimit, QueueLimitLedger
from leaseq.ledger.session import Session
from leaseq.ledger.tasks import TaskLedger
from leaseq.limits import MARK, LimitBounds, QueueRule
from leaseq.model import Lane, Priority, State
from support.ledger import (
    RETENTION,
    Held,
    errored,
    open_worker,
    promote_due,
    submission,
    succeeded,
)

QUEUE = "default"
OWN = MARK + QUEUE


@pytest.fixture
def limits(session: Session) -> LimitLedger:
    return LimitLedger(session)


@pytest.fixture
def queues(session: Session) -> QueueLimitLedger:
    return QueueLimitLedger(session)


async def plain_tasks(ledger: TaskLedger, count: int, **more: Any) -> list[str]:
    batch = [submission(task_id=new_task_id(), **more) for _ in range(count)]
    await ledger.submit(batch, retention_seconds=RETENTION)
    return sorted(one.task_id for one in batch)


async def fair_tasks(ledger: TaskLedger, tenant: str, count: int, **more: Any) -> list[str]:
    return await plain_tasks(ledger, count, tenant=tenant, limit=OWN, **more)


async def walk(queues: QueueLimitLedger, *, size: int = 3) -> int:
    """Walk to the end of the walk that is next; how many tasks were adopted."""
    found = await queues.find_walk()
    assert found is not None
    total = 0
    for _ in range(200):
        adopted, is_end = await queues.adopt(found, size=size)
        total += adopted
        if is_end:
            return total
        following = await queues.find_walk()
        assert following is not None
        assert following.walked > found.walked
        found = following
    pytest.fail("the walk does not end")


async def admit(limits: LimitLedger, name: str = OWN) -> list[str]:
    return [id_ for one in (await limits.admit(name)).lanes for id_ in one.task_ids]


async def states(ledger: TaskLedger, ids: list[str]) -> list[State]:
    found = await ledger.find(ids, tenant=None)
    return [found[task_id].state for task_id in ids]


async def room(plain: Connection) -> int:
    found = await plain.execute("select concurrency from leaseq.limits where name = %s", (OWN,))
    row = await found.fetchone()
    assert row is not None
    return int(row[0])


async def test_a_declaration_holds_until_it_changes(
    queues: QueueLimitLedger, limits: LimitLedger
) -> None:
    await limits.put(LimitBounds(name="warehouse", concurrency=2))
    rule = QueueRule(queue="sync", limit="warehouse")
    assert await queues.declare([rule, QueueRule(queue="shared", fair=True)]) == ["shared", "sync"]
    assert await queues.declare([rule]) == []
    await queues.put(QueueRule(queue="sync"))  # by an operator
    assert await queues.declare([rule]) == []
    assert await queues.list_limits() == [QueueLimit("shared", "@shared", True)]
    assert await queues.declare([QueueRule(queue="sync", fair=True)]) == ["sync"]
    assert len(await queues.list_limits()) == 2


async def test_the_limit_of_a_queue_exists_and_stays(
    queues: QueueLimitLedger, limits: LimitLedger
) -> None:
    with pytest.raises(LimitNotFound, match="no limit warehouse"):
        await queues.put(QueueRule(queue="sync", limit="warehouse"))
    assert await queues.list_limits() == []
    await limits.put(LimitBounds(name="warehouse", concurrency=2))
    await queues.put(QueueRule(queue="sync", limit="warehouse"))
    with pytest.raises(LimitInUse, match="queue"):
        await limits.delete("warehouse")
    await queues.put(QueueRule(queue="sync"))
    await limits.delete("warehouse")


async def test_tenants_of_a_fair_queue_have_turns(
    ledger: TaskLedger, limits: LimitLedger, queues: QueueLimitLedger, worker_ledger: Any
) -> None:
    await queues.put(QueueRule(queue=QUEUE, fair=True))
    worker = await open_worker(worker_ledger)
    busy = await fair_tasks(ledger, "busy", 200)
    first = await admit(limits)
    assert first == busy[: queue_limits.LEAST_AHEAD]
    other, one = await fair_tasks(ledger, "other", 10), await fair_tasks(ledger, "one", 1)
    order: list[str] = []
    while not {*other, *one} <= {*order}:
        for claimed in await ledger.claim(first, worker_id=worker):
            await ledger.settle([succeeded(claimed.claim)])
        first = await admit(limits)
        order += first
    # three tenants, then two: each has every second or third turn
    assert all({*order[:4]} & {*line} for line in (busy, other, one))
    assert len(order) <= 2 * 11 + queue_limits.LEAST_AHEAD


async def test_an_urgent_tenant_of_a_fair_queue_has_no_lane_of_its_own(
    ledger: TaskLedger, limits: LimitLedger, queues: QueueLimitLedger
) -> None:
    await queues.put(QueueRule(queue=QUEUE, fair=True))
    await fair_tasks(ledger, "busy", 3)
    urgent = await fair_tasks(ledger, "busy", 1, priority=Priority.HIGH)
    await fair_tasks(ledger, "other", 1, priority=Priority.LOW)
    admission = await limits.admit(OWN)
    assert {one.lane for one in admission.lanes} == {Lane.NORMAL}
    admitted = [id_ for one in admission.lanes for id_ in one.task_ids]
    assert len(admitted) == 4
    assert urgent[0] in admitted


async def test_permits_follow_the_slots_and_the_pace(
    ledger: TaskLedger,
    limits: LimitLedger,
    queues: QueueLimitLedger,
    plain: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queue_limits, "MEASURE_SECONDS", 0.0)
    await queues.put(QueueRule(queue=QUEUE, fair=True))
    await queues.size()
    assert await room(plain) == queue_limits.LEAST_AHEAD  # no workers, no pace
    await plain.execute(
        "insert into leaseq.services (id, role, host, pid, version, detail, beat_seconds) "
        "values (gen_random_uuid()::text, 'supervisor', 'h', 1, '1', '{\"queues\":[\"default\"],\"slots\":30}', 60)"
    )
    await queues.size()
    assert await room(plain) == 30 + queue_limits.LEAST_AHEAD
    await plain.execute(
        "update leaseq.queue_limits set measured_at = clock_timestamp() - interval '1 second', measured = 0"
    )
    await plain.execute("update leaseq.guards set given = 4000")
    version = await (await plain.execute("select version from leaseq.guards")).fetchone()
    await queues.size()
    assert 30 + 900 < await room(plain) <= 30 + 1000
    assert await (await plain.execute("select version from leaseq.guards")).fetchone() != version
    await plain.execute("update leaseq.services set ended_at = now()")
    await queues.size()
    assert await room(plain) == queue_limits.LEAST_AHEAD


async def test_tasks_from_before_take_the_limit_of_their_queue(
    ledger: TaskLedger,
    limits: LimitLedger,
    queues: QueueLimitLedger,
    worker_ledger: Any,
    plain: Connection,
) -> None:
    worker = await open_worker(worker_ledger)
    waiting = await plain_tasks(ledger, 10)
    elsewhere = await plain_tasks(ledger, 2, queue="other")
    (late,) = await plain_tasks(ledger, 1, delay_seconds=0.05)
    (claimed,) = await ledger.claim(waiting[:1], worker_id=worker)
    await queues.put(QueueRule(queue=QUEUE, fair=True))
    assert await walk(queues) == 10
    assert await states(ledger, waiting) == [State.PROCESSING] + [State.SCHEDULED] * 9
    assert await states(ledger, elsewhere) == [State.PENDING] * 2
    assert await ledger.claim(waiting[1:], worker_id=worker) == []  # their deliveries
    await ledger.settle([succeeded(claimed.claim)])
    # the second walk begins later, and finds what came meanwhile
    (stray,) = await plain_tasks(ledger, 1)
    assert await queues.find_walk() is None
    await plain.execute("update leaseq.queue_limits set changed_at = now() - interval '1 minute'")
    assert await walk(queues, size=500) == 1
    assert await queues.find_walk() is None

    async def run_all() -> None:
        for each in await ledger.claim([*waiting, stray], worker_id=worker):
            await ledger.settle([succeeded(each.claim)])

    async with asyncio.timeout(30):
        while late not in await admit(limits):
            await promote_due(ledger, limit=10)
            await run_all()
    await run_all()
    assert await states(ledger, [*waiting, stray]) == [State.SUCCESS] * 11


async def test_two_reapers_adopt_a_task_once(
    ledger: TaskLedger, queues: QueueLimitLedger, plain: Connection
) -> None:
    await plain_tasks(ledger, 50)
    await queues.put(QueueRule(queue=QUEUE, fair=True))
    found = await queues.find_walk()
    assert found is not None
    counts = await asyncio.gather(*(queues.adopt(found, size=100) for _ in range(4)))
    assert sum(adopted for adopted, _ in counts) == 50
    row = await (
        await plain.execute("select count(*), min(walks) from leaseq.queue_limits, leaseq.limited")
    ).fetchone()
    assert row == (50, 1)


async def test_a_task_that_another_transaction_holds_is_left_to_the_second_walk(
    pool: Pool, ledger: TaskLedger, queues: QueueLimitLedger, worker_ledger: Any, plain: Connection
) -> None:
    worker = await open_worker(worker_ledger)
    ids = await plain_tasks(ledger, 2)
    async with pool.connection() as conn, conn.transaction():
        held = TaskLedger(Held(pool, conn))
        (claimed,) = await held.claim(ids[:1], worker_id=worker)
        await queues.put(QueueRule(queue=QUEUE, fair=True))
        assert await walk(queues) == 1
    await ledger.settle([errored(claimed.claim)])
    await plain.execute("update leaseq.queue_limits set changed_at = now() - interval '1 minute'")
    assert await walk(queues) == 1
    found = await (await plain.execute("select count(*) from leaseq.limited")).fetchone()
    assert found == (2,)


async def test_a_fair_queue_that_becomes_plain_loses_no_task(
    ledger: TaskLedger, limits: LimitLedger, queues: QueueLimitLedger
) -> None:
    await queues.put(QueueRule(queue=QUEUE, fair=True))
    ids = await fair_tasks(ledger, "busy", 600)
    await admit(limits)
    await queues.put(QueueRule(queue=QUEUE))
    admitted: set[str] = set()
    while len(admitted) < 600 - queue_limits.LEAST_AHEAD:
        more = await admit(limits)
        assert more
        admitted.update(more)
    assert set(await states(ledger, ids)) == {State.PENDING}
    # a process that does not know yet still submits to the limit
    (late,) = await fair_tasks(ledger, "busy", 1)
    assert await admit(limits) == [late]
    await queues.put(QueueRule(queue=QUEUE, fair=True))
    await fair_tasks(ledger, "other", 1)
    assert await admit(limits) == []


async def test_a_redriven_task_takes_the_limit_of_its_queue(
    ledger: TaskLedger, queues: QueueLimitLedger, plain: Connection
) -> None:
    (task,) = await plain_tasks(ledger, 1)
    await ledger.cancel([task], tenant=None)
    await queues.put(QueueRule(queue=QUEUE, fair=True))
    await ledger.redrive([task], tenant=None)
    await promote_due(ledger, limit=10)
    found = await (
        await plain.execute(
            "select t.state, l.due from leaseq.tasks t join leaseq.limited l on l.task_id = t.id"
        )
    ).fetchone()
    assert found == ("SCHEDULED", True)
