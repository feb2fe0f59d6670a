"""Tasks with limits: admitted up to the limit, in turns, and never beyond it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from leaseq.codec import new_task_id
from leaseq.connections.postgres_connection import Connection
from leaseq.connections.postgres_pool import Pool
from leaseq.errors import FeatureNeedsUpgrade, LimitInUse, LimitUnknown
from leaseq.ledger.limits import BEGINNING, LimitLedger
from leaseq.ledger.prepared import PREPARED
from leaseq.ledger.session import Session
from leaseq.ledger.statements import STATEMENTS
from leaseq.ledger.tasks import TaskLedger
from leaseq.limits import LIMITED, LimitBounds
from leaseq.model import Claim, Priority, State
from support.ledger import (
    RETENTION,
    errored,
    find,
    holding,
    lost,
    open_worker,
    promote_due,
    released,
    submission,
    submit,
    succeeded,
    until_blocked,
)

NAME = "stripe"


@pytest.fixture
def limits(session: Session) -> LimitLedger:
    return LimitLedger(session)


async def limited(ledger: TaskLedger, *keys: str | None, **more: Any) -> list[str]:
    """Submit a task for each key, in order."""
    ids = sorted(new_task_id() for _ in keys)  # those of one millisecond have no order
    batch = [
        submission(task_id=task_id, limit=NAME, concurrency_key=key, **more)
        for task_id, key in zip(ids, keys, strict=True)
    ]
    answers = await ledger.submit(batch, retention_seconds=RETENTION)
    assert None not in answers.values()
    return [one.task_id for one in batch]


async def admit(limits: LimitLedger) -> list[str]:
    """The ids that one pass admits."""
    admission = await limits.admit(NAME)
    assert admission.won
    return [task_id for one in admission.lanes for task_id in one.task_ids]


async def permits(plain: Connection) -> dict[str, str]:
    """The state of each task that has a permit."""
    found = await plain.execute(
        "select l.task_id::text, t.state from leaseq.limited as l left join leaseq.tasks as t on t.id = l.task_id "
        "where admitted_at is not null"
    )
    return {row[0]: row[1] for row in await found.fetchall()}


async def count_rows(plain: Connection) -> int:
    found = await (await plain.execute("select count(*) from leaseq.limited")).fetchone()
    assert found is not None
    return int(found[0])


async def states(ledger: TaskLedger, ids: list[str]) -> list[State]:
    found = await ledger.find(ids, tenant=None)
    return [found[task_id].state for task_id in ids]


async def run(ledger: TaskLedger, task_id: str, worker: str) -> Claim:
    (claimed,) = await ledger.claim([task_id], worker_id=worker)
    assert claimed.claim.traits == LIMITED
    return claimed.claim


async def test_a_limit_admits_its_number_and_an_ending_makes_room(
    ledger: TaskLedger, limits: LimitLedger, worker_ledger: Any, plain: Connection
) -> None:
    await limits.put(LimitBounds(name=NAME, concurrency=2))
    worker = await open_worker(worker_ledger)
    ids = await limited(ledger, None, None, None)
    assert await states(ledger, ids) == [State.SCHEDULED] * 3
    assert await admit(limits) == ids[:2]
    assert await admit(limits) == []
    claim = await run(ledger, ids[0], worker)
    await ledger.settle([succeeded(claim)])
    assert await admit(limits) == ids[2:]
    assert await permits(plain) == {ids[1]: "PENDING", ids[2]: "PENDING"}
    failures = await plain.execute("select count(*) from leaseq.uncounted_failures")
    assert await failures.fetchone() == (0,)


async def test_keys_have_turns_and_a_full_key_delays_no_other(
    ledger: TaskLedger, limits: LimitLedger, plain: Connection
) -> None:
    await limits.put(LimitBounds(name=NAME, concurrency=5, key_concurrency=2))
    busy = await limited(ledger, *["a"] * 200)
    others = await limited(ledger, "b", "b", "c")
    assert set(await admit(limits)) == {*busy[:2], *others}
    assert await count_rows(plain) == 203


async def test_a_line_behind_any_number_of_full_keys_is_reached(
    ledger: TaskLedger, limits: LimitLedger
) -> None:
    await limits.put(LimitBounds(name=NAME, key_concurrency=1))
    keys = [f"k{n:04}" for n in range(120)]
    await limited(ledger, *keys)
    while len(await admit(limits)):
        pass
    await limits.put(LimitBounds(name=NAME, concurrency=121, key_concurrency=1))
    await limited(ledger, *keys)
    (last,) = await limited(ledger, "z")
    for _ in range(5):
        if last in await admit(limits):
            return
    pytest.fail("the last key had no turn")


async def test_priority_and_age_order_one_line(ledger: TaskLedger, limits: LimitLedger) -> None:
    await limits.put(LimitBounds(name=NAME, concurrency=1))
    low = await limited(ledger, "a", "a", priority=Priority.LOW)
    (high,) = await limited(ledger, "a", priority=Priority.HIGH)
    order = []
    for _ in range(3):
        order += await admit(limits)
        assert await ledger.cancel(order[-1:], tenant=None) == {order[-1]: State.CANCELLED}
    assert order == [high, *low]


@pytest.mark.parametrize("ending", ["retry", "released", "lost", "failed"])
async def test_only_a_task_that_may_run_keeps_its_permit(
    ending: str, ledger: TaskLedger, limits: LimitLedger, worker_ledger: Any, plain: Connection
) -> None:
    await limits.put(LimitBounds(name=NAME, concurrency=1))
    worker = await open_worker(worker_ledger)
    first, second = await limited(ledger, None, None)
    assert await admit(limits) == [first]
    claim = await run(ledger, first, worker)
    made = {
        "retry": errored(claim),
        "released": released(claim),
        "lost": lost(claim),
        "failed": errored(claim, then=State.FAILED),
    }
    settled = (await ledger.settle([made[ending]]))[first]
    assert settled.limit == NAME
    if ending in ("released", "lost"):
        assert await permits(plain) == {first: "PENDING"}
        assert await admit(limits) == []
    else:
        assert await admit(limits) == [second]


async def test_a_late_task_waits_for_its_time_and_then_for_its_permit(
    ledger: TaskLedger, limits: LimitLedger, plain: Connection
) -> None:
    await limits.put(LimitBounds(name=NAME, concurrency=1))
    (late,) = await limited(ledger, None, delay_seconds=60.0)
    (now,) = await limited(ledger, None)
    assert await admit(limits) == [now]
    await plain.execute("update leaseq.scheduled set run_at = now() - interval '1 second'")
    await promote_due(ledger, limit=10)
    assert (await find(ledger, late)).state is State.SCHEDULED
    assert (await find(ledger, late)).in_line
    assert await admit(limits) == []
    await ledger.cancel([now], tenant=None)
    assert await admit(limits) == [late]


async def test_a_redriven_task_waits_in_line_again(ledger: TaskLedger, limits: LimitLedger) -> None:
    await limits.put(LimitBounds(name=NAME, concurrency=1))
    (first,) = await limited(ledger, "a")
    await ledger.cancel([first], tenant=None)
    (second,) = await limited(ledger, "a")
    assert await admit(limits) == [second]
    assert len(await ledger.redrive([first], tenant=None)) == 1
    await promote_due(ledger, limit=10)
    assert (await find(ledger, first)).state is State.SCHEDULED
    assert await admit(limits) == []
    await ledger.cancel([second], tenant=None)
    assert await admit(limits) == [first]


async def test_a_limit_that_does_not_exist_stores_nothing(
    ledger: TaskLedger, plain: Connection
) -> None:
    with pytest.raises(LimitUnknown, match="no limit stripe"):
        await limited(ledger, "a")
    found = await (await plain.execute("select count(*) from leaseq.tasks")).fetchone()
    assert found == (0,)


async def test_an_older_worker_that_is_open_refuses_limited_tasks_alone(
    ledger: TaskLedger, limits: LimitLedger, worker_ledger: Any, plain: Connection
) -> None:
    await limits.put(LimitBounds(name=NAME, concurrency=1))
    worker = await open_worker(worker_ledger)
    await plain.execute("update leaseq.workers set traits = null")
    with pytest.raises(FeatureNeedsUpgrade, match=worker):
        await limited(ledger, "a")
    await submit(ledger)
    await worker_ledger.close_worker(worker, reason="replaced")
    await limited(ledger, "a")


async def test_a_limit_with_tasks_is_not_deleted(ledger: TaskLedger, limits: LimitLedger) -> None:
    await limits.put(LimitBounds(name=NAME, concurrency=1))
    ids = await limited(ledger, "a")
    with pytest.raises(LimitInUse):
        await limits.delete(NAME)
    await ledger.cancel(ids, tenant=None)
    await limits.delete(NAME)
    with pytest.raises(LimitUnknown):
        await limited(ledger, "a")


async def test_a_declaration_does_not_undo_the_change_of_an_operator(limits: LimitLedger) -> None:
    declared = LimitBounds(name=NAME, concurrency=5)
    assert await limits.declare([declared]) == [NAME]
    await limits.put(LimitBounds(name=NAME, concurrency=9))
    assert await limits.declare([declared]) == []
    assert (await limits.find(NAME, tenant=None)).concurrency == 9
    assert await limits.declare([LimitBounds(name=NAME, concurrency=6)]) == [NAME]
    assert (await limits.find(NAME, tenant=None)).concurrency == 6


async def test_of_two_admissions_that_meet_one_gives_the_permit(
    ledger: TaskLedger, limits: LimitLedger, pool: Pool, plain: Connection
) -> None:
    await limits.put(LimitBounds(name=NAME, concurrency=1))
    ids = await limited(ledger, None, None)
    async with holding(pool) as held:
        first = await LimitLedger(held).admit(NAME)
        second = asyncio.create_task(limits.admit(NAME))
        await until_blocked(plain, second)
    assert [one.task_ids for one in first.lanes] == [ids[:1]]
    answer = await second
    assert not answer.won
    assert not answer.lanes
    assert await admit(limits) == []


async def test_an_admission_that_meets_a_lowered_limit_admits_nothing(
    ledger: TaskLedger, limits: LimitLedger, pool: Pool, plain: Connection
) -> None:
    await limits.put(LimitBounds(name=NAME, concurrency=5))
    ids = await limited(ledger, *[None] * 5)
    async with holding(pool) as held:
        await LimitLedger(held).put(LimitBounds(name=NAME, concurrency=1))
        late = asyncio.create_task(limits.admit(NAME))
        await until_blocked(plain, late)
    assert not (await late).won
    assert await admit(limits) == ids[:1]


async def test_an_admission_skips_a_task_that_a_cancel_holds(
    ledger: TaskLedger, limits: LimitLedger, pool: Pool, plain: Connection
) -> None:
    await limits.put(LimitBounds(name=NAME, concurrency=1))
    first, second = await limited(ledger, None, None)
    async with holding(pool) as held:
        await TaskLedger(held).cancel([first], tenant=None)
        admission = await limits.admit(NAME)
        assert admission.won
        assert admission.stuck == [first]
        assert not admission.lanes
        skipping = await limits.admit(NAME, skipped=[first])
        assert [one.task_ids for one in skipping.lanes] == [[second]]
    assert await permits(plain) == {second: "PENDING"}
    assert await count_rows(plain) == 1


async def test_a_cancel_that_waits_for_an_admission_takes_the_permit_with_it(
    ledger: TaskLedger, limits: LimitLedger, pool: Pool, plain: Connection
) -> None:
    await limits.put(LimitBounds(name=NAME, concurrency=1))
    (only,) = await limited(ledger, None)
    async with holding(pool) as held:
        await LimitLedger(held).admit(NAME)
        cancelling = asyncio.create_task(ledger.cancel([only], tenant=None))
        await until_blocked(plain, cancelling)
    assert await cancelling == {only: State.CANCELLED}
    assert await count_rows(plain) == 0


async def test_an_admission_beside_a_settle_gives_the_permit_after_it(
    ledger: TaskLedger,
    limits: LimitLedger,
    pool: Pool,
    plain: Connection,
    worker_ledger: Any,
) -> None:
    await limits.put(LimitBounds(name=NAME, concurrency=1))
    worker = await open_worker(worker_ledger)
    first, second = await limited(ledger, None, None)
    assert await admit(limits) == [first]
    claim = await run(ledger, first, worker)
    async with holding(pool) as held:
        await TaskLedger(held).settle([succeeded(claim)])
        assert await admit(limits) == []  # the permit is given back by the commit
    assert await admit(limits) == [second]


async def test_rows_that_an_older_process_left_are_repaired(
    ledger: TaskLedger, limits: LimitLedger, plain: Connection
) -> None:
    await limits.put(LimitBounds(name=NAME, concurrency=10))
    ended, gone, waits, fine = await limited(ledger, *[None] * 4)
    assert len(await admit(limits)) == 4
    await plain.execute(
        "update leaseq.tasks set state = 'CANCELLED', finished_at = now() where id = %s", (ended,)
    )
    await plain.execute("delete from leaseq.tasks where id = %s", (gone,))
    await plain.execute("update leaseq.tasks set state = 'SCHEDULED' where id = %s", (waits,))
    repaired, following = await limits.audit(BEGINNING, limit=100)
    assert sorted(each.task_id for each in repaired) == sorted([ended, gone, waits])
    assert following == BEGINNING
    assert await permits(plain) == {fine: "PENDING"}
    assert (await limits.audit(BEGINNING, limit=2))[0] == []
    assert await admit(limits) == [waits]


async def two_at_once(
    ledger: TaskLedger, limits: LimitLedger, pool: Pool, plain: Connection
) -> int:
    """The permits of a limit of one, after two admissions that have counted at the same time and
    have chosen different tasks."""
    await limits.put(LimitBounds(name=NAME, concurrency=1))
    first, _ = await limited(ledger, None, None)
    async with holding(pool) as held:
        await LimitLedger(held).admit(NAME)
        second = asyncio.create_task(limits.admit(NAME, skipped=[first]))
        await until_blocked(plain, second)
    await second
    return len(await permits(plain))


async def test_two_admissions_at_once_give_one_permit(
    ledger: TaskLedger, limits: LimitLedger, pool: Pool, plain: Connection
) -> None:
    assert await two_at_once(ledger, limits, pool, plain) == 1


async def test_without_the_version_two_admissions_give_two_permits(
    ledger: TaskLedger,
    limits: LimitLedger,
    pool: Pool,
    plain: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The seeded bug: rule 1 of decision 63, which the test before catches."""
    naive = STATEMENTS["admit_tasks"].replace("and g.version = seen.version ", "", 1)
    assert naive != STATEMENTS["admit_tasks"]
    monkeypatch.setitem(STATEMENTS, "admit_tasks", naive)
    monkeypatch.delitem(PREPARED, "admit_tasks")
    assert await two_at_once(ledger, limits, pool, plain) == 2


async def test_admitters_and_endings_at_once_give_no_permit_too_many(
    ledger: TaskLedger, limits: LimitLedger, plain: Connection
) -> None:
    await limits.put(LimitBounds(name=NAME, concurrency=3, key_concurrency=2))
    ids = await limited(ledger, *["a", "b"] * 30)
    left = len(ids)
    while left:
        await asyncio.gather(*[limits.admit(NAME) for _ in range(5)])
        found = await permits(plain)
        assert 0 < len(found) <= 3
        for one in await limits.list_keys(NAME, tenant=None, limit=5):
            assert one.admitted <= 2
        ended = await ledger.cancel([*found][:2], tenant=None)
        await asyncio.gather(*[limits.admit(NAME) for _ in range(4)])
        left -= len(ended)

    assert await count_rows(plain) == 0


async def test_a_pass_reads_one_task_of_each_line(
    ledger: TaskLedger, limits: LimitLedger, plain: Connection
) -> None:
    await limits.put(LimitBounds(name=NAME, concurrency=1))
    await limited(ledger, *["a"] * 300)
    for setting in ("seqscan", "bitmapscan", "hashjoin", "mergejoin"):
        await plain.execute(f"set enable_{setting} = off")
    statement = f"explain (analyze, format json) {STATEMENTS['find_admissible']}"
    found = await plain.execute(statement, {"age": 1.0})
    ((plan,),) = await found.fetchall()
    reads = [node for node in _nodes(plan[0]["Plan"]) if node.get("Relation Name") == "limited"]
    assert [node["Actual Rows"] for node in reads] == [1]
    assert await limits.find_admissible() == ([NAME], False)


def _nodes(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [node, *(each for child in node.get("Plans", []) for each in _nodes(child))]
