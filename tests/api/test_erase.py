"""Erased tasks, and tasks whose key was freed, tell the truth about themselves."""

from __future__ import annotations

from leaseq.codec import new_task_id
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import State
from support.api import Api, problem
from support.ledger import claim_task, errored, open_worker

KEY = {"Idempotency_Key": "order-1"}
BODY = {"type": "mail", "payload": {"to": "ada@example.org"}}


async def test_an_erased_task_shows_when_it_was_erased_and_no_nulls(
    api: Api, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    task_id = await api.submitted(BODY, **KEY)
    claim = await claim_task(ledger, task_id, await open_worker(worker_ledger))
    await ledger.settle([errored(claim, then=State.FAILED)])
    before = await api.get(f"/api/tasks/{task_id}")
    assert before["erased_at"] is None

    answer = await api.client.delete(f"/api/tasks/{task_id}")

    assert answer.status_code == 200
    erased = answer.json()
    assert before.keys() - erased.keys() == {"payload", "result", "error", "progress"}
    assert (erased["state"], erased["attempt"]) == ("FAILED", 1)
    assert erased["erased_at"] > erased["finished_at"]
    assert await api.get(f"/api/tasks/{task_id}") == erased
    assert (await api.client.delete(f"/api/tasks/{task_id}")).json() == erased
    (listed,) = (await api.get("/api/tasks"))["tasks"]
    assert listed == erased
    assert await api.get(f"/api/tasks/{task_id}/attempts") == {
        "task_id": task_id,
        "erased_at": erased["erased_at"],
        "attempts": [],
    }


async def test_an_erased_task_is_not_redriven_and_keeps_its_key(api: Api) -> None:
    task_id = await api.submitted(BODY, **KEY)
    problem(await api.client.delete(f"/api/tasks/{task_id}"), "task_conflict")
    await api.client.post(f"/api/tasks/{task_id}/cancel")
    await api.client.delete(f"/api/tasks/{task_id}")

    refused = problem(await api.client.post(f"/api/tasks/{task_id}/redrive"), "task_conflict")
    assert "was erased at" in refused["detail"]
    again = await api.submit(BODY, **KEY)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (202, "true")
    assert again.json()["task_id"] == task_id
    assert "payload" not in again.json()


async def test_there_is_nothing_to_erase(api: Api) -> None:
    problem(await api.client.delete(f"/api/tasks/{new_task_id()}"), "task_not_found")
    problem(await api.client.delete("/api/tasks/17"), "task_not_found")


async def test_a_freed_key_is_told_by_the_old_task_and_makes_a_new_one(api: Api) -> None:
    task_id = await api.submitted(BODY, **KEY)
    address = f"/api/tasks/{task_id}/idempotency-key"
    problem(await api.client.delete(address), "task_conflict")
    await api.client.post(f"/api/tasks/{task_id}/cancel")

    freed = await api.client.delete(address)

    assert freed.status_code == 200
    assert freed.json()["idempotency_key"] == "order-1"
    assert freed.json()["key_freed_at"]
    assert (await api.client.delete(address)).json() == freed.json()
    other = {"type": "mail", "payload": {"to": "grace@example.org"}}
    again = await api.submit(other, **KEY)
    assert again.status_code == 202
    assert again.json()["task_id"] != task_id
    assert again.json()["key_freed_at"] is None
    refused = problem(await api.client.post(f"/api/tasks/{task_id}/redrive"), "task_conflict")
    assert "was freed" in refused["detail"]
    problem(
        await api.client.delete(f"/api/tasks/{new_task_id()}/idempotency-key"), "task_not_found"
    )
