"""Labels over HTTP: submitted, shown, listed and refused."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from leaseq.config import Config
from leaseq.labels import MAX_ASKED, MAX_LABELS
from support.api import Api, problem
from support.keys import headers_of, open_guarded_api

LABELS = {"account": "42", "note": "a=b & ü"}


async def submitted(api: Api, labels: Any, **more: Any) -> Any:
    body = {"type": "add", "payload": {"x": 1}, "labels": labels}
    return await api.client.post("/api/tasks", json=body, **more)


async def listed(api: Api, *labels: str, more: str = "", **options: Any) -> list[str]:
    query = "&".join(f"label={quote(label, safe='')}" for label in labels)
    answer = await api.client.get(f"/api/tasks?{query}{more}", **options)
    assert answer.status_code == 200, answer.text
    return [task["task_id"] for task in answer.json()["tasks"]]


async def test_labels_are_shown_and_found(api: Api) -> None:
    answer = await submitted(api, LABELS)
    assert answer.status_code == 202
    assert answer.json()["labels"] == LABELS
    task_id = answer.json()["task_id"]
    other = (await submitted(api, {"account": "42"})).json()["task_id"]
    bare = await submitted(api, None)
    assert bare.json()["labels"] == {}

    shown = (await api.client.get(f"/api/tasks/{task_id}")).json()
    assert shown["labels"] == LABELS
    assert await listed(api, "account=42") == [other, task_id]
    assert await listed(api, "account=42", "note=a=b & ü") == [task_id]
    assert await listed(api, "account=42", more="&state=PENDING&type=add&limit=1") == [other]
    assert await listed(api, "account=42", more="&state=FAILED") == []
    assert await listed(api, "account=4") == []


async def test_labels_of_a_batch_are_found(api: Api) -> None:
    items = [{"type": "add", "payload": {"n": n}, "labels": {"n": str(n % 3)}} for n in range(9)]
    answer = await api.client.post(
        "/api/tasks/batch", json=[*items, {"type": "add", "payload": 1, "labels": {"n": ""}}]
    )
    outcomes = answer.json()["items"]
    assert [outcome["status"] for outcome in outcomes] == [202] * 9 + [422]
    assert set(await listed(api, "n=1")) == {outcomes[n]["task"]["task_id"] for n in (1, 4, 7)}


async def test_a_key_compares_labels_and_not_their_order(api: Api) -> None:
    key: dict[str, Any] = {"headers": {"Idempotency-Key": "order-1"}}
    first = await submitted(api, {"a": "1", "b": "2"}, **key)
    again = await submitted(api, {"b": "2", "a": "1"}, **key)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json()["task_id"] == first.json()["task_id"]
    assert again.json()["labels"] == {"a": "1", "b": "2"}
    problem(await submitted(api, {"a": "1"}, **key), "idempotency_key_reused")
    problem(await submitted(api, None, **key), "idempotency_key_reused")


async def test_no_labels_are_as_good_as_none(api: Api) -> None:
    """So that a key from before there were labels stays valid."""
    key: dict[str, Any] = {"headers": {"Idempotency-Key": "order-1"}}
    first = await api.client.post("/api/tasks", json={"type": "add", "payload": {"x": 1}}, **key)
    for labels in (dict[str, str](), None):
        again = await submitted(api, labels, **key)
        assert again.json()["task_id"] == first.json()["task_id"]


@pytest.mark.parametrize(
    "labels",
    [
        {"": "1"},
        {"a b": "1"},
        {"n" * 65: "1"},
        {"ü": "1"},
        {"a": ""},
        {"a": "v" * 129},
        {"a": "\0"},
        {f"n{n}": "1" for n in range(MAX_LABELS + 1)},
    ],
)
async def test_a_label_out_of_bounds_is_refused(api: Api, labels: dict[str, str]) -> None:
    told = problem(await submitted(api, labels), "submission_invalid")
    assert "label" in told["detail"]


@pytest.mark.parametrize("labels", [[], "a", {"a": 1}, {"a": None}, {"a": ["1"]}])
async def test_labels_that_are_no_texts_are_refused(api: Api, labels: Any) -> None:
    assert (await submitted(api, labels)).status_code in (400, 422)


async def test_a_lone_surrogate_is_refused(api: Api) -> None:
    raw = b'{"type": "add", "payload": 1, "labels": {"a": "\\ud800"}}'
    answer = await api.client.post(
        "/api/tasks", content=raw, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (400, 422)


async def test_limits_of_labels_are_allowed(api: Api) -> None:
    labels = {f"n{n}".ljust(64, "_"): "ü" * 128 for n in range(MAX_LABELS)}
    answer = await submitted(api, labels)
    assert answer.json()["labels"] == labels
    asked = [f"{name}={value}" for name, value in [*labels.items()][:MAX_ASKED]]
    assert await listed(api, *asked) == [answer.json()["task_id"]]


@pytest.mark.parametrize(
    "query",
    [
        "label=account",
        "label=",
        "label==42",
        "label=account=",
        "label=a%20b=1",
        "label=a=%00",
        "label=a=1&label=a=2",
        "&".join(f"label=n{n}=1" for n in range(MAX_ASKED + 1)),
        "state=FAILED&state=FAILED&label=a=1",
    ],
)
async def test_a_query_for_no_label_is_refused(api: Api, query: str) -> None:
    problem(await api.client.get(f"/api/tasks?{query}"), "parameter_invalid")


async def test_a_tenant_finds_its_own_tasks_alone(config: Config) -> None:
    async with open_guarded_api(config) as api:
        keys: dict[str, dict[str, Any]] = {
            name: {"headers": await headers_of(api, ["submit", "read"], tenant=name)}
            for name in ("acme", "bmart")
        }
        platform: dict[str, Any] = {"headers": await headers_of(api, ["read"])}
        ids = {
            name: (await submitted(api, {"account": "42"}, **key)).json()["task_id"]
            for name, key in keys.items()
        }
        for name, key in keys.items():
            assert await listed(api, "account=42", **key) == [ids[name]]
        assert await listed(api, "account=42", **platform) == sorted(ids.values(), reverse=True)


async def test_a_replay_has_the_labels_of_its_original_unless_it_names_others(api: Api) -> None:
    task_id = (await submitted(api, LABELS)).json()["task_id"]
    for body, labels in (({}, LABELS), ({"labels": {"a": "1"}}, {"a": "1"}), ({"labels": {}}, {})):
        given: dict[str, Any] = body | {"idempotency_key": f"replay-{len(str(body))}"}
        answer = await api.client.post(f"/api/tasks/{task_id}/replay", json=given)
        assert answer.json()["labels"] == labels


async def test_an_erased_task_has_no_labels(api: Api) -> None:
    task_id = (await submitted(api, LABELS)).json()["task_id"]
    await api.client.post(f"/api/tasks/{task_id}/cancel")
    erased = await api.client.delete(f"/api/tasks/{task_id}")
    assert erased.json()["labels"] == {}
    assert await listed(api, "account=42") == []
