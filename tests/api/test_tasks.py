"""The task routes show the ledger, and change only what they may."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from leaseq.codec import new_task_id
from leaseq.config import Config
from leaseq.ledger.session import Connection
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import State
from support.api import Api, open_api, problem
from support.ledger import claim_task, errored, open_worker, promote_due, succeeded


async def states(api: Api, query: str) -> list[str]:
    return [task["task_id"] for task in (await api.get(f"/api/tasks{query}"))["tasks"]]


async def until_waited_for(api: Api, task_id: str) -> None:
    async with asyncio.timeout(60):
        while task_id not in api.service.engine.waiter._watched:  # noqa: ASYNC110 - the waiter has no event for this
            await asyncio.sleep(0)


async def test_a_finished_task_shows_its_result_as_it_was_stored(
    api: Api, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    task_id = await api.submitted()
    worker_id = await open_worker(worker_ledger)
    claim = await claim_task(ledger, task_id, worker_id)
    await ledger.set_progress(claim, b'{"done":  1}')
    running = await api.get(f"/api/tasks/{task_id}")
    assert (running["state"], running["attempt"], running["worker_id"]) == (
        "PROCESSING",
        1,
        worker_id,
    )
    assert (running["progress"], running["result"], running["finished_at"]) == (
        {"done": 1},
        None,
        None,
    )
    await ledger.settle([succeeded(claim, b"[1,  2.50]")])
    answer = await api.client.get(f"/api/tasks/{task_id}")
    assert b'"result":[1,  2.50]' in answer.content
    assert answer.json()["state"] == "SUCCESS"
    assert answer.json()["worker_id"] is None


async def test_wait_holds_the_answer_until_the_task_ends(
    api: Api, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    task_id = await api.submitted()
    claim = await claim_task(ledger, task_id, await open_worker(worker_ledger))
    waiting = asyncio.create_task(api.get(f"/api/tasks/{task_id}?wait=30"))
    await until_waited_for(api, task_id)
    assert not waiting.done()
    await ledger.settle([succeeded(claim)])
    async with asyncio.timeout(30):
        assert (await waiting)["state"] == "SUCCESS"


async def test_wait_ends_with_its_time(api: Api) -> None:
    task_id = await api.submitted()
    assert (await api.get(f"/api/tasks/{task_id}?wait=0.05"))["state"] == "PENDING"
    assert not api.service.engine.waiter._watched


async def test_wait_ends_when_the_service_stops(api: Api) -> None:
    task_id = await api.submitted()
    waiting = asyncio.create_task(api.get(f"/api/tasks/{task_id}?wait=60"))
    await until_waited_for(api, task_id)
    api.service.stopping.set()
    async with asyncio.timeout(30):
        assert (await waiting)["state"] == "PENDING"


async def test_wait_for_a_task_that_has_ended_or_never_was(api: Api) -> None:
    task_id = await api.submitted()
    await api.client.post(f"/api/tasks/{task_id}/cancel")
    async with asyncio.timeout(30):
        assert (await api.get(f"/api/tasks/{task_id}?wait=60"))["state"] == "CANCELLED"
        missing = problem(
            await api.client.get(f"/api/tasks/{new_task_id()}?wait=60"), "task_not_found"
        )
    assert missing["instance"].endswith(missing["task_id"])


async def test_attempts_that_did_not_succeed(
    api: Api, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    task_id = await api.submitted()
    assert await api.get(f"/api/tasks/{task_id}/attempts") == {
        "task_id": task_id,
        "erased_at": None,
        "attempts": [],
    }
    worker_id = await open_worker(worker_ledger)
    await ledger.settle([errored(await claim_task(ledger, task_id, worker_id), then=State.FAILED)])
    (attempt,) = (await api.get(f"/api/tasks/{task_id}/attempts"))["attempts"]
    assert (attempt["attempt"], attempt["outcome"], attempt["worker_id"]) == (
        1,
        "errored",
        worker_id,
    )
    assert attempt["next_state"] == "FAILED"
    assert attempt["error"]["code"] == "error"


async def test_pages_walk_through_everything_once_newest_first(api: Api) -> None:
    made = [await api.submitted() for _ in range(7)]
    seen: list[str] = []
    query = "?limit=3"
    pages = 0
    while True:
        page = await api.get(f"/api/tasks{query}")
        seen += [task["task_id"] for task in page["tasks"]]
        pages += 1
        if page["next_cursor"] is None:
            break
        await api.submitted()  # what comes meanwhile does not shift the pages
        query = f"?limit=3&cursor={page['next_cursor']}"
    assert seen == sorted(made, reverse=True)
    assert pages == 3


async def test_pages_leave_payloads_and_results_to_the_tasks_themselves(
    api: Api, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    task_id = await api.submitted({"type": "add", "payload": {"long": "a" * 1000}})
    await ledger.settle(
        [succeeded(await claim_task(ledger, task_id, await open_worker(worker_ledger)), b'"long"')]
    )
    (listed,) = (await api.get("/api/tasks"))["tasks"]
    whole = await api.get(f"/api/tasks/{task_id}")
    assert whole == listed | {"payload": {"long": "a" * 1000}, "result": "long"}
    assert not {"payload", "result"} & set(listed)


async def test_a_full_last_page_has_no_next(api: Api) -> None:
    made = [await api.submitted() for _ in range(2)]
    page = await api.get("/api/tasks?limit=2")
    assert len(page["tasks"]) == len(made)
    assert page["next_cursor"] is None


async def test_list_filters_by_each_parameter(api: Api) -> None:
    mail = await api.submitted(
        {"type": "mail", "payload": 1, "queue": "slow"}, Idempotency_Key="mail-1"
    )
    later = await api.submitted({"type": "add", "payload": 1, "delay_seconds": 60})
    assert await states(api, "?state=SCHEDULED") == [later]
    assert await states(api, "?queue=slow") == [mail]
    assert await states(api, "?type=mail&state=PENDING") == [mail]
    assert await states(api, "?type=mail&state=SCHEDULED") == []
    assert await states(api, "?idempotency_key=mail-1") == [mail]
    assert await states(api, "?idempotency_key=mail-2") == []


async def test_cancel_ends_what_waits_and_asks_what_runs(
    api: Api, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    waiting, running = await api.submitted(), await api.submitted()
    claim = await claim_task(ledger, running, await open_worker(worker_ledger))
    answer = await api.client.post(f"/api/tasks/{waiting}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (200, "CANCELLED")
    assert answer.json()["error"]["code"] == "cancelled"
    answer = await api.client.post(f"/api/tasks/{running}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (202, "PROCESSING")
    assert answer.json()["cancel_requested_at"] is not None
    assert await ledger.find_cancel_requests([running]) == [running]
    assert claim.attempt == 1


async def test_cancel_again_is_no_error_but_what_ended_otherwise_is_a_conflict(
    api: Api, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    task_id, done = await api.submitted(), await api.submitted()
    for _ in range(2):
        assert (await api.client.post(f"/api/tasks/{task_id}/cancel")).status_code == 200
    await ledger.settle(
        [succeeded(await claim_task(ledger, done, await open_worker(worker_ledger)))]
    )
    refused = problem(await api.client.post(f"/api/tasks/{done}/cancel"), "task_conflict")
    assert refused["task_id"] == done
    assert "SUCCESS" in refused["detail"]


async def test_redrive_puts_back_what_failed_for_promote_to_deliver(
    api: Api, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    task_id = await api.submitted()
    await ledger.settle(
        [
            errored(
                await claim_task(ledger, task_id, await open_worker(worker_ledger)),
                then=State.FAILED,
            )
        ]
    )
    answer = await api.client.post(f"/api/tasks/{task_id}/redrive")
    assert (answer.status_code, answer.json()["state"], answer.json()["retry_count"]) == (
        202,
        "SCHEDULED",
        0,
    )
    assert await promote_due(ledger, limit=10) == [task_id]
    problem(await api.client.post(f"/api/tasks/{task_id}/redrive"), "task_conflict")


async def test_another_tenants_task_is_not_there(api: Api, plain: Connection) -> None:
    task_id = await api.submitted()
    await plain.execute("update leaseq.tasks set tenant = 'other'")
    assert (await api.client.get(f"/api/tasks/{task_id}")).json()["tenant"] == "other"
    api.client.headers["Leaseq-Tenant"] = "default"
    for path in ("", "/attempts"):
        problem(await api.client.get(f"/api/tasks/{task_id}{path}"), "task_not_found")
    for verb in ("cancel", "redrive"):
        problem(await api.client.post(f"/api/tasks/{task_id}/{verb}"), "task_not_found")
    assert await states(api, "") == []


async def test_held_answers_leave_connections_to_others(config: Config) -> None:
    async with open_api(replace(config, api_connections=4)) as api:
        task_id = await api.submitted()
        held = [
            asyncio.create_task(api.client.get(f"/api/tasks/{task_id}?wait=60")) for _ in range(3)
        ]
        async with asyncio.timeout(30):
            while api.service.held.count < 3:  # noqa: ASYNC110 - the service has no event for this
                await asyncio.sleep(0.01)
        problem(await api.client.get(f"/api/tasks/{task_id}?wait=60"), "overloaded")
        assert (await api.client.get(f"/api/tasks/{task_id}")).status_code == 200
        api.service.stopping.set()
        assert [(await answer).status_code for answer in held] == [200] * 3
        assert api.service.held.count == 0
