"""A task submitted again as a new one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from leaseq import failpoints
from leaseq.codec import new_task_id
from leaseq.config import Config
from leaseq.ledger.session import Connection
from leaseq.ledger.task_types import TaskType, TypeLedger
from leaseq.payloads.shapes import shape_of
from support.api import Api, open_api, problem
from support.keys import headers_of


async def replayed(api: Api, task_id: str, **body: Any) -> dict[str, Any]:
    """Replay a task, insist on 202, and return the answer."""
    answer = await api.client.post(f"/api/tasks/{task_id}/replay", json=body)
    assert answer.status_code == 202, answer.text
    task: dict[str, Any] = answer.json()
    return task


async def count(plain: Connection) -> int:
    row = await (await plain.execute("select count(*) from leaseq.tasks")).fetchone()
    assert row is not None
    return int(row[0])


async def test_a_replay_is_a_new_task_and_the_original_stays_as_it_was(
    api: Api, plain: Connection
) -> None:
    body = {"type": "add", "payload": {"n": 1}, "queue": "q", "priority": "high", "max_attempts": 3}
    original = await api.submitted(body)
    before = await api.get(f"/api/tasks/{original}")
    new = await replayed(api, original, payload={"n": 2})
    assert new["task_id"] != original
    assert (new["queue"], new["priority"], new["max_attempts"]) == ("q", "high", 3)
    assert new["idempotency_key"] == f"replay-{original}-1"
    shown = await api.get(f"/api/tasks/{new['task_id']}")
    assert shown["payload"] == {"n": 2}
    assert await api.get(f"/api/tasks/{original}") == before
    (headers,) = await (
        await plain.execute("select headers from leaseq.tasks where id = %s", [new["task_id"]])
    ).fetchall()
    assert headers[0]["leaseq-replay-of"] == original
    (operation,) = (await api.get(f"/api/operations?target={original}"))["operations"]
    assert (operation["action"], operation["outcome"]) == ("replay", "done")
    assert operation["detail"] == {"task_id": new["task_id"], "replayed": False}


async def test_without_changes_the_payload_is_the_same_byte_for_byte(api: Api) -> None:
    raw = b'{"type":"add","payload":{"n": 12345678901234567890123, "x":1e2}}'
    original = (await api.send(raw)).json()["task_id"]
    answer = await api.client.post(f"/api/tasks/{original}/replay")
    assert answer.status_code == 202
    shown = await api.client.get(answer.headers["location"])
    assert b'"payload":{"n": 12345678901234567890123, "x":1e2}' in shown.content


async def test_two_clicks_make_one_task(api: Api, plain: Connection) -> None:
    original = await api.submitted()
    first = await replayed(api, original, payload={"n": 2})
    answer = await api.client.post(f"/api/tasks/{original}/replay", json={"payload": {"n": 2}})
    assert answer.headers["idempotent-replayed"] == "true"
    assert answer.json()["task_id"] == first["task_id"]
    assert await count(plain) == 2
    other = await api.client.post(f"/api/tasks/{original}/replay", json={"payload": {"n": 3}})
    assert problem(other, "idempotency_key_reused")["task_id"] == first["task_id"]
    assert await count(plain) == 2
    third = await replayed(api, original, payload={"n": 3}, idempotency_key="mine")
    assert third["task_id"] != first["task_id"]


@pytest.mark.parametrize(
    ("option", "code"),
    [
        ({"idempotency_key": ""}, "idempotency_key_invalid"),
        ({"queue": ""}, "submission_invalid"),
        ({"max_attempts": 0}, "submission_invalid"),
        ({"timeout_seconds": 0}, "submission_invalid"),
    ],
)
async def test_an_empty_option_is_not_taken_for_one_that_is_missing(
    api: Api, option: dict[str, Any], code: str
) -> None:
    original = await api.submitted()
    answer = await api.client.post(f"/api/tasks/{original}/replay", json=option)
    assert problem(answer, code)


class Sum(msgspec.Struct):
    n: int


async def test_a_payload_that_does_not_fit_is_refused_and_nothing_is_stored(
    config: Config, plain: Connection, type_ledger: TypeLedger
) -> None:
    await type_ledger.register_types([TaskType("sum", "sums", shape_of(Sum))])
    async with open_api(config) as api:
        original = await api.submitted({"type": "sum", "payload": {"n": 1}})
        answer = await api.client.post(
            f"/api/tasks/{original}/replay", json={"payload": {"n": "many"}}
        )
        assert problem(answer, "payload_invalid")["pointer"] == "/payload/n"
        assert await count(plain) == 1
        (operation,) = (await api.get("/api/operations"))["operations"]
        assert (operation["outcome"], operation["code"]) == ("refused", "payload_invalid")


async def test_erased_unknown_and_foreign_tasks_are_refused(guarded: Api) -> None:
    acme = await headers_of(guarded, ["submit", "payloads", "operate", "read"], tenant="acme")
    other = await headers_of(guarded, ["submit", "payloads"], tenant="other")
    body = {"type": "add", "payload": {"n": 1}}
    task_id = (await guarded.client.post("/api/tasks", json=body, headers=acme)).json()["task_id"]
    address = f"/api/tasks/{task_id}/replay"
    problem(await guarded.client.post(address, headers=other), "task_not_found")
    missing = f"/api/tasks/{new_task_id()}/replay"
    problem(await guarded.client.post(missing, headers=acme), "task_not_found")
    submit_only = await headers_of(guarded, ["submit"], tenant="acme")
    problem(await guarded.client.post(address, headers=submit_only), "scope_missing")
    await guarded.client.post(f"/api/tasks/{task_id}/cancel", headers=acme)
    await guarded.client.delete(f"/api/tasks/{task_id}", headers=acme)
    problem(await guarded.client.post(address, headers=acme), "task_conflict")
    given = {"payload": {"n": 2}}
    answer = await guarded.client.post(address, json=given, headers=acme)
    assert answer.status_code == 202, "a payload of its own needs none of the original"
    assert answer.json()["tenant"] == "acme"


async def test_an_unbound_key_replays_into_the_tenant_of_the_original(guarded: Api) -> None:
    acme = await headers_of(guarded, ["submit"], tenant="acme")
    unbound = await headers_of(guarded, ["submit", "payloads"])
    body = {"type": "add", "payload": {"n": 1}}
    task_id = (await guarded.client.post("/api/tasks", json=body, headers=acme)).json()["task_id"]
    answer = await guarded.client.post(f"/api/tasks/{task_id}/replay", headers=unbound)
    assert answer.json()["tenant"] == "acme"


async def test_a_replay_whose_answer_is_lost_is_found_again(
    api: Api, plain: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies between the submission and the outcome of its operation."""
    original = await api.submitted()

    def die(point: str) -> None:
        if point == "operation.done":
            raise KeyboardInterrupt

    monkeypatch.setattr("leaseq.operations.operator.reach", die)
    with pytest.raises(BaseException):  # noqa: B017, PT011 (the framework may wrap it)
        await api.client.post(f"/api/tasks/{original}/replay", json={"payload": {"n": 2}})
    monkeypatch.setattr("leaseq.operations.operator.reach", failpoints.reach)
    assert await count(plain) == 2
    again = await replayed(api, original, payload={"n": 2})
    assert await count(plain) == 2
    outcomes = [each["outcome"] for each in (await api.get("/api/operations"))["operations"]]
    assert outcomes == ["done", "unconfirmed"]
    assert msgspec.json.encode(again["idempotency_key"]) == f'"replay-{original}-1"'.encode()


async def test_both_tasks_lead_to_each_other(api: Api) -> None:
    original = await api.submitted()
    new = await replayed(api, original, payload={"n": 2})
    assert (await api.get(f"/api/tasks/{original}/life"))["replayed_as"] == [new["task_id"]]
    life = await api.get(f"/api/tasks/{new['task_id']}/life")
    assert (life["replay_of"], life["replayed_as"]) == (original, [])
    assert [lane["name"] for lane in life["lanes"]] == ["waits", "people"]
    lines = [line["text"] for line in (await api.get(f"/api/tasks/{original}/life"))["history"]]
    assert lines[-1] == f"replay by open API as task {new['task_id']}"


async def test_a_bound_key_sees_no_names_of_people(guarded: Api) -> None:
    acme = await headers_of(guarded, ["submit", "read", "operate"], tenant="acme")
    body = {"type": "add", "payload": {"n": 1}}
    task_id = (await guarded.client.post("/api/tasks", json=body, headers=acme)).json()["task_id"]
    unbound = await headers_of(guarded, ["operate", "read"])
    await guarded.client.post(f"/api/tasks/{task_id}/cancel", headers=unbound)
    seen = await guarded.client.get(f"/api/tasks/{task_id}/life", headers=acme)
    assert seen.json()["lanes"][-1]["marks"][-1]["text"] == "cancel"
    other = await headers_of(guarded, ["read"], tenant="other")
    problem(await guarded.client.get(f"/api/tasks/{task_id}/life", headers=other), "task_not_found")
