"""Failed attempts are handed over by their settle, and counted exactly once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from leaseq.connections.postgres_connection import Connection
from leaseq.connections.postgres_pool import Pool
from leaseq.ledger.failures import FailureFilter, FailureGroup, FailureLedger
from leaseq.ledger.session import Session
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import Disposition, Ending, Outcome, Settlement, State, TaskError
from leaseq.safe_text.fingerprint import of_code
from support.failures import GONE, Shop, count
from support.ledger import (
    cancelled,
    holding,
    lost,
    released,
    succeeded,
    until_blocked,
)


@pytest.fixture
def failures(session: Session) -> FailureLedger:
    return FailureLedger(session)


@pytest.fixture
def shop(ledger: TaskLedger, worker_ledger: WorkerLedger) -> Shop:
    return Shop(ledger, worker_ledger)


async def groups(
    failures: FailureLedger, *, tenant: str | None = None, **wanted: Any
) -> list[FailureGroup]:
    return (await failures.list_groups(FailureFilter(**wanted), tenant=tenant)).groups


async def test_failed_attempts_are_grouped_and_counted(shop: Shop, failures: FailureLedger) -> None:
    await shop.fail(times=3)
    task_id = await shop.fail(replace(GONE, message="gone again"), then=State.FAILED)
    await shop.fail(TaskError("timeout", "30 s"), outcome=Outcome.TIMED_OUT)

    assert await count(failures, limit=2) == 5
    timeout, gone = await groups(failures)

    assert (gone.type, gone.fingerprint, gone.exception) == ("add", "0123456789ab", "Gone")
    assert (gone.frame, gone.code, gone.state) == ("shop:pay", "error", "new")
    assert (gone.in_hour, gone.in_day, gone.in_week, gone.hours[-1]) == (4, 4, 4, 4)
    assert (gone.task_id, gone.dead, gone.hosts, gone.queues) == (task_id, 1, ["here"], ["default"])
    assert gone.message == "gone again"
    assert gone.first_seen < gone.last_seen < timeout.first_seen == timeout.last_seen
    assert timeout.fingerprint == of_code("timeout")
    assert timeout.in_hour == 1


async def test_ends_that_are_no_failures_are_not_handed_over(
    shop: Shop, failures: FailureLedger
) -> None:
    stopped = TaskError("cancelled", "cancelled while it ran")
    claims = [await shop.claim() for _ in range(5)]
    asked = Ending(Outcome.CANCELLED, error=stopped)
    await shop.ledger.settle(
        [
            succeeded(claims[0]),
            released(claims[1]),
            cancelled(claims[2]),
            lost(claims[3]),
            Settlement(claims[4], asked, Disposition(State.CANCELLED, error=stopped)),
        ]
    )
    await shop.fail(TaskError("released", "the worker stops"), outcome=Outcome.RELEASED)
    assert await count(failures) == 0


async def test_refused_ending_is_not_handed_over(shop: Shop, failures: FailureLedger) -> None:
    claim = await shop.claim()
    ending = Settlement(
        claim, Ending(Outcome.ERRORED, error=GONE), Disposition(State.SCHEDULED, error=GONE)
    )
    assert await shop.ledger.settle([ending])
    assert not await shop.ledger.settle([ending])
    assert await count(failures) == 1


async def test_crash_is_counted_by_the_error_of_the_task(
    shop: Shop, failures: FailureLedger
) -> None:
    claim = await shop.claim()
    crashed = TaskError("crashed", "the worker died 3 times")
    ending = Ending(Outcome.LOST, error=TaskError("lost", "exit code -9"), alone=True)
    await shop.ledger.settle(
        [Settlement(claim, ending, Disposition(State.FAILED, crashes=1, error=crashed))]
    )
    await count(failures)
    (group,) = await groups(failures)
    assert (group.code, group.fingerprint, group.dead) == ("crashed", of_code("crashed"), 1)


async def test_settle_that_commits_late_is_counted(
    shop: Shop, failures: FailureLedger, pool: Pool
) -> None:
    """Its attempt failed before the one that is counted first."""
    claim = await shop.claim()
    ending = Settlement(
        claim, Ending(Outcome.ERRORED, error=GONE), Disposition(State.SCHEDULED, error=GONE)
    )
    async with holding(pool) as late:
        assert await TaskLedger(late).settle([ending])
        await shop.fail()
        assert await count(failures) == 1
    assert await count(failures) == 1
    (group,) = await groups(failures)
    assert group.in_hour == 2
    assert group.first_seen < group.last_seen


async def test_second_counter_finds_nothing_while_the_first_one_works(
    shop: Shop, failures: FailureLedger, pool: Pool
) -> None:
    await shop.fail(times=2)
    async with holding(pool) as first:
        assert (await FailureLedger(first).count(since=None, limit=5000)).count == 2
        assert (await failures.count(since=None, limit=5000)).count == 0
    assert await count(failures) == 0
    (group,) = await groups(failures)
    assert group.in_hour == 2


async def test_counter_that_dies_in_its_statement_has_taken_nothing(
    shop: Shop, failures: FailureLedger, pool: Pool, plain: Connection
) -> None:
    """Its connection ends while it waits for the row of the group."""
    await shop.fail()
    await count(failures)
    await shop.fail(times=2)
    async with holding(pool) as acting:
        await FailureLedger(acting).acknowledge("add", GONE.fingerprint, tenant=None, by="ada")
        dying = asyncio.create_task(failures.count(since=None, limit=5000))
        await until_blocked(plain, dying)
        await plain.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock'"
            " and datname = current_database()"
        )
        with pytest.raises(Exception, match=r"terminat|closed|unreachable"):
            await dying
    assert await count(failures) == 2
    (group,) = await groups(failures)
    assert group.in_hour == 3


async def test_two_counters_at_once_count_each_attempt_once(
    shop: Shop, failures: FailureLedger
) -> None:
    for n in range(6):
        await shop.fail(replace(GONE, fingerprint=f"{n % 3:012x}"), times=3)
    found = await asyncio.gather(*(count(failures, limit=2) for _ in range(4)))
    total = sum(found) + await count(failures)
    assert total == 18
    assert [group.in_hour for group in await groups(failures)] == [6, 6, 6]


async def test_groups_of_a_type_are_bounded(
    shop: Shop, failures: FailureLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leaseq.ledger.failures.MOST_GROUPS", 2)
    for n in range(4):
        await shop.fail(replace(GONE, fingerprint=f"{n:012x}"))
    await shop.fail(type="other")
    first = await failures.count(since=None, limit=5000)
    assert [group.fingerprint for group in first.fresh] == [
        "000000000000",
        "000000000001",
        GONE.fingerprint,
    ]
    await shop.fail(replace(GONE, fingerprint="0" * 12))
    await shop.fail(replace(GONE, fingerprint="f" * 12))
    assert not (await failures.count(since=None, limit=5000)).fresh
    found = {group.fingerprint: group.in_hour for group in await groups(failures, type="add")}
    assert found == {"000000000000": 2, "000000000001": 1, "many": 3}


async def test_tenant_sees_its_own_groups_and_an_operator_their_sum(
    shop: Shop, failures: FailureLedger, plain: Connection
) -> None:
    await plain.execute("insert into leaseq.tenants (name) values ('acme')")
    await shop.fail(times=2)
    acme = await shop.fail(tenant="acme")
    await shop.fail(replace(GONE, fingerprint="f" * 12), tenant="acme")
    await count(failures)

    async def counts(tenant: str | None) -> dict[str, int]:
        return {g.fingerprint: g.in_hour for g in await groups(failures, tenant=tenant)}

    assert await counts("default") == {GONE.fingerprint: 2}
    assert await counts("acme") == {GONE.fingerprint: 1, "f" * 12: 1}
    assert await counts(None) == {GONE.fingerprint: 3, "f" * 12: 1}
    recent = await failures.list_attempts("add", GONE.fingerprint, tenant="acme")
    assert [attempt.task_id for attempt in recent] == [acme]
    assert not await failures.acknowledge("add", "e" * 12, tenant="acme", by="ada")
    assert await failures.acknowledge("add", GONE.fingerprint, tenant="acme", by="ada")
    assert [g.state for g in await groups(failures, tenant="acme", state="acknowledged")] == [
        "acknowledged"
    ]
    assert {g.state for g in await groups(failures, tenant=None)} == {"new"}


async def test_acknowledged_group_returns_in_a_new_version(
    shop: Shop, failures: FailureLedger
) -> None:
    old = await shop.worker(host="a", app_version="1.4.1")
    new = await shop.worker(host="b", app_version="1.4.2")
    await shop.fail(worker=old)
    await count(failures)
    assert await failures.acknowledge("add", GONE.fingerprint, tenant=None, by="ada")
    await shop.fail(worker=old)
    await shop.fail()  # of a worker that does not know its version
    await count(failures)
    (group,) = await groups(failures)
    assert (group.state, group.acknowledged_by) == ("acknowledged", "ada")

    await shop.fail(worker=new)
    await count(failures)
    (group,) = await groups(failures)
    assert (group.state, group.acknowledged_at) == ("new", None)
    assert group.returned_at == group.last_seen
    assert [seen.version for seen in group.versions] == ["1.4.1", "1.4.2"]
    assert group.versions[0].first_seen == group.first_seen
    assert group.hosts == ["a", "b", "here"]


async def test_group_is_new_for_a_day(
    shop: Shop, failures: FailureLedger, plain: Connection
) -> None:
    await shop.fail()
    await count(failures)
    await plain.execute("update leaseq.failures set first_seen = first_seen - interval '25 hours'")
    (group,) = await groups(failures)
    assert group.state == "known"


async def test_pages_have_every_group_once(shop: Shop, failures: FailureLedger) -> None:
    for n in range(5):
        await shop.fail(replace(GONE, fingerprint=f"{n:012x}"), queue="mail" if n % 2 else "other")
    await count(failures)
    seen, cursor = [], None
    while True:
        page = await failures.list_groups(FailureFilter(cursor=cursor, limit=2), tenant=None)
        seen += [int(group.fingerprint, 16) for group in page.groups]
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == [4, 3, 2, 1, 0]
    assert len(await groups(failures, queue="mail")) == 2
    assert len(await groups(failures, type="none")) == 0


async def test_prune_deletes_old_counts_and_groups(
    shop: Shop, failures: FailureLedger, plain: Connection
) -> None:
    async def prune() -> tuple[int, int]:
        return await failures.prune(
            fine_seconds=7200, coarse_seconds=86_400, group_seconds=86_400, limit=10
        )

    await shop.fail()
    await count(failures)
    assert await prune() == (0, 0)
    await plain.execute("update leaseq.failure_counts set at = at - interval '3 hours'")
    assert await prune() == (1, 0)
    (group,) = await groups(failures)
    assert (group.in_hour, group.in_day) == (0, 1)
    await plain.execute("update leaseq.failure_counts set at = at - interval '2 days'")
    await plain.execute("update leaseq.failures set last_seen = now() - interval '2 days'")
    assert await prune() == (1, 1)
    assert await groups(failures) == []


async def test_erased_task_leaves_no_text(
    shop: Shop, failures: FailureLedger, ledger: TaskLedger
) -> None:
    task_id = await shop.fail(then=State.FAILED)
    await count(failures)
    (recent,) = await failures.list_attempts("add", GONE.fingerprint, tenant=None)
    assert b"it is gone" in (recent.error or b"")
    await ledger.erase([task_id], tenant=None)
    assert await failures.list_attempts("add", GONE.fingerprint, tenant=None) == []
