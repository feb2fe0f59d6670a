"""Unique keys: one task at a time, debounced and throttled tasks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from leaseq.codec import FIRST_ID
from leaseq.connections.postgres_connection import Connection
from leaseq.connections.postgres_pool import Pool
from leaseq.errors import IdempotencyInFlight, UniqueConflict
from leaseq.ledger.maintenance import Maintenance
from leaseq.ledger.tasks import TaskLedger
from leaseq.model import State, Submission, Submitted
from leaseq.operations.submit import Submitter
from leaseq.uniqueness import UniqueKey, UniqueRule
from support.ledger import (
    RETENTION,
    claim_task,
    find,
    holding,
    open_worker,
    promote_due,
    submission,
    succeeded,
    until_blocked,
)

UNFINISHED = UniqueRule()


@pytest.fixture
def submitter(ledger: TaskLedger) -> Submitter:
    return Submitter(ledger, retention_seconds=RETENTION)


def unique(key: str = "k", rule: UniqueRule = UNFINISHED, **more: Any) -> Submission:
    delay = rule.delay_seconds
    return submission(unique=UniqueKey(key, rule), delay_seconds=delay, **more)


async def submit(submitter: Submitter, one: Submission, **more: Any) -> Submitted:
    (answer,) = await submitter.write([one], **more)
    if isinstance(answer, BaseException):
        raise answer
    return answer


async def finish(ledger: TaskLedger, worker_ledger: Any, task_id: str) -> None:
    claim = await claim_task(ledger, task_id, await open_worker(worker_ledger))
    await ledger.settle([succeeded(claim)])


async def test_a_second_submission_returns_the_unfinished_task_and_then_makes_another(
    submitter: Submitter, ledger: TaskLedger, worker_ledger: Any
) -> None:
    first = await submit(submitter, unique())
    again = await submit(submitter, unique())
    assert (again.task_id, again.deduplicated, again.replayed) == (first.task_id, True, True)
    assert not first.deduplicated
    await finish(ledger, worker_ledger, first.task_id)
    third = await submit(submitter, unique())
    assert third.task_id != first.task_id
    assert (await find(ledger, third.task_id)).has_unique_key
    assert not (await find(ledger, first.task_id)).has_unique_key


async def test_keys_of_another_tenant_type_or_rule_are_other_keys(submitter: Submitter) -> None:
    made = [
        await submit(submitter, one)
        for one in (
            unique(),
            unique(tenant="other"),
            unique(type="other"),
            unique("other"),
            unique(rule=UniqueRule("while_waiting")),
        )
    ]
    assert not any(one.deduplicated for one in made)


async def test_of_submissions_that_meet_at_a_free_key_one_makes_the_task(
    submitter: Submitter, pool: Pool, plain: Connection
) -> None:
    async with holding(pool) as held:
        first = await submit(Submitter(TaskLedger(held), retention_seconds=RETENTION), unique())
        second = asyncio.create_task(submit(submitter, unique()))
        await until_blocked(plain, second)
    assert (await second).task_id == first.task_id


async def test_of_submissions_that_meet_at_an_ended_holder_one_makes_the_task(
    submitter: Submitter, ledger: TaskLedger, worker_ledger: Any, pool: Pool, plain: Connection
) -> None:
    await finish(ledger, worker_ledger, (await submit(submitter, unique())).task_id)
    async with holding(pool) as held:
        first = await submit(Submitter(TaskLedger(held), retention_seconds=RETENTION), unique())
        second = asyncio.create_task(submit(submitter, unique()))
        await until_blocked(plain, second)
    assert (await second).task_id == first.task_id
    assert not first.deduplicated


async def test_a_key_that_an_open_transaction_holds_is_in_flight(
    submitter: Submitter, pool: Pool
) -> None:
    async with holding(pool) as held:
        await submit(Submitter(TaskLedger(held), retention_seconds=RETENTION), unique())
        with pytest.raises(IdempotencyInFlight, match="unique key"):
            await submit(submitter, unique())


async def test_a_refused_conflict_names_the_task(submitter: Submitter) -> None:
    first = await submit(submitter, unique())
    with pytest.raises(UniqueConflict) as refused:
        await submit(submitter, unique(rule=UniqueRule(on_conflict="refuse")))
    assert refused.value.task_id == first.task_id


async def test_a_batch_with_one_key_twice_makes_one_task(submitter: Submitter) -> None:
    batch = [unique("a"), unique("b"), unique("a"), submission()]
    answers = await submitter.write(batch)
    first, _, third, _ = answers
    assert isinstance(first, Submitted)
    assert isinstance(third, Submitted)
    assert (third.task_id, third.deduplicated) == (first.task_id, True)
    assert len({getattr(answer, "task_id", "") for answer in answers}) == 3


async def test_a_task_that_waits_is_replaced_and_one_that_runs_is_not(
    submitter: Submitter, ledger: TaskLedger, worker_ledger: Any
) -> None:
    rule = UniqueRule(on_conflict="replace")
    first = await submit(submitter, unique(rule=rule))
    second = await submit(submitter, unique(rule=rule))
    assert not second.deduplicated
    assert (await find(ledger, first.task_id)).state is State.CANCELLED
    await claim_task(ledger, second.task_id, await open_worker(worker_ledger))
    third = await submit(submitter, unique(rule=rule))
    assert (third.task_id, third.deduplicated) == (second.task_id, True)


async def test_while_waiting_lets_a_second_wait_beside_the_running_one(
    submitter: Submitter, ledger: TaskLedger, worker_ledger: Any
) -> None:
    rule = UniqueRule("while_waiting")
    first = await submit(submitter, unique(rule=rule))
    assert (await submit(submitter, unique(rule=rule))).deduplicated
    await claim_task(ledger, first.task_id, await open_worker(worker_ledger))
    second = await submit(submitter, unique(rule=rule))
    assert not second.deduplicated
    assert (await submit(submitter, unique(rule=rule))).task_id == second.task_id


async def test_while_running_takes_no_notice_of_a_task_that_is_not_due(
    submitter: Submitter,
) -> None:
    rule = UniqueRule("while_running")
    late = replace(unique(rule=rule), delay_seconds=60.0)
    await submit(submitter, late)
    second = await submit(submitter, unique(rule=rule))
    assert not second.deduplicated
    assert (await submit(submitter, unique(rule=rule))).task_id == second.task_id


async def test_a_throttle_takes_one_in_a_period(
    submitter: Submitter, ledger: TaskLedger, worker_ledger: Any, plain: Connection
) -> None:
    rule = UniqueRule("throttle", 300.0)
    first = await submit(submitter, unique(rule=rule))
    await finish(ledger, worker_ledger, first.task_id)
    assert (await submit(submitter, unique(rule=rule))).task_id == first.task_id
    await plain.execute("update leaseq.uniques set until = now()")
    assert (await submit(submitter, unique(rule=rule))).task_id != first.task_id


async def test_a_debounced_task_runs_once_with_the_newest_payload(
    submitter: Submitter, ledger: TaskLedger, plain: Connection
) -> None:
    rule = UniqueRule("debounce", delay_seconds=30.0, max_wait_seconds=40.0)
    first = await submit(submitter, unique(rule=rule, payload=b'{"n":1}'))
    second = await submit(submitter, unique(rule=rule, payload=b'{"n":2}'))
    assert (second.task_id, second.deduplicated) == (first.task_id, True)
    assert second.run_at > first.run_at
    task = await find(ledger, first.task_id)
    assert (task.payload, task.state, task.run_at) == (b'{"n":2}', State.SCHEDULED, second.run_at)
    await plain.execute("update leaseq.uniques set first_at = now() - interval '35 seconds'")
    third = await submit(submitter, unique(rule=rule, payload=b'{"n":3}'))
    assert third.run_at < second.run_at
    await plain.execute(
        "with t as (update leaseq.tasks set run_at = now() - interval '1 second' where id = %s returning id, run_at) "
        "update leaseq.scheduled as s set run_at = t.run_at from t where t.id = s.task_id",
        (first.task_id,),
    )
    assert await promote_due(ledger, limit=10) == [first.task_id]
    fourth = await submit(submitter, unique(rule=rule, payload=b'{"n":4}'))
    assert fourth.task_id != first.task_id


async def test_a_repeated_request_gets_the_task_that_it_was_answered_with(
    submitter: Submitter, ledger: TaskLedger, worker_ledger: Any
) -> None:
    first = await submit(submitter, unique())
    asked = unique(idempotency_key="request-1")
    assert (await submit(submitter, asked)).task_id == first.task_id
    await finish(ledger, worker_ledger, first.task_id)
    replayed = await submit(submitter, unique(idempotency_key="request-1"))
    assert (replayed.task_id, replayed.deduplicated) == (first.task_id, False)


async def test_a_submission_that_is_sent_again_finds_itself(submitter: Submitter) -> None:
    one = unique()
    first = await submit(submitter, one)
    again = await submit(submitter, one)
    assert (again.task_id, again.deduplicated) == (first.task_id, False)


async def test_a_redrive_gets_the_key_back_or_is_refused(
    submitter: Submitter, ledger: TaskLedger
) -> None:
    first = await submit(submitter, unique())
    await ledger.cancel([first.task_id], tenant=None)
    second = await submit(submitter, unique())
    assert await ledger.redrive([first.task_id], tenant=None) == []
    await ledger.cancel([second.task_id], tenant=None)
    assert len(await ledger.redrive([first.task_id, second.task_id], tenant=None)) == 1
    again = await submit(submitter, unique())
    assert again.deduplicated
    assert (await find(ledger, again.task_id)).state is State.SCHEDULED


@pytest.mark.parametrize("has_row", [True, False])
async def test_of_a_redrive_and_a_submission_that_meet_one_gets_the_key(
    submitter: Submitter, ledger: TaskLedger, pool: Pool, plain: Connection, has_row: bool
) -> None:
    first = await submit(submitter, unique())
    await ledger.cancel([first.task_id], tenant=None)
    if not has_row:
        await plain.execute("delete from leaseq.uniques")
    async with holding(pool) as held:
        assert len(await TaskLedger(held).redrive([first.task_id], tenant=None)) == 1
        waiting = asyncio.create_task(submit(submitter, unique()))
        await until_blocked(plain, waiting)
    assert (await waiting).task_id == first.task_id


async def test_a_submission_that_was_first_lets_the_redrive_change_nothing(
    submitter: Submitter, ledger: TaskLedger, pool: Pool, plain: Connection
) -> None:
    first = await submit(submitter, unique())
    await ledger.cancel([first.task_id], tenant=None)
    async with holding(pool) as held:
        second = await submit(Submitter(TaskLedger(held), retention_seconds=RETENTION), unique())
        waiting = asyncio.create_task(ledger.redrive([first.task_id], tenant=None))
        await until_blocked(plain, waiting)
    assert await waiting == []
    assert not second.deduplicated


async def test_a_pruned_task_frees_its_key_when_its_period_is_over(
    submitter: Submitter, ledger: TaskLedger, maintenance: Maintenance, plain: Connection
) -> None:
    async def keys() -> list[str]:
        found = await plain.execute("select key from leaseq.uniques order by key")
        return [row[0] for row in await found.fetchall()]

    ended = [
        await submit(submitter, unique("free")),
        await submit(submitter, unique("kept", UniqueRule("throttle", 300.0))),
    ]
    await ledger.cancel([one.task_id for one in ended], tenant=None)
    await plain.execute("update leaseq.tasks set finished_at = now() - interval '1 day'")
    last = "ffffffff-ffff-7fff-8fff-ffffffffffff"
    pruned = await maintenance.prune_tasks(
        after=FIRST_ID, before=last, retention_seconds=60, limit=10
    )
    assert pruned.count == 2
    assert await keys() == ["kept"]
    answer = await submit(submitter, unique("kept", UniqueRule("throttle", 300.0)))
    assert (answer.task_id, answer.state) == (ended[1].task_id, State.CANCELLED)
    assert await maintenance.prune_uniques(limit=10) == 0
    await plain.execute("update leaseq.uniques set until = now() - interval '1 second'")
    assert await maintenance.prune_uniques(limit=10) == 1


async def test_an_erased_task_has_no_unique_key(
    submitter: Submitter, ledger: TaskLedger, plain: Connection
) -> None:
    one = await submit(submitter, unique("personal"))
    await ledger.cancel([one.task_id], tenant=None)
    await ledger.erase([one.task_id], tenant=None)
    assert (await find(ledger, one.task_id)).unique_key is None
    found = await (await plain.execute("select count(*) from leaseq.uniques")).fetchone()
    assert found == (0,)


async def test_a_key_of_a_task_that_does_not_exist_is_free(
    submitter: Submitter, plain: Connection
) -> None:
    first = await submit(submitter, unique())
    await plain.execute("delete from leaseq.tasks")
    second = await submit(submitter, unique())
    assert second.task_id != first.task_id
    assert not second.deduplicated
