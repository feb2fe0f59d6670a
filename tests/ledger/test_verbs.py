"""Each verb makes its transition and leaves the right row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import psycopg
import pytest
from psycopg.rows import dict_row

from leaseq.connections.postgres_connection import Connection
from leaseq.ledger.queues import QueueLedger
from leaseq.ledger.task_lists import TaskFilter, TaskLists
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.lifecycle import SUSPECT_CRASHES
from leaseq.model import (
    Claim,
    Disposition,
    Ending,
    Lane,
    Outcome,
    Priority,
    Settlement,
    State,
    TaskError,
)
from support.ledger import (
    RETENTION,
    cancelled,
    claim_task,
    errored,
    find,
    lost,
    open_worker,
    promote_due,
    released,
    scheduled,
    submission,
    submit,
    succeeded,
)


async def test_submit_records_the_payload_byte_for_byte(ledger: TaskLedger) -> None:
    payload = b'{"b" : 1e2,  "a":[ "\\u00e9", "\xc3\xa9" ], "a": null}'

    task = await find(
        ledger, await submit(ledger, payload=payload, headers=b'{"traceparent": "00-1"}')
    )

    assert task.payload == payload
    assert (task.state, task.attempt, task.worker_id, task.finished_at) == (
        State.PENDING,
        0,
        None,
        None,
    )


async def test_submit_later_is_scheduled(ledger: TaskLedger, plain: Connection) -> None:
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)

    delayed = await submit(ledger, delay_seconds=60.0)
    dated = await submit(ledger, run_at=in_an_hour)
    overdue = await submit(ledger, run_at=in_an_hour - timedelta(hours=2))

    states = await ledger.find_states([delayed, dated, overdue])
    assert states == {delayed: State.SCHEDULED, dated: State.SCHEDULED, overdue: State.PENDING}
    assert await scheduled(plain) == {delayed, dated}
    assert (await find(ledger, dated)).run_at == in_an_hour
    task = await find(ledger, delayed)
    assert task.run_at - task.created_at == timedelta(seconds=60)


async def test_submit_makes_the_queue_known(ledger: TaskLedger, queue_ledger: QueueLedger) -> None:
    await submit(ledger, queue="mail")
    await submit(ledger, queue="mail")

    assert [queue.name for queue in await queue_ledger.list_queues()] == ["mail"]


async def test_submit_again_changes_nothing(ledger: TaskLedger, plain: Connection) -> None:
    same = submission(idempotency_key="k")
    keyless = submission()
    await ledger.submit([same, keyless], retention_seconds=RETENTION)

    again = await ledger.submit([same, keyless], retention_seconds=RETENTION)

    assert again == {same.task_id: None, keyless.task_id: None}
    assert (await (await plain.execute("select count(*) from leaseq.tasks")).fetchall())[0][0] == 2


async def test_submit_of_what_postgres_cannot_store_is_refused(ledger: TaskLedger) -> None:
    with pytest.raises(Exception, match="cannot store") as caught:
        await ledger.submit([submission(tenant="a\x00b")], retention_seconds=RETENTION)
    assert getattr(caught.value, "code", None) == "submission_invalid"


async def test_promote_takes_what_is_due_and_no_more(
    ledger: TaskLedger, queue_ledger: QueueLedger, plain: Connection
) -> None:
    due = [
        await submit(ledger, delay_seconds=30.0, queue="q", priority=Priority.HIGH)
        for _ in range(3)
    ]
    later = await submit(ledger, delay_seconds=60.0)
    await plain.execute(
        "update leaseq.scheduled set run_at = now() - interval '1 second' where task_id = any(%s::uuid[])",
        [due],
    )
    await plain.execute("delete from leaseq.queues")

    first = await promote_due(ledger, limit=2)
    second = await promote_due(ledger, limit=2)

    assert sorted(first + second) == sorted(due)
    assert len(first) == 2
    assert {(await find(ledger, task_id)).priority for task_id in first} == {Priority.HIGH}
    assert await promote_due(ledger, limit=2) == []
    assert await scheduled(plain) == {later}
    assert (await find(ledger, due[0])).state is State.PENDING
    assert [queue.name for queue in await queue_ledger.list_queues()] == ["q"]


async def test_promote_only_removes_a_row_whose_task_is_not_scheduled(
    ledger: TaskLedger, plain: Connection
) -> None:
    task_id = await submit(ledger)
    await plain.execute("insert into leaseq.scheduled values (%s, now())", [task_id])

    assert await promote_due(ledger, limit=10) == []
    assert await scheduled(plain) == set()


async def test_claim_gives_a_new_attempt_once(
    ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    worker = await open_worker(worker_ledger)
    task_id = await submit(ledger, headers=b'{"traceparent": "00-1"}')

    (claimed,) = await ledger.claim([task_id, task_id], worker_id=worker)
    again = await ledger.claim([task_id], worker_id=worker)

    assert claimed.claim == Claim(task_id, 1, worker)
    assert (claimed.payload, claimed.headers) == (b'{"n":1}', b'{"traceparent": "00-1"}')
    assert again == []
    assert await ledger.find_claimed([task_id], worker_id=worker) == [claimed]
    assert await ledger.find_claimed([task_id], worker_id="another") == []
    task = await find(ledger, task_id)
    assert (task.state, task.attempt, task.worker_id) == (State.PROCESSING, 1, worker)
    assert task.started_at is not None


async def test_claim_by_a_worker_that_is_closed_or_unknown_gets_nothing(
    ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    worker = await open_worker(worker_ledger)
    task_id = await submit(ledger)
    assert await worker_ledger.close_worker(worker, reason="tested")

    assert await ledger.claim([task_id], worker_id=worker) == []
    assert await ledger.claim([task_id], worker_id="never-opened") == []
    assert (await find(ledger, task_id)).attempt == 0


async def test_claim_says_what_has_expired(ledger: TaskLedger, worker_ledger: WorkerLedger) -> None:
    worker = await open_worker(worker_ledger)
    now = datetime.now(UTC)
    dead = await submit(ledger, expires_at=now - timedelta(seconds=1))
    alive = await submit(ledger, expires_at=now + timedelta(hours=1))

    claimed = await ledger.claim([dead, alive], worker_id=worker)

    assert {c.claim.task_id: c.expired for c in claimed} == {dead: True, alive: False}


@pytest.mark.parametrize(
    ("ending", "expired"),
    [
        (Ending(Outcome.ERRORED, error=TaskError("error", "no")), False),
        (Ending(Outcome.RELEASED, error=TaskError("released", "its worker went down")), False),
        (Ending(Outcome.LOST, error=TaskError("lost", "killed by SIGKILL")), False),
        (Ending(Outcome.RELEASED), False),
        (Ending(Outcome.RELEASED, error=TaskError("unknown_type", "no handler")), True),
        (Ending(Outcome.RELEASED, error=TaskError("isolated", "handed over, to run alone")), True),
    ],
)
async def test_a_task_whose_first_attempt_began_in_time_does_not_expire(
    ledger: TaskLedger,
    worker_ledger: WorkerLedger,
    plain: Connection,
    ending: Ending,
    expired: bool,
) -> None:
    worker = await open_worker(worker_ledger)
    task_id = await submit(ledger, expires_at=datetime.now(UTC) + timedelta(hours=1))
    (first,) = await ledger.claim([task_id], worker_id=worker)
    assert not first.expired
    await ledger.settle([Settlement(first.claim, ending, Disposition(State.PENDING))])
    await plain.execute("update leaseq.tasks set expires_at = now() - interval '1 second'")

    (second,) = await ledger.claim([task_id], worker_id=worker)

    assert second.expired is expired
    assert await ledger.find_claimed([task_id], worker_id=worker) == [second]


async def test_settle_success_stores_the_result_and_no_attempt(
    ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    claim = await claim_task(ledger, await submit(ledger), await open_worker(worker_ledger))

    settled = await ledger.settle([succeeded(claim, b'{"x" : null}')])

    assert settled[claim.task_id].state is State.SUCCESS
    task = await find(ledger, claim.task_id)
    assert (task.state, task.result, task.worker_id, task.error) == (
        State.SUCCESS,
        b'{"x" : null}',
        None,
        None,
    )
    assert task.finished_at is not None
    assert await TaskLists(ledger.session).list_attempts(claim.task_id, tenant="default") == []


async def test_settle_retry_waits_for_its_delay_and_records_the_attempt(
    ledger: TaskLedger, worker_ledger: WorkerLedger, plain: Connection
) -> None:
    worker = await open_worker(worker_ledger)
    claim = await claim_task(ledger, await submit(ledger), worker)

    await ledger.settle([errored(claim, delay=60.0)])

    task = await find(ledger, claim.task_id)
    assert (task.state, task.retry_count, task.finished_at) == (State.SCHEDULED, 1, None)
    assert task.started_at is not None
    assert timedelta(seconds=59) < task.run_at - task.started_at < timedelta(seconds=65)
    assert await scheduled(plain) == {claim.task_id}
    (attempt,) = await TaskLists(ledger.session).list_attempts(claim.task_id, tenant="default")
    assert (attempt.outcome, attempt.worker_id, attempt.next_state) == (
        Outcome.ERRORED,
        worker,
        State.SCHEDULED,
    )
    assert msgspec.json.decode(attempt.error or b"")["code"] == "error"
    assert await TaskLists(ledger.session).list_attempts(claim.task_id, tenant="another") == []


async def test_settle_lost_counts_the_crash_and_changes_the_lane(
    ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    claim = await claim_task(ledger, await submit(ledger), await open_worker(worker_ledger))
    crashed = Disposition(State.PENDING, crashes=SUSPECT_CRASHES)

    settled = await ledger.settle([Settlement(claim, Ending(Outcome.LOST, alone=True), crashed)])

    assert settled[claim.task_id].lane is Lane.SUSPECT
    task = await find(ledger, claim.task_id)
    assert (task.state, task.crash_count, task.loss_count, task.retry_count) == (
        State.PENDING,
        SUSPECT_CRASHES,
        0,
        0,
    )


async def test_settle_with_an_old_fence_changes_nothing(
    ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    first, second = await open_worker(worker_ledger), await open_worker(worker_ledger)
    task_id = await submit(ledger)
    old = await claim_task(ledger, task_id, first)
    await ledger.settle([lost(old)])
    current = await claim_task(ledger, task_id, second)
    before = await find(ledger, task_id)

    stale = [succeeded(old), errored(old), released(old), cancelled(old)]
    forged = [Claim(task_id, 2, first), Claim(task_id, 1, second), Claim(task_id, 3, second)]
    for settlement in [*stale, *(succeeded(claim) for claim in forged)]:
        assert await ledger.settle([settlement]) == {}
    assert not await ledger.set_progress(old, b"1")

    assert await find(ledger, task_id) == before
    assert current == Claim(task_id, 2, second)


async def test_settle_of_a_batch_counts_each_on_its_own(
    ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    worker = await open_worker(worker_ledger)
    claims = [await claim_task(ledger, await submit(ledger), worker) for _ in range(4)]
    await ledger.settle([succeeded(claims[0])])

    batch = [
        errored(claims[0]),
        errored(claims[1], then=State.FAILED),
        released(claims[2]),
        cancelled(claims[3]),
    ]
    settled = await ledger.settle([*batch, *batch])

    ids = [claim.task_id for claim in claims]
    assert {task_id: s.state for task_id, s in settled.items()} == {
        ids[1]: State.FAILED,
        ids[2]: State.PENDING,
        ids[3]: State.CANCELLED,
    }
    assert (await ledger.find_states(ids))[ids[0]] is State.SUCCESS


@pytest.mark.parametrize("said", ["\ud800", "a\x00b", "\U0001f980", '"\\'])
async def test_settle_takes_any_text_that_an_exception_may_hold(
    ledger: TaskLedger, worker_ledger: WorkerLedger, said: str
) -> None:
    worker = await open_worker(worker_ledger)
    ugly, neighbour = [await claim_task(ledger, await submit(ledger), worker) for _ in range(2)]
    error = TaskError("error", said, type=said, traceback=said)
    ending = Settlement(
        ugly, Ending(Outcome.ERRORED, error=error), Disposition(State.FAILED, error=error)
    )

    settled = await ledger.settle([ending, succeeded(neighbour)])

    assert {s.state for s in settled.values()} == {State.FAILED, State.SUCCESS}
    assert msgspec.json.decode((await find(ledger, ugly.task_id)).error or b"")["code"] == "error"


async def test_cancel_stops_what_waits_and_asks_what_runs(
    ledger: TaskLedger, worker_ledger: WorkerLedger, plain: Connection
) -> None:
    worker = await open_worker(worker_ledger)
    pending, later = await submit(ledger), await submit(ledger, delay_seconds=60.0)
    claim = await claim_task(ledger, await submit(ledger), worker)
    done = await claim_task(ledger, await submit(ledger), worker)
    await ledger.settle([succeeded(done)])
    ids = [pending, later, claim.task_id, done.task_id]

    assert await ledger.cancel(ids, tenant="another") == {}
    answers = await ledger.cancel(ids, tenant="default")

    assert answers == {
        pending: State.CANCELLED,
        later: State.CANCELLED,
        claim.task_id: State.PROCESSING,
    }
    assert await scheduled(plain) == set()
    assert await ledger.find_cancel_requests(ids) == [claim.task_id]
    assert (await find(ledger, pending)).finished_at is not None
    assert (await find(ledger, claim.task_id)).finished_at is None


@pytest.mark.parametrize("ending", [released, errored, lost, cancelled])
async def test_settle_honours_a_cancel_request(
    ledger: TaskLedger, worker_ledger: WorkerLedger, plain: Connection, ending: object
) -> None:
    claim = await claim_task(ledger, await submit(ledger), await open_worker(worker_ledger))
    await ledger.cancel([claim.task_id], tenant="default")

    assert callable(ending)
    settled = await ledger.settle([ending(claim)])

    assert settled[claim.task_id].state is State.CANCELLED
    assert (await find(ledger, claim.task_id)).finished_at is not None
    assert await scheduled(plain) == set()


async def test_settle_success_beats_a_cancel_request(
    ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    claim = await claim_task(ledger, await submit(ledger), await open_worker(worker_ledger))
    await ledger.cancel([claim.task_id], tenant="default")

    await ledger.settle([succeeded(claim)])

    assert (await find(ledger, claim.task_id)).state is State.SUCCESS


async def test_redrive_starts_again_under_a_higher_fence(
    ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    worker = await open_worker(worker_ledger)
    claim = await claim_task(ledger, await submit(ledger, expires_at=datetime.now(UTC)), worker)
    await ledger.settle([errored(claim, then=State.FAILED)])

    assert await ledger.redrive([claim.task_id], tenant="another") == []
    (snapshot,) = await ledger.redrive([claim.task_id], tenant="default")

    assert (snapshot.state, snapshot.attempt) == (State.SCHEDULED, 1)
    task = await find(ledger, claim.task_id)
    assert (task.retry_count, task.finished_at, task.error, task.expires_at) == (
        0,
        None,
        None,
        None,
    )
    await promote_due(ledger, limit=10)
    assert (await claim_task(ledger, claim.task_id, worker)).attempt == 2


async def test_progress_is_kept_until_the_next_attempt(
    ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    worker = await open_worker(worker_ledger)
    claim = await claim_task(ledger, await submit(ledger), worker)

    assert await ledger.set_progress(claim, b'{"done" : 3}')
    assert (await find(ledger, claim.task_id)).progress == b'{"done" : 3}'
    await ledger.settle([released(claim)])
    assert not await ledger.set_progress(claim, b"4")
    await claim_task(ledger, claim.task_id, worker)
    assert (await find(ledger, claim.task_id)).progress is None


async def test_progress_of_an_earlier_attempt_of_the_same_worker(
    ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    worker = await open_worker(worker_ledger)
    old = await claim_task(ledger, await submit(ledger), worker)
    await ledger.settle([released(old)])
    current = await claim_task(ledger, old.task_id, worker)

    assert not await ledger.set_progress(old, b"1")
    assert await ledger.settle([succeeded(old)]) == {}
    assert await ledger.set_progress(current, b"2")
    assert (await find(ledger, old.task_id)).progress == b"2"


async def test_list_tasks_pages_from_the_newest_and_filters(ledger: TaskLedger) -> None:
    ids = [
        await submit(ledger, queue=f"q{n % 2}", type=f"t{n % 3}", idempotency_key=f"k{n}")
        for n in range(6)
    ]
    await submit(ledger, tenant="another")
    await ledger.cancel([ids[0]], tenant="default")
    newest = sorted(ids, reverse=True)

    async def listed(**wanted: object) -> list[str]:
        found = await TaskLists(ledger.session).list_tasks(
            msgspec.convert(wanted, TaskFilter), tenant="default"
        )
        return [task.task_id for task in found.tasks]

    assert await listed() == newest
    assert await listed(limit=2) == newest[:2]
    assert await listed(limit=2, cursor=newest[1]) == newest[2:4]
    assert await listed(state="CANCELLED") == [ids[0]]
    assert await listed(queue="q1", type="t2") == [ids[5]]
    assert await listed(idempotency_key="k4") == [ids[4]]


async def test_find_is_blind_to_other_tenants(ledger: TaskLedger) -> None:
    task_id = await submit(ledger, tenant="one")

    assert await ledger.find([task_id], tenant="two") == {}
    assert (await ledger.find([task_id], tenant="one"))[task_id].tenant == "one"


async def test_a_callers_connection_may_make_rows_of_another_kind(
    ledger: TaskLedger, postgres_url: str
) -> None:
    wanted = submission()
    async with (
        await psycopg.AsyncConnection.connect(
            postgres_url, row_factory=dict_row, cursor_factory=psycopg.AsyncRawCursor
        ) as conn,
        conn.transaction(),
    ):
        created = await ledger.submit([wanted], retention_seconds=RETENTION, conn=conn)

    submitted = created[wanted.task_id]
    assert submitted is not None
    assert submitted.state is State.SCHEDULED
