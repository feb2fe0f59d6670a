"""Limits of queues, and fair queues, over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from support.api import Api, problem

TASK = {"type": "sync", "payload": {}, "queue": "shared"}


async def put(api: Api, **body: Any) -> dict[str, Any]:
    answer = await api.client.put("/api/queues/shared", json=body)
    assert answer.status_code == 200, answer.text
    view: dict[str, Any] = answer.json()
    return view


async def test_a_task_of_a_fair_queue_waits_for_the_turn_of_its_tenant(api: Api) -> None:
    view = await put(api, fair=True)
    assert (view["fair"], view["limit"], view["waiting"]) == (True, None, 0)
    task = (await api.submit(TASK)).json()
    line = {"queue": "shared"}
    assert (task["state"], task["waiting_for"]) == ("SCHEDULED", line)
    found = (await api.client.get(f"/api/tasks/{task['task_id']}")).json()
    assert found["waiting_for"] in (None, line)  # null: admitted meanwhile
    for _ in range(20):
        await api.submitted(TASK)
    shown = (await api.client.get("/api/queues/shared")).json()
    assert shown["admitted"] + shown["waiting"] == 21
    assert [(each["tenant"], each["key"]) for each in shown["lines"]] == [("default", "")]
    (listed,) = (await api.client.get("/api/queues")).json()["queues"]
    assert (listed["name"], listed["fair"], listed["limit"]) == ("shared", True, None)
    assert (await api.client.get("/api/limits")).json()["limits"] == []


async def test_a_queue_takes_a_limit_and_is_plain_again(api: Api) -> None:
    problem(await api.client.put("/api/queues/shared", json={"limit": "no"}), "limit_not_found")
    await api.client.put("/api/limits/warehouse", json={"concurrency": 2})
    assert (await put(api, limit="warehouse"))["permits"] == 2
    task = (await api.submit(TASK)).json()
    assert task["waiting_for"] == {"limit": "warehouse"}
    problem(await api.client.delete("/api/limits/warehouse"), "limit_in_use")
    assert (await put(api))["limit"] is None
    assert (await api.submit(TASK)).json()["state"] == "PENDING"
    operations = (await api.client.get("/api/operations?action=put_queue")).json()["operations"]
    assert [each["detail"] for each in operations] == [
        {"limit": None, "fair": False},
        {"limit": "warehouse", "fair": False},
        {"limit": "no", "fair": False},
    ]


@pytest.mark.parametrize(
    "body",
    [{"fair": 1}, {"limit": ""}, {"limit": "@shared"}, {"limit": "a", "fair": True}, {"x": 1}, []],
)
async def test_a_rule_that_no_queue_can_have_is_refused(body: Any, api: Api) -> None:
    answer = await api.client.put("/api/queues/shared", json=body)
    problem(answer, "limit_invalid")
    assert (await api.client.get("/api/queues/shared")).json()["fair"] is False
