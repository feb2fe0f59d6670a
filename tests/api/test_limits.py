"""Limits over HTTP: made, changed, shown, deleted; and keys of submissions."""

from __future__ import annotations

from typing import Any

import pytest

from leaseq.ledger.task_types import TaskType
from support.api import Api

TASK = {"type": "charge", "payload": {"customer": "acme", "cents": 5}}


@pytest.fixture
async def limited(api: Api) -> Api:
    """An API that knows a type with a limit, whose key is a field of the payload."""
    answer = await api.client.put("/api/limits/stripe", json={"concurrency": 2})
    assert answer.status_code == 200
    await api.service.engine.stores.task_types.register_types(
        [TaskType("charge", "billing", None, limit_name="stripe", limit_key="customer")]
    )
    await api.service.types.refresh()
    return api


async def submit(api: Api, **more: Any) -> dict[str, Any]:
    answer = await api.client.post("/api/tasks", json=TASK | more)
    assert answer.status_code == 202, answer.text
    task: dict[str, Any] = answer.json()
    return task


async def test_a_task_waits_for_a_permit_and_tells_so(limited: Api) -> None:
    tasks = [await submit(limited) for _ in range(4)]
    assert {task["state"] for task in tasks} == {"SCHEDULED"}
    assert tasks[0]["waiting_for"] == {"limit": "stripe", "key": "acme"}
    while (await limited.service.engine.limits.find_admissible())[0]:
        if not (await limited.service.engine.limits.admit("stripe")).lanes:
            break
    shown = (await limited.client.get("/api/limits/stripe")).json()
    assert (shown["limit"]["admitted"], shown["limit"]["waiting"]) == (2, 2)
    assert shown["keys"] == [{"tenant": "default", "key": "acme", "admitted": 2, "waiting": 2}]
    states = {}
    for task in tasks:
        view = (await limited.client.get(f"/api/tasks/{task['task_id']}")).json()
        states[view["state"]] = view["waiting_for"]
    assert states == {"PENDING": None, "SCHEDULED": {"limit": "stripe", "key": "acme"}}


async def test_a_given_key_stands_in_place_of_that_of_the_payload(limited: Api) -> None:
    task = await submit(limited, concurrency_key="eu")
    assert task["waiting_for"]["key"] == "eu"
    late = await submit(limited, delay_seconds=60)
    assert set(late["waiting_for"]) == {"time"}


async def test_keys_that_cannot_be_are_refused(limited: Api) -> None:
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"concurrency_key": "x" * 1_000}, "submission_invalid", "1 to 255 characters, not 1000"),
        ({"payload": {"cents": 5}}, "submission_invalid", "the field 'customer' of the payload"),
        ({"payload": {"customer": None}}, "submission_invalid", "a text or a whole number"),
        ({"type": "other", "concurrency_key": "a"}, "submission_invalid", "have no limit"),
    ]
    for task, code, detail in cases:
        answer = await limited.client.post("/api/tasks", json=TASK | task)
        assert (answer.status_code, answer.json()["code"]) == (422, code)
        assert detail in answer.json()["detail"]


async def test_an_unknown_limit_and_an_older_worker_refuse_a_task(limited: Api) -> None:
    stores = limited.service.engine.stores
    await limited.client.delete("/api/limits/stripe")
    answer = await limited.client.post("/api/tasks", json=TASK)
    assert (answer.status_code, answer.json()["code"]) == (422, "limit_unknown")
    await limited.client.put("/api/limits/stripe", json={"key_concurrency": 1})
    await stores.workers.open_worker("old", host="h", pid=1, queues=["q"], version="0")
    async with stores.tasks.session.pool.connection() as conn:
        await conn.execute("update leaseq.workers set traits = null")
    stores.tasks.older.forget()
    answer = await limited.client.post("/api/tasks", json=TASK)
    assert (answer.status_code, answer.json()["code"]) == (409, "feature_needs_upgrade")
    assert "worker old on host h" in answer.json()["detail"]


async def test_limits_are_listed_changed_and_deleted(limited: Api) -> None:
    await submit(limited)
    raised = await limited.client.put("/api/limits/stripe", json={"key_concurrency": 7})
    assert raised.json()["limit"]["key_concurrency"] == 7
    assert raised.json()["limit"]["concurrency"] is None
    (only,) = (await limited.client.get("/api/limits")).json()["limits"]
    assert only["name"] == "stripe"
    refused = await limited.client.delete("/api/limits/stripe")
    assert (refused.status_code, refused.json()["code"]) == (409, "limit_in_use")
    unknown = await limited.client.delete("/api/limits/none")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "limit_not_found")


async def test_limits_that_cannot_be_kept_are_refused(api: Api) -> None:
    for body in [
        {},
        {"concurrency": 0},
        {"concurrency": 1.5},
        {"rate": 5},
        {"key_concurrency": 10**9},
    ]:
        answer = await api.client.put("/api/limits/stripe", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "limit_invalid")
        assert (await api.client.get("/api/limits")).json()["limits"] == []
