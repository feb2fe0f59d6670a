"""Every change through the API leaves one row, committed before the change."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from leaseq import failpoints
from leaseq.codec import new_task_id
from leaseq.config import Config
from leaseq.connections.postgres_connection import Connection
from leaseq.ledger import operation_log
from leaseq.ledger import queues as queues_module
from leaseq.ledger.operation_log import Actor
from leaseq.ledger.statements import STATEMENTS
from leaseq.model import State
from leaseq.observability.telemetry import recorded
from support.api import Api, open_api, problem
from support.ledger import until_blocked

SAFE = {"get", "head", "options"}
# A task is the record of its submission.
SUBMISSIONS = {"submit", "submit_batch"}
# It changes nothing, and takes a body.
READS = {"preview_operation"}


def changes(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of every operation that changes something."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method not in SAFE and operation["operationId"] not in SUBMISSIONS | READS:
                yield method, path, operation


def body_of(operation: dict[str, Any]) -> Any:
    """The first example of the body that an operation takes, or None."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    examples = [example["value"] for example in content.get("examples", {}).values()]
    return examples[0] if examples else content.get("example")


async def operations(api: Api, **query: Any) -> list[dict[str, Any]]:
    """The latest operations, newest first."""
    answer = await api.client.get("/api/operations", params=query)
    assert answer.status_code == 200, answer.text
    listed: list[dict[str, Any]] = answer.json()["operations"]
    return listed


async def test_every_unsafe_method_of_every_route_leaves_exactly_one_row(api: Api) -> None:
    found = list(changes(api.document.content))
    assert {operation["operationId"] for _, _, operation in found} >= {
        "cancel",
        "redrive",
        "erase",
        "free_key",
        "pause",
        "resume",
    }
    for method, path, operation in found:
        address = re.sub(
            r"\{[^}]+\}",
            "some-name",
            path.replace("{task_id}", await api.submitted())
            .replace("{key_id}", "a" * 12)
            .replace("{operation_id}", new_task_id()),
        )
        before = await operations(api)
        body = body_of(operation)
        if operation["operationId"] == "start_operation":
            body |= {"operation_id": new_task_id()}
        answer = await api.client.request(method, address, json=body)
        assert answer.status_code not in (400, 405, 415, 500), (method, path, answer.text)
        after = await operations(api)
        assert len(after) == len(before) + 1, (method, path, answer.text)
        row = after[0]
        refused = row["outcome"] == "refused"
        # An operation on many tasks stays unconfirmed until it is done.
        assert row["outcome"] != "unconfirmed" or row["kind"] == "bulk"
        assert refused == (answer.status_code >= 400), (method, path, row)
        assert row["code"] == (answer.json()["code"] if refused else None)
        assert (row["actor"], row["key_id"], row["tenant"]) == ("open API", None, None)


async def test_reading_and_submitting_leave_no_row(api: Api) -> None:
    task_id = await api.submitted()
    for path in (f"/api/tasks/{task_id}", "/api/tasks", "/api/queues", "/api/operations"):
        await api.get(path)
    assert await operations(api) == []


async def test_a_row_says_who_did_what_to_what_and_with_which_outcome(api: Api) -> None:
    task_id = await api.submitted()
    tenant = {"Leaseq-Tenant": "default"}
    await api.client.post(f"/api/tasks/{task_id}/cancel", headers=tenant)
    (row,) = await operations(api)
    assert (row["action"], row["target"], row["outcome"], row["tenant"], row["kind"]) == (
        "cancel",
        task_id,
        "done",
        "default",
        "single",
    )
    assert row["detail"] == {"state": "CANCELLED"}
    assert row["began_at"] <= row["ended_at"]


async def test_a_refused_change_has_its_code(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = await api.submitted()
    problem(await api.client.post(f"/api/tasks/{task_id}/redrive"), "task_conflict")
    problem(await api.client.post(f"/api/tasks/{new_task_id()}/cancel"), "task_not_found")
    monkeypatch.setattr(queues_module, "MOST_PAUSED", 0)
    problem(await api.client.post("/api/queues/other/pause"), "queue_unknown")
    assert [(row["action"], row["outcome"], row["code"]) for row in await operations(api)] == [
        ("pause", "refused", "queue_unknown"),
        ("cancel", "refused", "task_not_found"),
        ("redrive", "refused", "task_conflict"),
    ]


async def test_filters_and_pages(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operation_log, "LOOKED_AT", 5)
    for number in range(12):
        await api.client.post(f"/api/queues/q{number % 3}/{'pause' if number % 2 else 'resume'}")
    found, query = [], {"action": "pause", "limit": "2"}
    while True:
        page = await api.get("/api/operations?" + "&".join(f"{k}={v}" for k, v in query.items()))
        assert len(page["operations"]) <= 2
        found += page["operations"]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert [row["target"] for row in found] == ["q2", "q0", "q1", "q2", "q0", "q1"]
    assert [row["action"] for row in await operations(api, target="q1")] == [
        *("resume", "pause", "resume", "pause")
    ]
    assert len(await operations(api, target="q1", action="pause")) == 2
    assert await operations(api, key_id="k1") == []
    for query in ({"action": "destroy"}, {"cursor": "x"}, {"limit": "0"}, {"target": ""}):
        problem(await api.client.get("/api/operations", params=query), "parameter_invalid")


async def test_a_bound_request_sees_the_rows_of_its_own_tenant(api: Api) -> None:
    task_id = await api.submitted()
    for tenant in ("one", "two"):
        await api.service.engine.access.create_tenant(tenant)
    for tenant in ("one", "two"):
        answer = await api.client.post(
            f"/api/tasks/{task_id}/cancel", headers={"Leaseq-Tenant": tenant}
        )
        problem(answer, "task_not_found")
    await api.client.post("/api/queues/q/pause")
    answer = await api.client.get("/api/operations", headers={"Leaseq-Tenant": "one"})
    assert [row["tenant"] for row in answer.json()["operations"]] == ["one"]
    by_target = {"target": task_id}
    answer = await api.client.get(
        "/api/operations", params=by_target, headers={"Leaseq-Tenant": "two"}
    )
    assert [row["tenant"] for row in answer.json()["operations"]] == ["two"]
    assert [row["tenant"] for row in await operations(api)] == [None, "two", "one"]


async def test_a_change_waits_until_its_row_is_committed(api: Api, plain: Connection) -> None:
    task_id = await api.submitted()
    async with plain.transaction():
        await plain.execute("lock table leaseq.operations in exclusive mode")
        asking = asyncio.create_task(api.client.post(f"/api/tasks/{task_id}/cancel"))
        await until_blocked(plain, asking)
        assert (await api.service.engine.for_tenant(None).find(task_id)).state is State.PENDING
    assert (await asking).status_code == 200


async def test_a_change_whose_row_cannot_be_written_is_not_made(
    config: Config, plain: Connection
) -> None:
    async with open_api(replace(config, statement_timeout_seconds=0.5)) as api:
        task_id = await api.submitted()
        async with plain.transaction():
            await plain.execute("lock table leaseq.operations in exclusive mode")
            answer = await api.client.post(f"/api/tasks/{task_id}/cancel")
        problem(answer, "server_unreachable")
        assert (await api.service.engine.for_tenant(None).find(task_id)).state is State.PENDING
        assert await operations(api) == []


async def test_an_answer_lost_before_the_change_leaves_an_unconfirmed_row_and_no_change(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = await api.submitted()
    monkeypatch.setattr(failpoints, "_directory", str(tmp_path))
    (tmp_path / "operation.recorded").write_text("lost")
    problem(await api.client.post(f"/api/tasks/{task_id}/cancel"), "server_unreachable")
    assert (await api.service.engine.for_tenant(None).find(task_id)).state is State.PENDING
    (row,) = await operations(api)
    assert (row["outcome"], row["ended_at"], row["code"]) == ("unconfirmed", None, None)


async def test_a_change_whose_own_answer_is_lost_is_unconfirmed(
    api: Api, monkeypatch: pytest.MonkeyPatch, plain: Connection
) -> None:
    """The statement ends its own session, after it has changed the task: nothing tells whether it
    was committed."""
    task_id = await api.submitted()
    broken = (
        "select pg_terminate_backend(pg_backend_pid())::text, 'CANCELLED' "
        "where %(ids)s::uuid[] is not null or %(tenant)s::text is null"
    )
    monkeypatch.setitem(STATEMENTS, "cancel_tasks", broken)
    with recorded() as events:
        problem(await api.client.post(f"/api/tasks/{task_id}/cancel"), "server_unreachable")
    (row,) = await operations(api)
    assert row["outcome"] == "unconfirmed"
    (told,) = [event.fields for event in events if event.name == "operation.unconfirmed"]
    assert (told["operation_id"], told["target"]) == (row["operation_id"], task_id)


async def test_a_change_whose_outcome_cannot_be_written_is_answered_and_unconfirmed(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = await api.submitted()
    monkeypatch.setattr(failpoints, "_directory", str(tmp_path))
    (tmp_path / "operation.done").write_text("lost")
    with recorded() as events:
        answer = await api.client.post(f"/api/tasks/{task_id}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (200, "CANCELLED")
    (row,) = await operations(api)
    assert row["outcome"] == "unconfirmed"
    assert "operation.unconfirmed" in [event.name for event in events]


async def test_an_operation_that_is_cancelled_while_it_waits_is_unconfirmed(
    api: Api, plain: Connection
) -> None:
    task_id = await api.submitted()
    async with plain.transaction():
        await plain.execute("select from leaseq.tasks where id = %s for update", [task_id])
        operator = api.service.engine.as_operator(Actor(name="a person", key_id=None, tenant=None))
        asking = asyncio.create_task(operator.cancel(task_id))
        await until_blocked(plain, asking)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    (row,) = await operations(api)
    assert (row["outcome"], row["actor"]) == ("unconfirmed", "a person")


async def test_an_unexpected_error_is_unconfirmed(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failpoints, "_directory", str(tmp_path))
    (tmp_path / "operation.recorded").write_text("error")
    problem(await api.client.post("/api/queues/q/pause"), "internal_error")
    assert [row["outcome"] for row in await operations(api)] == ["unconfirmed"]
    assert (await api.get("/api/queues"))["queues"] == []


async def test_a_name_that_postgres_cannot_store_is_refused_and_recorded(api: Api) -> None:
    problem(await api.client.post("/api/tenants", json={"name": "a\u0000"}), "access_invalid")
    body = {"name": "k", "scopes": ["read"], "tenant": "a\u0000"}
    problem(await api.client.post("/api/keys", json=body), "access_invalid")
    assert [(row["target"], row["outcome"]) for row in await operations(api)] == [
        ("k", "refused"),
        ("a\\x00", "refused"),
    ]
