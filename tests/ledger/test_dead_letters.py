"""A dead letter is there exactly while its task is FAILED, in every race."""

from __future__ import annotations

import asyncio

import pytest

from leaseq.codec import FIRST_ID, LAST_ID
from leaseq.connections.postgres_connection import Connection
from leaseq.connections.postgres_pool import Pool
from leaseq.errors import ServerUnreachable
from leaseq.ledger.dead_letters import LEAST_FOLDED, CountedLetters, DeadLetterLedger
from leaseq.ledger.maintenance import Maintenance
from leaseq.ledger.prepared import PREPARED
from leaseq.ledger.session import Session
from leaseq.ledger.statements import STATEMENTS
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import Claim, Disposition, Ending, Outcome, Settlement, State, TaskError
from leaseq.safe_text.fingerprint import of_code
from support.ledger import (
    Held,
    cancelled,
    claim_task,
    errored,
    find,
    holding,
    open_worker,
    promote_due,
    submit,
    succeeded,
    until_blocked,
)

# Tasks about which the tables disagree, the numbers of rows, and those that the sums give.
DISAGREEING = """
select coalesce(t.id, d.task_id)::text from leaseq.dead_letters as d
full join (select * from leaseq.tasks where state = 'FAILED') as t on t.id = d.task_id
where t.id is null or d.task_id is null or d.failed_at <> t.finished_at
    or (d.tenant, d.queue, d.type) <> (t.tenant, t.queue, t.type)
"""
LISTED = "select tenant, queue, type, count(*) from leaseq.dead_letters group by 1, 2, 3 order by 1, 2, 3"
COUNTED = """
select tenant, queue, type, sum(letters)::bigint from leaseq.dead_letter_counts
group by 1, 2, 3 having sum(letters) <> 0 order by 1, 2, 3
"""
CHANGES = """
insert into leaseq.dead_letter_counts (tenant, queue, type, letters)
select 'default', 'gone', 'add', case n %% 2 when 0 then 1 else -1 end from generate_series(1, %s) as n
"""
LOOKED = "where l.wrong\n"
WAIT = "and (select pg_advisory_xact_lock(7)::text is not null)\n"


@pytest.fixture
async def worker(worker_ledger: WorkerLedger) -> str:
    return await open_worker(worker_ledger, "default", "mail")


@pytest.fixture
def letters(session: Session) -> DeadLetterLedger:
    return DeadLetterLedger(session)


async def fail(ledger: TaskLedger, worker: str, **said: str) -> Claim:
    """The claim of a task that has failed."""
    claim = await claim_task(ledger, await submit(ledger, **said), worker)
    await ledger.settle([errored(claim, then=State.FAILED)])
    return claim


async def agree(plain: Connection) -> int:
    """Compare the dead letters with the tasks, and their sums with the rows. Returns how many there
    are."""
    assert await (await plain.execute(DISAGREEING)).fetchall() == []
    listed = await (await plain.execute(LISTED)).fetchall()
    assert await (await plain.execute(COUNTED)).fetchall() == listed
    return sum(row[3] for row in listed)


async def test_only_a_failed_task_is_listed(
    ledger: TaskLedger, worker: str, plain: Connection
) -> None:
    claims = [await claim_task(ledger, await submit(ledger), worker) for _ in range(4)]
    endings = [succeeded(claims[0]), cancelled(claims[1]), errored(claims[2])]
    await ledger.settle([*endings, errored(claims[3], then=State.FAILED)])
    assert await agree(plain) == 1
    cursor = await plain.execute("select task_id::text, code, fingerprint from leaseq.dead_letters")
    assert await cursor.fetchall() == [(claims[3].task_id, "error", of_code("error"))]


async def test_any_text_of_an_error_is_listed(
    ledger: TaskLedger, worker: str, letters: DeadLetterLedger, plain: Connection
) -> None:
    claims = [await claim_task(ledger, await submit(ledger), worker) for _ in range(2)]
    error = TaskError('a "\0" \ud800 {code}', "a\0b")
    ending = Ending(Outcome.ERRORED, error=error)
    failed = Disposition(State.FAILED, error=error)
    await ledger.settle([Settlement(claim, ending, failed) for claim in claims])
    query = "select code from leaseq.dead_letters order by task_id"
    assert await (await plain.execute(query)).fetchall() == [('a "?" ? {code}',)] * 2
    await plain.execute("delete from leaseq.dead_letters; delete from leaseq.dead_letter_counts")
    await letters.add([claim.task_id for claim in claims])
    assert await (await plain.execute(query)).fetchall() == [("unknown",)] * 2
    assert await agree(plain) == 2


async def test_a_batch_without_a_failed_task_has_the_statement_without_the_table(
    ledger: TaskLedger, worker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    fetch = Session.fetch

    async def noting(self: Session, name: str, *args: object, **rest: object) -> object:
        sent.append(name)
        return await fetch(self, name, *args, **rest)  # type: ignore[arg-type]

    claims = [await claim_task(ledger, await submit(ledger), worker) for _ in range(4)]
    monkeypatch.setattr(Session, "fetch", noting)
    await ledger.settle([succeeded(claims[0]), errored(claims[1])])
    await ledger.settle([errored(claims[2]), errored(claims[3], then=State.FAILED)])
    assert sent == ["succeed_attempts", "settle_errored", "settle_failed"]
    assert "dead_letter" not in STATEMENTS["settle_attempts"] + STATEMENTS["settle_errored"]


async def test_a_fenced_ending_lists_nothing(
    ledger: TaskLedger, worker: str, plain: Connection
) -> None:
    claim = await claim_task(ledger, await submit(ledger), worker)
    await ledger.settle([succeeded(claim)])
    assert await ledger.settle([errored(claim, then=State.FAILED)]) == {}
    assert await agree(plain) == 0


async def test_a_settle_that_is_rolled_back_leaves_neither(
    ledger: TaskLedger, worker: str, pool: Pool, plain: Connection
) -> None:
    claim = await claim_task(ledger, await submit(ledger), worker)
    async with pool.connection() as conn, conn.transaction(force_rollback=True):
        held = TaskLedger(Held(pool, conn))
        assert claim.task_id in await held.settle([errored(claim, then=State.FAILED)])
    assert (await find(ledger, claim.task_id)).state is State.PROCESSING
    assert await agree(plain) == 0


async def test_a_settle_whose_session_is_killed_leaves_neither(
    ledger: TaskLedger, worker: str, plain: Connection
) -> None:
    """It has written nothing, and counts when the worker settles again."""
    claim = await claim_task(ledger, await submit(ledger), worker)
    async with plain.transaction():
        await plain.execute("lock table leaseq.dead_letters in share mode")
        settle = asyncio.create_task(ledger.settle([errored(claim, then=State.FAILED)]))
        await until_blocked(plain, settle)
        kill = "select pg_terminate_backend(pid) from pg_locks where relation = 'leaseq.dead_letters'::regclass and not granted"
        await plain.execute(kill)
        with pytest.raises(ServerUnreachable):
            await settle
    assert (await find(ledger, claim.task_id)).state is State.PROCESSING
    assert await agree(plain) == 0
    assert claim.task_id in await ledger.settle([errored(claim, then=State.FAILED)])
    assert await agree(plain) == 1


async def test_a_redrive_takes_the_row_away_and_the_next_failure_brings_it_back(
    ledger: TaskLedger, worker: str, plain: Connection
) -> None:
    claim = await fail(ledger, worker)
    other = await fail(ledger, worker, queue="mail", type="send")
    assert len(await ledger.redrive([claim.task_id, other.task_id], tenant=None)) == 2
    assert await agree(plain) == 0
    await promote_due(ledger, limit=10)
    await ledger.settle(
        [errored(await claim_task(ledger, claim.task_id, worker), then=State.FAILED)]
    )
    assert await agree(plain) == 1


async def test_a_prune_takes_the_row_away(
    ledger: TaskLedger, worker: str, maintenance: Maintenance, plain: Connection
) -> None:
    await fail(ledger, worker)
    done = await claim_task(ledger, await submit(ledger), worker)
    await ledger.settle([succeeded(done)])
    pruned = await maintenance.prune_tasks(
        after=FIRST_ID, before=LAST_ID, retention_seconds=0, limit=10
    )
    assert pruned.count == 2
    assert await agree(plain) == 0


async def test_an_erased_task_stays_listed_without_its_error(
    ledger: TaskLedger, worker: str, plain: Connection
) -> None:
    claim = await fail(ledger, worker)
    await plain.execute("update leaseq.dead_letters set fingerprint = 'abc'")
    assert await ledger.erase([claim.task_id], tenant=None) == [claim.task_id]
    assert await agree(plain) == 1
    cursor = await plain.execute("select code, fingerprint from leaseq.dead_letters")
    assert await cursor.fetchall() == [("erased", None)]
    await plain.execute("delete from leaseq.dead_letters")
    await DeadLetterLedger(ledger.session).add([claim.task_id])
    cursor = await plain.execute("select code, fingerprint from leaseq.dead_letters")
    assert await cursor.fetchall() == [("erased", None)]


async def test_a_redrive_that_waits_while_the_task_fails_again_leaves_it_failed(
    ledger: TaskLedger, worker: str, pool: Pool, plain: Connection
) -> None:
    """It does not see the dead letter of the second failure."""
    claim = await fail(ledger, worker)
    async with holding(pool) as held:
        first = TaskLedger(held)
        await first.redrive([claim.task_id], tenant=None)
        second = asyncio.create_task(ledger.redrive([claim.task_id], tenant=None))
        await until_blocked(plain, second)
        await promote_due(first, limit=10)
        again = await claim_task(first, claim.task_id, worker)
        await first.settle([errored(again, then=State.FAILED)])
    assert await second == []
    assert await agree(plain) == 1
    assert len(await ledger.redrive([claim.task_id], tenant=None)) == 1
    assert await agree(plain) == 0


async def test_two_redrives_of_one_task_count_once(
    ledger: TaskLedger, worker: str, pool: Pool, plain: Connection
) -> None:
    claim = await fail(ledger, worker)
    async with holding(pool) as held:
        await TaskLedger(held).redrive([claim.task_id], tenant=None)
        second = asyncio.create_task(ledger.redrive([claim.task_id], tenant=None))
        await until_blocked(plain, second)
    assert await second == []
    assert await agree(plain) == 0


async def test_a_task_that_an_older_worker_has_settled_is_added(
    ledger: TaskLedger,
    worker: str,
    letters: DeadLetterLedger,
    plain: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as old:
        old.setitem(PREPARED, "settle_failed", PREPARED["settle_attempts"])
        claims = [await fail(ledger, worker) for _ in range(3)]
    waiting = await submit(ledger)
    ids = [*(claim.task_id for claim in claims), waiting]
    async with plain.transaction():
        await plain.execute("select from leaseq.tasks where id = %s for update", [ids[0]])
        assert await letters.add(ids) == ids[1:3]
    assert await letters.add(ids) == ids[:1]
    assert await letters.add(ids) == []
    assert await agree(plain) == 3


async def test_the_row_of_a_task_that_an_older_process_has_redriven_or_pruned_is_discarded(
    ledger: TaskLedger, worker: str, letters: DeadLetterLedger, plain: Connection
) -> None:
    redriven, pruned, kept = [await fail(ledger, worker) for _ in range(3)]
    change = "update leaseq.tasks set state = 'SCHEDULED', finished_at = null where id = %s"
    await plain.execute(change, [redriven.task_id])
    await plain.execute("delete from leaseq.tasks where id = %s", [pruned.task_id])
    first = await letters.discard(after=FIRST_ID, limit=2)
    assert (first.last_id, first.count) == (pruned.task_id, 2)
    rest = await letters.discard(after=pruned.task_id, limit=2)
    assert (rest.last_id, rest.count) == (kept.task_id, 0)
    assert await letters.discard(after=kept.task_id, limit=2) == type(rest)(None, 0)
    assert await agree(plain) == 1


async def test_a_row_that_was_left_behind_is_replaced_by_the_next_failure(
    ledger: TaskLedger, worker: str, plain: Connection
) -> None:
    """An older process has redriven the task."""
    claim = await fail(ledger, worker)
    await plain.execute(
        "update leaseq.tasks set state = 'PENDING', finished_at = null, error = null"
    )
    again = await claim_task(ledger, claim.task_id, worker)
    await ledger.settle([errored(again, then=State.FAILED)])
    assert await agree(plain) == 1


async def test_a_scan_that_saw_another_state_leaves_the_row_of_a_new_failure(
    ledger: TaskLedger,
    worker: str,
    letters: DeadLetterLedger,
    plain: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The scan waits between its look at the task and the lock of its row."""
    sql = STATEMENTS["discard_dead_letters"]
    assert sql.count(LOOKED) == 1
    monkeypatch.setitem(STATEMENTS, "discard_dead_letters", sql.replace(LOOKED, LOOKED + WAIT))
    claim = await fail(ledger, worker)
    await plain.execute(
        "update leaseq.tasks set state = 'PENDING', finished_at = null, error = null"
    )
    again = await claim_task(ledger, claim.task_id, worker)
    async with plain.transaction():
        await plain.execute("select pg_advisory_xact_lock(7)")
        scan = asyncio.create_task(letters.discard(after=FIRST_ID, limit=10))
        await until_blocked(plain, scan)
        await ledger.settle([errored(again, then=State.FAILED)])
    assert (await scan).count == 0
    assert await agree(plain) == 1


async def test_dead_letters_are_counted_by_queue_and_type(
    ledger: TaskLedger, worker: str, letters: DeadLetterLedger, plain: Connection
) -> None:
    for _ in range(2):
        await fail(ledger, worker, queue="mail", type="send")
    await fail(ledger, worker, tenant="acme")
    assert await letters.count(tenant=None, limit=10) == [
        CountedLetters("mail", "send", 2, 3),
        CountedLetters("default", "add", 1, 3),
    ]
    assert await letters.count(tenant="acme", limit=10) == [CountedLetters("default", "add", 1, 1)]
    assert await letters.count(tenant=None, limit=1) == [CountedLetters("mail", "send", 2, 3)]
    assert await agree(plain) == 3


async def test_a_fold_keeps_the_sums(
    ledger: TaskLedger, worker: str, letters: DeadLetterLedger, plain: Connection
) -> None:
    for _ in range(2):
        await fail(ledger, worker)
    assert not await letters.fold_counts()
    await plain.execute(CHANGES, [2 * LEAST_FOLDED])
    assert await letters.fold_counts()
    cursor = await plain.execute("select count(*) from leaseq.dead_letter_counts")
    assert await cursor.fetchall() == [(1,)]
    assert await agree(plain) == 2
