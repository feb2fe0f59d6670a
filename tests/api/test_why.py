"""`GET /api/tasks/{id}/why`, and the facts that each key gets."""

from __future__ import annotations

from typing import Any

import pytest

from leaseq.codec import new_task_id
from leaseq.dispatch.delivery_search import DeliverySearch
from leaseq.errors import ServerUnreachable
from leaseq.ledger.session import Connection, Session
from leaseq.ledger.task_facts import TaskFacts
from leaseq.ledger.workers import WorkerLedger
from support.api import Api, problem
from support.keys import headers_of
from support.ledger import claim_task, errored, open_worker, released


async def test_why_explains_a_waiting_task(api: Api) -> None:
    task_id = await api.submitted()
    found = await api.get(f"/api/tasks/{task_id}/why")
    assert (found["case"], found["needs_person"]) == ("queue_unserved", True)
    assert found["sentence"].startswith("It waits because no worker serves queue default")
    assert {each["source"] for each in found["evidence"]} >= {"ledger", "dispatch", "workers"}


async def test_unknown_and_malformed_ids_and_queries(api: Api) -> None:
    problem(await api.client.get(f"/api/tasks/{new_task_id()}/why"), "task_not_found")
    problem(await api.client.get("/api/tasks/17/why"), "task_not_found")
    task_id = await api.submitted()
    path = f"/api/tasks/{task_id}/why"
    problem(await api.client.get(f"{path}?when=now"), "parameter_invalid")
    problem(await api.client.get(f"{path}?idempotency_key={'k' * 256}"), "parameter_invalid")
    problem(await api.client.get(f"{path}?idempotency_key=%C3%A9"), "parameter_invalid")


async def test_redis_away_is_a_fact(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = await api.submitted()

    async def away(*_: object, **__: object) -> None:
        raise ServerUnreachable("Redis does not answer: refused")

    monkeypatch.setattr(DeliverySearch, "_find", away)
    found = await api.get(f"/api/tasks/{task_id}/why")
    assert (found["case"], found["needs_person"]) == ("dispatch_away", True)
    assert {"source": "dispatch", "text": "Redis does not answer: refused"} in found["evidence"]


async def test_postgres_away_is_a_problem(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = await api.submitted()

    async def away(*_: object, **__: object) -> None:
        raise ServerUnreachable("Postgres does not answer")

    monkeypatch.setattr(TaskFacts, "find_situation", away)
    problem(await api.client.get(f"/api/tasks/{task_id}/why"), "server_unreachable")


async def test_an_answer_takes_at_most_ten_statements(
    api: Api, worker_ledger: WorkerLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a task that has run, waits in a backlog, and whose queue no worker serves."""
    worker_id = await open_worker(worker_ledger)
    task_id = await api.submitted()
    tasks = api.service.engine.stores.tasks
    claim = await claim_task(tasks, task_id, worker_id)
    assert await tasks.settle([released(claim)])
    await worker_ledger.close_worker(worker_id, reason="test")
    sent: list[str] = []
    fetch = Session.fetch

    async def counted(self: Session, name: str, *args: Any, **more: Any) -> Any:
        sent.append(name)
        return await fetch(self, name, *args, **more)

    monkeypatch.setattr(Session, "fetch", counted)
    assert (await api.get(f"/api/tasks/{task_id}/why"))["case"] == "queue_unserved"
    assert len(sent) <= 10, sent


async def test_a_locked_row_is_named_and_not_waited_for(
    api: Api, plain: Connection, postgres_url: str, worker_ledger: WorkerLedger
) -> None:
    await open_worker(worker_ledger)
    task_id = await api.submitted()
    async with plain.transaction():
        await plain.execute("select from leaseq.tasks where id = %s for update", [task_id])
        # A transaction counts once it has been open for a second.
        await plain.execute("select pg_sleep(1.1)")
        found = await api.get(f"/api/tasks/{task_id}/why")
    assert found["case"] == "row_locked"
    assert any("row locked by pid" in each["text"] for each in found["evidence"])


async def test_a_foreign_task_is_not_found(guarded: Api) -> None:
    ours = await headers_of(guarded, ["submit", "read"], tenant="acme")
    theirs = await headers_of(guarded, ["submit", "read"], tenant="other")
    answer = await guarded.submit(**ours)
    path = f"/api/tasks/{answer.json()['task_id']}/why"
    problem(await guarded.client.get(path, headers=theirs), "task_not_found")
    assert (await guarded.client.get(path, headers=ours)).status_code == 200
    problem(await guarded.client.get(path), "key_missing")


async def test_acts_of_another_tenant_on_a_task_are_not_shown(guarded: Api) -> None:
    ours = await headers_of(guarded, ["submit", "read"], tenant="acme")
    theirs = await headers_of(guarded, ["operate"], tenant="other")
    operators = await headers_of(guarded, ["read", "operate"])
    task_id = (await guarded.submit(**ours)).json()["task_id"]
    path = f"/api/tasks/{task_id}"
    assert (await guarded.client.post(f"{path}/cancel", headers=operators)).status_code == 200
    for _ in range(12):  # more than an answer has room for
        problem(await guarded.client.post(f"{path}/cancel", headers=theirs), "task_not_found")
    for headers in (ours, operators):
        shown = await guarded.client.get(f"{path}/why", headers=headers)
        assert "refused" not in shown.text
        assert "cancel by test at" in shown.text or headers is ours


async def test_a_bound_key_gets_no_hosts_numbers_and_people(
    guarded: Api, worker_ledger: WorkerLedger
) -> None:
    whole = await headers_of(guarded, ["submit", "read", "operate"])
    ours = await headers_of(guarded, ["submit", "read"], tenant="acme")
    for _ in range(3):
        await guarded.submit(**whole)
    task_id = (await guarded.submit(**ours)).json()["task_id"]
    worker_id = await open_worker(worker_ledger)
    path = f"/api/tasks/{task_id}/why"
    seen = (await guarded.client.get(path, headers=whole)).json()
    hidden = (await guarded.client.get(path, headers=ours)).json()
    assert seen["case"] == hidden["case"] == "in_lane"
    assert "3 before it, 0 behind it" in str(seen)
    assert "before it" not in str(hidden)
    await claim_task(guarded.service.engine.stores.tasks, task_id, worker_id)
    assert "(here, supervisor 1)" in (await guarded.client.get(path, headers=whole)).text
    assert "here" not in (await guarded.client.get(path, headers=ours)).text
    await guarded.client.post("/api/queues/default/pause", json={"reason": "deploy"}, headers=whole)
    later = (await guarded.submit(**ours)).json()["task_id"]
    paused = await guarded.client.get(f"/api/tasks/{later}/why", headers=ours)
    assert paused.json()["case"] == "queue_paused"
    assert "deploy" in paused.text
    assert "by test" not in paused.text


async def test_texts_of_errors_need_the_scope_payloads(
    guarded: Api, worker_ledger: WorkerLedger
) -> None:
    plain = await headers_of(guarded, ["submit", "read"])
    more = await headers_of(guarded, ["read", "payloads"])
    task_id = (await guarded.submit(**plain)).json()["task_id"]
    tasks = guarded.service.engine.stores.tasks
    claim = await claim_task(tasks, task_id, await open_worker(worker_ledger))
    assert await tasks.settle([errored(claim)])
    path = f"/api/tasks/{task_id}/why"
    shown = await guarded.client.get(path, headers=more)
    assert shown.json()["case"] == "backing_off"
    assert "it did not work" in shown.text
    hidden = await guarded.client.get(path, headers=plain)
    assert hidden.json()["case"] == "backing_off"
    assert "it did not work" not in hidden.text
    assert "error" in hidden.json()["sentence"]
