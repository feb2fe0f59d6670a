"""One key stands for one task, under repetition, concurrency and faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec import Struct
from msgspec.structs import replace

from leaseq.codec import FIRST_ID
from leaseq.config import Config
from leaseq.connections.postgres import open_pool
from leaseq.connections.postgres_connection import Connection
from leaseq.connections.postgres_pool import Pool
from leaseq.errors import (
    IdempotencyInFlight,
    IdempotencyKeyReused,
    ServerUnreachable,
    SubmissionInvalid,
)
from leaseq.ledger.maintenance import Maintenance, Pruned
from leaseq.ledger.queues import QueueLedger
from leaseq.ledger.session import Session
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import State, Submission, Submitted
from leaseq.operations.submit import MAX_WAITS, Submitter
from support.ledger import (
    RETENTION,
    claim_task,
    errored,
    find,
    holding,
    list_attempts,
    open_worker,
    promote_due,
    submission,
    submit,
    succeeded,
    until_blocked,
)
from support.proxy import READY_FOR_QUERY, Proxy, ProxyTo

LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"


class Far(Struct, frozen=True):
    """A ledger behind a proxy."""

    proxy: Proxy
    session: Session
    ledger: TaskLedger
    submitter: Submitter


@pytest.fixture
async def far(config: Config, proxy_to: ProxyTo) -> AsyncIterator[Far]:
    assert config.postgres_url is not None
    proxy = await proxy_to(config.postgres_url)
    pool = await open_pool(replace(config, postgres_url=proxy.url), name="leaseq test", max_size=2)
    session = Session(pool, deadline_seconds=2)
    ledger = TaskLedger(session)
    yield Far(proxy, session, ledger, Submitter(ledger, retention_seconds=RETENTION))
    proxy.thaw()
    await pool.close()


@pytest.fixture
def submitter(ledger: TaskLedger) -> Submitter:
    return Submitter(ledger, retention_seconds=RETENTION)


async def _one(
    submitter: Submitter, wanted: Submission, *, conn: Connection | None = None
) -> Submitted:
    (answer,) = await submitter.write([wanted], conn=conn)
    if isinstance(answer, BaseException):
        raise answer
    return answer


async def _count(plain: Connection, table: str) -> int:
    cursor = await plain.execute(f"select count(*) from leaseq.{table}".encode())
    return int((await cursor.fetchall())[0][0])


async def test_a_key_again_is_the_same_task(
    submitter: Submitter, ledger: TaskLedger, plain: Connection
) -> None:
    first = await _one(submitter, submission(idempotency_key="k"))

    again = await _one(submitter, submission(idempotency_key="k"))

    assert not first.replayed
    assert again == replace(first, replayed=True)
    assert await _count(plain, "tasks") == 1


async def test_a_key_again_shows_what_became_of_the_task(
    submitter: Submitter, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    first = await _one(submitter, submission(idempotency_key="k"))
    claim = await claim_task(ledger, first.task_id, await open_worker(worker_ledger))
    await ledger.settle([succeeded(claim)])

    again = await _one(submitter, submission(idempotency_key="k"))

    assert (again.task_id, again.state, again.replayed) == (first.task_id, State.SUCCESS, True)


async def test_a_key_with_other_content_is_refused_and_names_the_task(submitter: Submitter) -> None:
    first = await _one(submitter, submission(idempotency_key="k"))

    with pytest.raises(IdempotencyKeyReused) as caught:
        await _one(submitter, submission(idempotency_key="k", fingerprint=b"other"))

    assert caught.value.task_id == first.task_id


async def test_a_key_belongs_to_its_tenant(submitter: Submitter, plain: Connection) -> None:
    one = await _one(submitter, submission(idempotency_key="k", tenant="one"))
    two = await _one(submitter, submission(idempotency_key="k", tenant="two", fingerprint=b"other"))

    assert one.task_id != two.task_id
    assert not two.replayed
    assert await _count(plain, "tasks") == 2


async def test_many_clients_with_one_key_make_one_task(
    submitter: Submitter, ledger: TaskLedger, plain: Connection
) -> None:
    for round_number in range(20):
        key = f"k{round_number}"
        answers = await asyncio.gather(
            *(_one(submitter, submission(idempotency_key=key)) for _ in range(6))
        )
        assert len({answer.task_id for answer in answers}) == 1
        assert sum(not answer.replayed for answer in answers) == 1
    assert await _count(plain, "tasks") == 20


async def test_batches_that_share_keys_in_opposite_order(
    submitter: Submitter, plain: Connection
) -> None:
    one, two = (
        [submission(idempotency_key=f"k{n}") for n in order]
        for order in (range(50), reversed(range(50)))
    )

    answers = await asyncio.gather(submitter.write(one), submitter.write(two))

    ids = [
        {answer.task_id for answer in found if isinstance(answer, Submitted)} for found in answers
    ]
    assert ids[0] == ids[1]
    assert len(ids[0]) == 50 == await _count(plain, "tasks")


async def test_a_key_twice_within_one_batch(submitter: Submitter, plain: Connection) -> None:
    answers = await submitter.write(
        [
            submission(idempotency_key="k"),
            submission(),
            submission(idempotency_key="k"),
            submission(idempotency_key="k", fingerprint=b"other"),
            submission(idempotency_key="k", tenant="two"),
        ]
    )

    first, keyless, again, other, elsewhere = answers
    assert isinstance(first, Submitted)
    assert isinstance(keyless, Submitted)
    assert again == replace(first, replayed=True)
    assert isinstance(other, IdempotencyKeyReused)
    assert isinstance(elsewhere, Submitted)
    assert await _count(plain, "tasks") == 3


async def test_an_empty_batch(submitter: Submitter) -> None:
    assert await submitter.write([]) == []


UNFINISHED = [
    "update leaseq.tasks set state = 'SCHEDULED'",
    "update leaseq.tasks set state = 'PROCESSING', attempt = 1, worker_id = 'w', started_at = now()",
    "select 1",
]


@pytest.mark.parametrize("sql", UNFINISHED)
async def test_a_key_stands_for_its_task_until_that_has_ended(
    submitter: Submitter, maintenance: Maintenance, ledger: TaskLedger, plain: Connection, sql: str
) -> None:
    """A task may wait for longer than keys are kept: the same request made a second task, and both
    ran."""
    first = await _one(submitter, submission(idempotency_key="k"))
    await plain.execute(sql.encode())
    await plain.execute(
        "update leaseq.idempotency_keys set expires_at = now() - interval '1 second'"
    )
    for _ in range(2):
        again = await _one(submitter, submission(idempotency_key="k"))
        assert (again.task_id, again.replayed) == (first.task_id, True)
        with pytest.raises(IdempotencyKeyReused):
            await _one(submitter, submission(idempotency_key="k", fingerprint=b"other"))
        await ledger.expire_keys([("default", "k")])
        pruned = await maintenance.prune_keys(since=None, limit=10)
        assert pruned.count == 0
    assert pruned.seen == 0, "it expires later"
    await plain.execute(
        "update leaseq.tasks set state = 'CANCELLED', finished_at = now(), worker_id = null"
    )
    await plain.execute(
        "update leaseq.idempotency_keys set expires_at = now() - interval '1 second'"
    )
    assert (await maintenance.prune_keys(since=None, limit=10)).count == 1


@pytest.mark.parametrize(
    ("ending", "remembered"),
    [
        ("state = 'FAILED', finished_at = now()", State.FAILED),
        ("state = 'SUCCESS', finished_at = now(), result = '1'", State.SUCCESS),
        ("state = 'PENDING'", State.CANCELLED),
    ],
)
async def test_a_key_remembers_a_task_that_was_deleted_by_hand(
    submitter: Submitter, plain: Connection, ending: str, remembered: State
) -> None:
    first = await _one(submitter, submission(idempotency_key="k"))
    other = await _one(submitter, submission(idempotency_key="other"))
    await plain.execute(f"update leaseq.tasks set {ending} where id = %s".encode(), [first.task_id])
    await plain.execute("delete from leaseq.tasks where id = %s", [first.task_id])
    again = await _one(submitter, submission(idempotency_key="k"))
    assert (again.task_id, again.state, again.replayed) == (first.task_id, remembered, True)
    assert (await _one(submitter, submission(idempotency_key="other"))).task_id == other.task_id


async def test_an_expired_key_makes_a_new_task(
    submitter: Submitter, ledger: TaskLedger, plain: Connection
) -> None:
    first = await _one(submitter, submission(idempotency_key="k"))
    await ledger.cancel([first.task_id], tenant="default")
    await plain.execute("update leaseq.idempotency_keys set expires_at = now()")

    raced = await asyncio.gather(
        *(_one(submitter, submission(idempotency_key="k", fingerprint=b"other")) for _ in range(4))
    )

    assert len({answer.task_id for answer in raced}) == 1
    assert sum(not answer.replayed for answer in raced) == 1
    assert raced[0].task_id != first.task_id
    assert await _count(plain, "tasks") == 2
    assert await _count(plain, "idempotency_keys") == 1


async def test_a_key_outlives_its_pruned_task(
    submitter: Submitter, ledger: TaskLedger, maintenance: Maintenance, plain: Connection
) -> None:
    first = await _one(submitter, submission(idempotency_key="k", queue="mail"))
    await ledger.cancel([first.task_id], tenant="default")
    assert await maintenance.prune_tasks(
        after=FIRST_ID, before=LAST_ID, retention_seconds=0, limit=10
    ) == Pruned(first.task_id, 1)

    again = await _one(submitter, submission(idempotency_key="k", queue="mail"))

    assert (again.task_id, again.state, again.replayed) == (first.task_id, State.CANCELLED, True)
    assert again.queue == "mail"
    assert await _count(plain, "tasks") == 0
    with pytest.raises(IdempotencyKeyReused):
        await _one(submitter, submission(idempotency_key="k", fingerprint=b"other"))


async def test_a_pruned_key_makes_a_new_task(
    submitter: Submitter, ledger: TaskLedger, maintenance: Maintenance, plain: Connection
) -> None:
    first = await _one(submitter, submission(idempotency_key="k"))
    await ledger.cancel([first.task_id], tenant="default")
    await plain.execute(
        "update leaseq.idempotency_keys set expires_at = now() - interval '1 second'"
    )
    assert (await maintenance.prune_keys(since=None, limit=10)).count == 1

    assert (await _one(submitter, submission(idempotency_key="k"))).task_id != first.task_id


async def test_a_replay_writes_and_locks_nothing(
    pool: Pool, submitter: Submitter, ledger: TaskLedger
) -> None:
    """Retries may come in storms, and from inside long transactions: they must not hold each other
    up."""
    first = await _one(submitter, submission(idempotency_key="k"))
    async with holding(pool) as held:
        other = Submitter(TaskLedger(held), retention_seconds=RETENTION)
        inside = await _one(other, submission(idempotency_key="k"))
        written = await held.fetch(
            "list_queues", {"after": "", "limit": 1}
        )  # the transaction is alive
        outside = await _one(submitter, submission(idempotency_key="k"))

    assert inside == outside == replace(first, replayed=True)
    assert len(written) == 1


async def test_own_transaction_rolled_back_leaves_nothing(
    pool: Pool, submitter: Submitter, ledger: TaskLedger, plain: Connection
) -> None:
    async with pool.connection() as conn, conn.transaction(force_rollback=True):
        await _one(submitter, submission(idempotency_key="k", queue="new"), conn=conn)

    for table in ("tasks", "idempotency_keys", "scheduled", "queues"):
        assert await _count(plain, table) == 0
    assert not (await _one(submitter, submission(idempotency_key="k"))).replayed


async def test_own_transaction_is_delivered_after_the_commit_and_not_before(
    pool: Pool, submitter: Submitter, ledger: TaskLedger, queue_ledger: QueueLedger
) -> None:
    async with pool.connection() as conn, conn.transaction():
        submitted = await _one(submitter, submission(queue="new"), conn=conn)
        assert submitted.state is State.SCHEDULED
        assert await promote_due(ledger, limit=10) == []

    assert await promote_due(ledger, limit=10) == [submitted.task_id]
    task = await find(ledger, submitted.task_id)
    assert (task.queue, task.state) == ("new", State.PENDING)
    assert [queue.name for queue in await queue_ledger.list_queues()] == ["new"]


async def test_own_transaction_with_a_new_queue_delays_no_other(
    pool: Pool, submitter: Submitter
) -> None:
    async with pool.connection() as conn, conn.transaction():
        await _one(submitter, submission(queue="new"), conn=conn)

        other = await asyncio.wait_for(_one(submitter, submission(queue="new")), timeout=5)

    assert other.state is State.PENDING


async def test_own_transaction_sees_its_own_key(pool: Pool, submitter: Submitter) -> None:
    async with pool.connection() as conn, conn.transaction():
        first = await _one(submitter, submission(idempotency_key="k"), conn=conn)
        again = await _one(submitter, submission(idempotency_key="k"), conn=conn)

    assert again == replace(first, replayed=True)


async def test_a_key_in_flight_is_refused_and_its_neighbours_go_in(
    pool: Pool, submitter: Submitter, ledger: TaskLedger
) -> None:
    async with pool.connection() as conn, conn.transaction():
        await _one(submitter, submission(idempotency_key="held"), conn=conn)

        before, held, after = await submitter.write(
            [submission(idempotency_key="a"), submission(idempotency_key="held"), submission()]
        )

        assert isinstance(before, Submitted)
        assert isinstance(held, IdempotencyInFlight)
        assert isinstance(after, Submitted)

    assert (await _one(submitter, submission(idempotency_key="held"))).replayed


async def test_a_key_in_flight_that_is_let_go_in_time_is_replayed(
    pool: Pool, submitter: Submitter, plain: Connection
) -> None:
    async with pool.connection() as conn, conn.transaction():
        first = await _one(submitter, submission(idempotency_key="k"), conn=conn)
        waiting = asyncio.create_task(_one(submitter, submission(idempotency_key="k")))
        await until_blocked(plain, waiting)

    assert await waiting == replace(first, state=State.SCHEDULED, replayed=True)


async def test_a_key_in_flight_whose_transaction_fails_makes_the_task(
    pool: Pool, submitter: Submitter, plain: Connection
) -> None:
    async with pool.connection() as conn, conn.transaction(force_rollback=True):
        first = await _one(submitter, submission(idempotency_key="k"), conn=conn)
        waiting = asyncio.create_task(_one(submitter, submission(idempotency_key="k")))
        await until_blocked(plain, waiting)

    second = await waiting
    assert not second.replayed
    assert second.task_id != first.task_id


async def test_many_keys_in_flight_do_not_hold_up_a_batch_for_long(
    pool: Pool, submitter: Submitter
) -> None:
    async with pool.connection() as conn, conn.transaction():
        keys = [f"k{n}" for n in range(4 * MAX_WAITS)]
        await submitter.write([submission(idempotency_key=key) for key in keys], conn=conn)

        async with asyncio.timeout(8):
            answers = await submitter.write(
                [submission(), *(submission(idempotency_key=key) for key in keys)]
            )

    assert isinstance(answers[0], Submitted)
    assert all(isinstance(answer, IdempotencyInFlight) for answer in answers[1:])


async def test_refused_submission_fails_its_caller_only(submitter: Submitter) -> None:
    good, bad, fine = await submitter.write(
        [submission(), submission(tenant="a\x00b"), submission()]
    )

    assert isinstance(good, Submitted)
    assert isinstance(bad, SubmissionInvalid)
    assert isinstance(fine, Submitted)


@pytest.mark.parametrize("key", ["the-key", None])
async def test_an_answer_that_was_lost_after_the_commit(
    far: Far, plain: Connection, key: str | None
) -> None:
    """The connection dies between the commit and its acknowledgement. The statement is sent again,
    and finds itself."""
    wanted = submission(idempotency_key=key)
    trap = far.proxy.lose_reply(wanted.task_id.encode(), until=READY_FOR_QUERY)

    answer = await _one(far.submitter, wanted)

    assert trap.sprung.is_set()
    assert (answer.task_id, answer.state, answer.replayed) == (wanted.task_id, State.PENDING, False)
    assert await _count(plain, "tasks") == 1


async def test_a_client_that_never_heard_the_answer_asks_again_with_its_key(
    far: Far, submitter: Submitter, plain: Connection
) -> None:
    first = submission(idempotency_key="the-key")
    for _ in range(2):
        far.proxy.lose_reply(first.task_id.encode(), until=READY_FOR_QUERY)

    with pytest.raises(ServerUnreachable):
        await far.submitter.write([first])
    again = await _one(submitter, submission(idempotency_key="the-key"))

    assert (again.task_id, again.replayed) == (first.task_id, True)
    assert await _count(plain, "tasks") == 1


async def test_a_claim_whose_answer_was_lost_is_found(
    far: Far, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    """Claim is not sent again: the attempt would be its own competitor. The worker asks what it
    holds."""
    worker, task_id = await open_worker(worker_ledger), await submit(ledger)
    far.proxy.lose_reply(task_id.encode(), until=READY_FOR_QUERY)

    with pytest.raises(ServerUnreachable):
        await far.ledger.claim([task_id], worker_id=worker)
    (claimed,) = await far.ledger.find_claimed([task_id], worker_id=worker)

    assert claimed.claim.attempt == 1
    assert (await find(ledger, task_id)).attempt == 1


async def test_a_settle_whose_answer_was_lost_counted_once(
    far: Far, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    claim = await claim_task(ledger, await submit(ledger), await open_worker(worker_ledger))
    far.proxy.lose_reply(claim.task_id.encode(), until=READY_FOR_QUERY)

    with pytest.raises(ServerUnreachable):
        await far.ledger.settle([errored(claim)])
    assert await far.ledger.settle([errored(claim)]) == {}

    assert (await find(ledger, claim.task_id)).retry_count == 1
    assert len(await list_attempts(ledger, claim.task_id)) == 1


async def test_a_connection_that_dies_before_the_statement_arrives_costs_a_second_try(
    far: Far,
) -> None:
    await far.ledger.find_states([])
    far.proxy.cut()

    assert (await _one(far.submitter, submission())).state is State.PENDING


async def test_a_frozen_postgres_is_given_up_by_our_own_clock(far: Far) -> None:
    """Its own time-outs are frozen with it. psycopg then tries to cancel for at most 10 s before it
    gives up."""
    await far.ledger.find_states([])
    far.proxy.freeze()

    with pytest.raises(ServerUnreachable):
        async with asyncio.timeout(2 + 10 + 1):
            await far.ledger.submit([submission()], retention_seconds=RETENTION)
