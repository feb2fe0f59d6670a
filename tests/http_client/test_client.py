"""Both clients of leaseq-http do with a real service what their methods promise."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import msgspec
import pytest
from msgspec import Raw, Struct

from leaseq.codec import new_task_id
from leaseq.config import Config
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import State
from leaseq.operations.open_engine import open_engine
from leaseq_http import (
    AsyncClient,
    Client,
    IdempotencyKeyReused,
    ResultInvalid,
    ResultTimeout,
    SubmissionInvalid,
    TaskCancelled,
    TaskConflict,
    TaskErased,
    TaskFailed,
    TaskNotFound,
)
from leaseq_http.settings import HELD_SECONDS
from support.client import Client as Stores
from support.http_clients import Either, Losing, LosingAsync
from support.ledger import claim_task, errored, open_worker, succeeded
from support.processes import PATIENCE, Services
from support.worker import until


class Receipt(Struct):
    """A result, as a program declares it."""

    cents: int
    paid_at: datetime


async def test_submission_has_its_options_and_its_key(leaseq: Either) -> None:
    due = datetime.now(UTC) + timedelta(hours=1)
    submitted = await leaseq.submit(
        "charge",
        {"order_id": 7},
        idempotency_key='order "7", \\ again',
        queue="billing",
        priority="high",
        run_at=due,
        max_attempts=3,
        timeout_seconds=2.5,
        expires_at=due + timedelta(days=1),
    )
    task = await leaseq.find(submitted.task_id)
    assert (task.type, task.queue, task.tenant) == ("charge", "billing", "default")
    assert (task.priority, task.state) == ("high", "SCHEDULED")
    assert (task.idempotency_key, task.max_attempts, task.timeout_seconds) == (
        'order "7", \\ again',
        3,
        2.5,
    )
    assert abs(task.run_at - due) < timedelta(milliseconds=1)
    assert task.created_at.utcoffset() == timedelta(0)
    assert (task.decode_payload(), task.decode_payload(dict[str, int])) == ({"order_id": 7},) * 2
    assert (submitted.replayed, submitted.idempotency_key) == (False, task.idempotency_key)


async def test_same_key_gives_the_same_task_and_other_content_is_refused(leaseq: Either) -> None:
    first = await leaseq.submit("charge", {"n": 1}, idempotency_key="order-7")
    again = await leaseq.submit("charge", {"n": 1}, idempotency_key="order-7")
    assert (again.task_id, again.replayed) == (first.task_id, True)
    with pytest.raises(IdempotencyKeyReused) as raised:
        await leaseq.submit("charge", {"n": 2}, idempotency_key="order-7")
    assert (raised.value.task_id, raised.value.status) == (first.task_id, 422)
    assert raised.value.idempotency_key == "order-7"


async def test_submissions_without_a_key_are_tasks_of_their_own(leaseq: Either) -> None:
    first, second = [await leaseq.submit("charge", {}) for _ in range(2)]
    assert first.task_id != second.task_id
    assert first.idempotency_key != second.idempotency_key


async def test_raw_payload_is_kept_byte_for_byte(leaseq: Either) -> None:
    raw = b'{"price":  1.50,\n "n": 1e2}'
    submitted = await leaseq.submit("charge", Raw(raw))
    assert bytes((await leaseq.find(submitted.task_id)).payload) == raw


async def test_struct_is_a_payload(leaseq: Either) -> None:
    receipt = Receipt(cents=5, paid_at=datetime(2026, 1, 1, tzinfo=UTC))
    submitted = await leaseq.submit("charge", receipt)
    assert (await leaseq.find(submitted.task_id)).decode_payload(Receipt) == receipt


async def test_refused_submission_names_the_place(leaseq: Either) -> None:
    with pytest.raises(SubmissionInvalid) as raised:
        await leaseq.submit("charge", {}, max_attempts=1.5)
    assert (raised.value.code, raised.value.pointer) == ("submission_invalid", "/max_attempts")
    assert "max_attempts" in str(raised.value)


async def test_result_is_decoded_after_a_wait(leaseq: Either, services: Services) -> None:
    await services.worker()
    submitted = await leaseq.submit("nap", {"seconds": 0.2})
    assert await leaseq.result(submitted.task_id, timeout=PATIENCE, type=str) == "napped"
    with pytest.raises(ResultInvalid, match=r"Expected `int`, got `str`"):
        await leaseq.result(submitted.task_id, timeout=PATIENCE, type=int)


async def test_failed_and_cancelled_tasks_have_no_result(
    leaseq: Either, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    submitted = await leaseq.submit("charge", {}, max_attempts=1)
    claim = await claim_task(ledger, submitted.task_id, await open_worker(worker_ledger))
    await ledger.settle([errored(claim, then=State.FAILED)])
    with pytest.raises(TaskFailed) as raised:
        await leaseq.result(submitted.task_id)
    (attempt,) = await leaseq.attempts(submitted.task_id)
    assert (attempt.outcome, attempt.next_state) == ("errored", "FAILED")
    assert raised.value.error_code == attempt.failure.code
    assert attempt.failure.message in str(raised.value)
    redriven = await leaseq.redrive(submitted.task_id)
    assert redriven.state == "SCHEDULED"
    with pytest.raises(TaskConflict) as conflict:
        await leaseq.redrive(submitted.task_id)
    assert conflict.value.task_id == submitted.task_id
    assert (await leaseq.cancel(submitted.task_id)).state == "CANCELLED"
    with pytest.raises(TaskCancelled):
        await leaseq.result(submitted.task_id)


async def test_erased_task_has_no_result_and_a_freed_key_makes_another_task(
    leaseq: Either, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    submitted = await leaseq.submit("charge", {})
    claim = await claim_task(ledger, submitted.task_id, await open_worker(worker_ledger))
    with pytest.raises(TaskConflict):
        await leaseq.erase(submitted.task_id)
    await ledger.settle([succeeded(claim, b"[1]")])
    for _ in range(2):
        erased = await leaseq.erase(submitted.task_id)
        assert erased.erased_at is not None
    with pytest.raises(TaskErased):
        await leaseq.result(submitted.task_id)
    with pytest.raises(ValueError, match="the answer has no payload"):
        erased.decode_payload()
    cancelled = await leaseq.submit("charge", {}, idempotency_key="k")
    await leaseq.cancel(cancelled.task_id)
    assert (await leaseq.free_key(cancelled.task_id)).key_freed_at is not None
    again = await leaseq.submit("charge", {}, idempotency_key="k")
    assert (again.task_id != cancelled.task_id, again.replayed) == (True, False)


async def test_wait_returns_an_unfinished_task_after_its_time(leaseq: Either) -> None:
    submitted = await leaseq.submit("charge", {})
    assert (await leaseq.wait(submitted.task_id, timeout=0.05)).state == "PENDING"
    with pytest.raises(ResultTimeout, match="is still PENDING"):
        await leaseq.result(submitted.task_id, timeout=0.0)


async def test_unknown_tasks_are_not_found(leaseq: Either) -> None:
    for method in (leaseq.find, leaseq.wait, leaseq.attempts, leaseq.cancel, leaseq.redrive):
        with pytest.raises(TaskNotFound):
            await method(new_task_id())


async def test_list_reads_every_page_and_filters(leaseq: Either) -> None:
    submitted = [await leaseq.submit("charge", {}, queue="billing") for _ in range(5)]
    await leaseq.submit("other", {}, idempotency_key="k")
    newest_first = [task.task_id for task in reversed(submitted)]
    found = await leaseq.list_tasks(queue="billing", type="charge", state="PENDING", page_size=2)
    assert [task.task_id for task in found] == newest_first
    assert [task.type for task in await leaseq.list_tasks(idempotency_key="k")] == ["other"]
    assert await leaseq.list_tasks(state="FAILED") == []


async def test_labels_are_submitted_shown_and_listed(leaseq: Either) -> None:
    labels = {"account": "42", "note": "a=b & c"}
    submitted = await leaseq.submit("charge", {}, labels=labels)
    await leaseq.submit("charge", {}, labels={"account": "42"})
    assert (await leaseq.find(submitted.task_id)).labels == labels
    (found,) = await leaseq.list_tasks(labels=labels)
    assert (found.task_id, found.labels) == (submitted.task_id, labels)
    assert len(await leaseq.list_tasks(labels={"account": "42"}, page_size=1)) == 2


async def test_queues_are_paused_and_resumed_and_workers_listed(
    leaseq: Either, services: Services
) -> None:
    await services.worker()
    await leaseq.submit("charge", {}, queue="billing")
    paused = await leaseq.pause("billing")
    assert (paused.name, paused.paused) == ("billing", True)
    queues = {queue.name: queue for queue in await leaseq.list_queues(page_size=1)}
    assert queues["billing"].paused
    assert queues["billing"].depths.waiting == 1
    assert not (await leaseq.resume("billing")).paused
    (worker,) = await leaseq.list_workers(limit=5)
    assert (worker.closed_at, worker.queues) == (None, ["default", "side"])
    assert len(await leaseq.list_workers(closed=True)) == 1


async def test_quotas_are_shown(leaseq: Either, config: Config) -> None:
    nothing = await leaseq.show_quota()
    assert (nothing.tenant, nothing.unfinished) == ("default", None)
    async with open_engine(config) as engine:
        await engine.access.limit_tenant("default", {"unfinished": 7})

    async def is_known() -> bool:
        return (await leaseq.show_quota()).unfinished is not None

    await until(is_known)
    quota = await leaseq.show_quota()
    assert (quota.unfinished.left, quota.payload_bytes_per_day) == (7, None)


async def test_many_waits_leave_a_connection_for_a_submission(address: str) -> None:
    # Less than a wait is held, so that a submission that stands behind the waits fails.
    async with AsyncClient(address, timeout=HELD_SECONDS - 5, retry_seconds=0) as leaseq:
        first = await leaseq.submit("charge", {})
        waits = [
            asyncio.ensure_future(leaseq.wait(first.task_id, timeout=PATIENCE)) for _ in range(150)
        ]
        await asyncio.gather(*(leaseq.submit("charge", {}) for _ in range(50)))
        assert not any(waiting.done() for waiting in waits)
        await leaseq.cancel(first.task_id)
        assert {task.state for task in await asyncio.gather(*waits)} == {"CANCELLED"}


async def test_operations_are_listed_page_by_page(leaseq: Either) -> None:
    tasks = [(await leaseq.submit("charge", {})).task_id for _ in range(3)]
    for task_id in tasks:
        await leaseq.cancel(task_id)
    found = await leaseq.list_operations(action="cancel", page_size=2)
    assert [operation.target for operation in found] == tasks[::-1]
    (one,) = await leaseq.list_operations(target=tasks[0])
    assert (one.action, one.began_at <= one.ended_at) == ("cancel", True)


async def test_lost_answers_cost_no_task_and_make_none_twice(
    kind: type[AsyncClient | Client], address: str, client: Stores
) -> None:
    """Each answer is lost twice after the service has acted."""
    asynchronous, blocking = LosingAsync(), Losing()
    async with httpx.AsyncClient(transport=asynchronous) as http:
        with httpx.Client(transport=blocking) as sync_http:
            leaseq = Either(
                AsyncClient(address, http=http)
                if kind is AsyncClient
                else Client(address, http=sync_http)
            )
            asynchronous.losses = blocking.losses = 2
            submitted = await leaseq.submit("charge", {"n": 1})
            assert submitted.replayed
            asynchronous.losses = blocking.losses = 2
            assert (await leaseq.cancel(submitted.task_id)).state == "CANCELLED"
    assert await client.rows("select count(*) from leaseq.tasks") == [(1,)]


async def test_wait_outlasts_a_service_that_restarts(
    leaseq: Either,
    address: str,
    services: Services,
    ledger: TaskLedger,
    worker_ledger: WorkerLedger,
) -> None:
    submitted = await leaseq.submit("charge", {})
    claim = await claim_task(ledger, submitted.task_id, await open_worker(worker_ledger))
    (first,) = services.running
    first.process.terminate()
    await first.ended()
    await ledger.settle([succeeded(claim, msgspec.json.encode([1]))])
    waiting = asyncio.ensure_future(leaseq.result(submitted.task_id, timeout=PATIENCE))
    second = await services.start("api", "--port", address.rpartition(":")[2])
    await second.hear("api.started")
    assert await waiting == [1]
