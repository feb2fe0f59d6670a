"""Unique keys over HTTP: answers, conflicts, refusals and batches."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from leaseq.ledger.task_types import TaskType
from leaseq.uniqueness import BY_FUNCTION, UniqueRule
from support.api import Api, problem

TASK = {"type": "sync", "payload": {"account": "a1"}}
KEY = {"unique_key": "a1"}


async def submit(api: Api, **more: Any) -> dict[str, Any]:
    answer = await api.client.post("/api/tasks", json=TASK | more)
    assert answer.status_code == 202, answer.text
    task: dict[str, Any] = answer.json()
    return task


async def test_the_task_that_is_there_is_returned_with_a_mark(api: Api) -> None:
    first = await submit(api, **KEY)
    assert "deduplicated" not in first
    assert first["unique"] == {"key": "a1", "hold": "while_unfinished", "current": True}
    answer = await api.client.post("/api/tasks", json=TASK | KEY | {"payload": {"account": "b"}})
    again = answer.json()
    assert (answer.status_code, again["task_id"], again["deduplicated"]) == (
        202,
        first["task_id"],
        True,
    )
    assert answer.headers["leaseq-deduplicated"] == "true"
    assert "idempotent-replayed" not in answer.headers
    shown = (await api.client.get(f"/api/tasks/{first['task_id']}")).json()
    assert (shown["payload"], shown["unique"]["current"]) == ({"account": "a1"}, True)
    assert "unique" not in await submit(api)
    why = (await api.client.get(f"/api/tasks/{first['task_id']}/why")).json()
    assert any("unique key" in each["text"] for each in why["evidence"])


async def test_a_refused_conflict_is_409_and_names_the_task(api: Api) -> None:
    first = await submit(api, **KEY)
    answer = await api.client.post("/api/tasks", json=TASK | KEY | {"on_conflict": "refuse"})
    assert problem(answer, "unique_conflict")["task_id"] == first["task_id"]


async def test_a_task_that_waits_is_replaced(api: Api) -> None:
    first = await submit(api, **KEY)
    second = await submit(api, **KEY, on_conflict="replace")
    assert second["task_id"] != first["task_id"]
    shown = (await api.client.get(f"/api/tasks/{first['task_id']}")).json()
    assert (shown["state"], shown["unique"]["current"]) == ("CANCELLED", False)
    assert shown["error"]["message"] == f"replaced by task {second['task_id']}"


async def test_debounce_and_throttle_answer_with_the_task_of_the_key(api: Api) -> None:
    late = await submit(api, **KEY, debounce_seconds=60)
    again = await submit(api, **KEY, debounce_seconds=60, payload={"account": "new"})
    assert (late["state"], again["task_id"]) == ("SCHEDULED", late["task_id"])
    assert again["payload"] == {"account": "new"}
    first = await submit(api, **KEY, throttle_seconds=60)
    assert first["task_id"] != late["task_id"]
    assert (await submit(api, **KEY, throttle_seconds=60))["deduplicated"]


async def test_each_item_of_a_batch_has_its_answer(api: Api) -> None:
    batch = [TASK | KEY, TASK, TASK | KEY, TASK | KEY | {"on_conflict": "refuse"}]
    answer = await api.client.post("/api/tasks/batch", json=batch)
    first, plain, second, refused = answer.json()["items"]
    assert second["task"]["task_id"] == first["task"]["task_id"] != plain["task"]["task_id"]
    assert (second["deduplicated"], second["replayed"]) == (True, False)
    assert "deduplicated" not in first
    assert (refused["status"], refused["problem"]["code"]) == (409, "unique_conflict")


async def test_a_request_that_is_repeated_gets_its_first_answer(api: Api) -> None:
    first = await submit(api, **KEY)
    named = {"Idempotency-Key": '"once"'}
    for header in ("leaseq-deduplicated", "idempotent-replayed"):
        answer = await api.client.post("/api/tasks", json=TASK | KEY, headers=named)
        assert answer.json()["task_id"] == first["task_id"]
        assert answer.headers[header] == "true"
    other = await api.client.post(
        "/api/tasks", json=TASK | KEY | {"on_conflict": "replace"}, headers=named
    )
    problem(other, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"unique_key": ""}, "unique_key"),
        ({"unique_key": "k" * 1_000}, "unique_key"),
        ({"unique_key": "a\tb"}, "unique_key"),
        ({"unique": "while_unfinished"}, "unique_key"),
        ({**KEY, "unique_seconds": 0}, "unique_seconds"),
        ({**KEY, "unique": "while_waiting", "unique_seconds": 5}, "unique_seconds"),
        ({**KEY, "debounce_seconds": -1}, "debounce_seconds"),
        ({**KEY, "debounce_seconds": 5, "throttle_seconds": 5}, "throttle_seconds"),
        ({**KEY, "debounce_seconds": 5, "max_wait_seconds": 1}, "max_wait_seconds"),
        ({**KEY, "debounce_seconds": 5, "delay_seconds": 5}, "debounce_seconds"),
        ({**KEY, "debounce_seconds": 5, "on_conflict": "refuse"}, "on_conflict"),
        ({**KEY, "throttle_seconds": 5, "on_conflict": "replace"}, "on_conflict"),
        ({**KEY, "max_wait_seconds": 5}, "max_wait_seconds"),
        ({"on_conflict": "refuse"}, "on_conflict"),
        ({**KEY, "throttle_seconds": 1e10}, "throttle_seconds"),
    ],
)
async def test_a_rule_that_makes_no_sense_is_refused_with_its_place(
    api: Api, more: dict[str, Any], field: str
) -> None:
    answer = await api.client.post("/api/tasks", json=TASK | more)
    assert problem(answer, "submission_invalid")["pointer"] == f"/{field}"
    assert (await api.client.get("/api/tasks")).json()["tasks"] == []


@pytest.mark.parametrize("raw", [b'"\\u0000"', b'"\\ud800"', b"7"])
async def test_a_key_that_is_no_text_is_refused(api: Api, raw: bytes) -> None:
    body = msgspec.json.encode(TASK | {"unique_key": "KEY"}).replace(b'"KEY"', raw)
    answer = await api.client.post(
        "/api/tasks", content=body, headers={"Content-Type": "application/json"}
    )
    assert 400 <= answer.status_code < 500, answer.text


async def test_a_type_with_a_rule_has_its_key_from_the_payload(api: Api) -> None:
    rule = msgspec.json.encode(UniqueRule("throttle", 60.0))
    await api.service.engine.stores.task_types.register_types(
        [
            TaskType("sync", "default", None, unique_rule=rule, unique_key="sync:{account}"),
            TaskType("own", "default", None, unique_rule=rule, unique_key=BY_FUNCTION),
        ]
    )
    await api.service.types.refresh()
    first = await submit(api)
    assert first["unique"] == {"key": "sync:a1", "hold": "throttle", "current": True}
    assert (await submit(api))["deduplicated"]
    assert (await submit(api, payload={"account": "a2"}))["task_id"] != first["task_id"]
    bad: list[dict[str, Any]] = [{"payload": {}}, {"payload": {"account": [1]}}, {"type": "own"}]
    for refused in bad:
        answer = await api.client.post("/api/tasks", json=TASK | refused)
        assert problem(answer, "submission_invalid")["pointer"] == "/unique_key"
    assert (await submit(api, type="own", unique_key="x"))["unique"]["key"] == "x"


async def test_a_redrive_while_another_task_has_the_key_is_refused(api: Api) -> None:
    first = await submit(api, **KEY)
    await api.client.post(f"/api/tasks/{first['task_id']}/cancel")
    await submit(api, **KEY)
    answer = await api.client.post(f"/api/tasks/{first['task_id']}/redrive")
    assert "unique key" in problem(answer, "task_conflict")["detail"]
