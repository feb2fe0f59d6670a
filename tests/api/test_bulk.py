"""Operations on many tasks over HTTP: preview, start, set, counts, stop."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from leaseq.codec import new_task_id
from leaseq.ledger import bulk_operations
from leaseq.ledger.session import Connection
from leaseq.model import State
from support.api import Api, problem
from support.bulk import (
    act,
    body_of,
    fail,
    failed,
    preview,
    refusals,
    show,
    started,
    states,
    until,
    until_done,
    waiting,
)
from support.keys import headers_of
from support.ledger import open_worker, promote_due


async def test_a_redrive_of_listed_tasks_changes_each_once(api: Api) -> None:
    engine = api.service.engine
    ids = await failed(engine, 1200)
    found = await preview(api, "redrive", ids=ids)
    assert (found["count"], found["exact"], len(found["samples"])) == (1200, True, 5)
    assert found["oldest_at"] <= found["newest_at"] <= found["as_of"]
    body = body_of("redrive", ids=ids) | {
        "operation_id": found["operation_id"],
        "as_of": found["as_of"],
        "reason": "the bank is back",
    }
    first = await started(api, body)
    assert (first["state"], first["total"], first["reason"]) == (
        "running",
        1200,
        "the bank is back",
    )
    done = await until_done(api, first["operation_id"])
    assert (done["done"], done["refused"], done["refusals"]) == (1200, 0, [])
    assert await states(engine, ids) == {State.SCHEDULED: 1200}
    (row,) = (await api.get("/api/operations"))["operations"]
    assert (row["operation_id"], row["kind"], row["action"], row["outcome"], row["actor"]) == (
        first["operation_id"],
        "bulk",
        "redrive",
        "done",
        "open API",
    )
    assert row["detail"] == {
        "done": 1200,
        "refused": 0,
        "rate": 2000.0,
        "filter": {},
        "reason": "the bank is back",
    }


async def test_a_repeated_start_is_one_operation(api: Api) -> None:
    ids = await failed(api.service.engine, 3)
    body = body_of("redrive", ids=ids)
    answers = await asyncio.gather(*(started(api, body) for _ in range(5)))
    assert {each["operation_id"] for each in answers} == {body["operation_id"]}
    done = await until_done(api, body["operation_id"])
    assert (await started(api, body))["done"] == done["done"] == 3
    assert len((await api.get("/api/operations"))["operations"]) == 1
    other = await api.client.post("/api/operations", json=body | {"rate": 7.0})
    problem(other, "operation_conflict")


async def test_what_has_ended_or_was_submitted_after_the_preview_stays(api: Api) -> None:
    engine = api.service.engine
    ids = await failed(engine, 2)
    later = await waiting(engine, 1)
    as_of = (await preview(api, "redrive", ids=ids))["as_of"]
    await fail(engine, later)
    body = body_of("redrive", ids=ids + later) | {"as_of": as_of}
    done = await until_done(api, (await started(api, body))["operation_id"])
    assert (done["done"], refusals(done)) == (2, {"after_preview": 1})
    assert await states(engine, later) == {State.FAILED: 1}

    as_of = (await preview(api, "cancel", queue="default"))["as_of"]
    newer = await waiting(engine, 1)
    body = body_of("cancel", queue="default") | {"as_of": as_of}
    done = await until_done(api, (await started(api, body))["operation_id"])
    assert (done["done"], done["refused"]) == (2, 0)
    assert await states(engine, newer) == {State.PENDING: 1}


async def test_refused_tasks_are_counted_by_reason(api: Api) -> None:
    engine = api.service.engine
    ids = await failed(engine, 4)
    redriven, erased, *_ = ids
    await engine.for_tenant(None).redrive(redriven)
    await engine.for_tenant(None).erase(erased)
    (keyed,) = await failed(engine, 1, idempotency_key="order-1")
    await engine.for_tenant(None).free_key(keyed)
    body = body_of("redrive", ids=[*ids, keyed, new_task_id()])
    done = await until_done(api, (await started(api, body))["operation_id"])
    assert done["done"] == 2
    assert refusals(done) == {"scheduled": 1, "erased": 1, "key_freed": 1, "not_found": 1}
    assert done["total"] == 2


async def test_a_redrive_takes_the_dead_letters_that_match(
    api: Api, plain: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the index on types and fingerprints, and without it, each in several looks."""
    monkeypatch.setattr(bulk_operations, "STEP_ROWS", 10)
    engine = api.service.engine
    ids = {}
    for queue, type_name, error in (
        *(("mail", "send", "aa"), ("mail", "send", "bb"), ("mail", "add", "aa")),
        *(("bulk", "send", "aa"),),
    ):
        ids[queue, type_name, error] = await failed(engine, 25, queue=queue, type=type_name)
        await plain.execute(
            "update leaseq.dead_letters set fingerprint = %s where task_id = any(%s::uuid[])",
            [error, ids[queue, type_name, error]],
        )
    sets: list[dict[str, Any]] = [
        {"queue": "bulk", "type": "send", "error": "aa"},
        {"type": "send", "error": "aa"},
        {"type": "send"},
        {"queue": "mail"},
    ]
    for wanted in sets:
        matching = [
            task_id
            for (queue, type_name, error), group in ids.items()
            if {"queue": queue, "type": type_name, "error": error}.items() >= wanted.items()
            for task_id in group
        ]
        before = (await states(engine, matching))[State.FAILED]
        found = await preview(api, "redrive", **wanted)
        assert (found["count"], found["exact"], found["samples"][0]["state"]) == (
            before,
            True,
            "FAILED",
        )
        body = body_of("redrive", **wanted) | {"as_of": found["as_of"]}
        done = await until_done(api, (await started(api, body))["operation_id"])
        assert (done["done"], done["refused"]) == (before, 0), wanted
        assert await states(engine, matching) == {State.SCHEDULED: len(matching)}
    (row,) = await (await plain.execute("select count(*) from leaseq.dead_letters")).fetchall()
    assert row == (0,)


async def test_dead_letters_that_failed_later_stay_and_those_that_are_gone_are_counted(
    api: Api, plain: Connection
) -> None:
    engine = api.service.engine
    ids = await failed(engine, 10, type="send")
    body = body_of("redrive", rate=0.5, type="send")
    operation_id = (await started(api, body))["operation_id"]
    later = await failed(engine, 3, type="send")
    await until(api, operation_id, lambda now: now["done"] == 1)
    await act(api, operation_id, "stop")
    left = [each for each in ids if (await engine.for_tenant(None).find(each)).state == "FAILED"]
    await engine.for_tenant(None).redrive(left[0])
    await engine.for_tenant(None).redrive(left[1])
    # One that this operation has redriven fails again.
    (again,) = set(ids) - set(left)
    await promote_due(engine.stores.tasks, limit=100)
    await fail(engine, [again])
    await plain.execute("update leaseq.bulk_operations set rate = 1000")
    await act(api, operation_id, "resume")
    done = await until_done(api, operation_id)
    assert (done["done"], refusals(done), done["total"]) == (8, {"gone": 2}, 10)
    assert await states(engine, [*later, again]) == {State.FAILED: 4}


async def test_a_cancel_takes_what_matches(api: Api) -> None:
    engine = api.service.engine
    mail = await waiting(engine, 7, queue="mail", type="send")
    other = await waiting(engine, 3, queue="mail", type="add")
    found = await preview(api, "cancel", queue="mail", type="send")
    assert (found["count"], found["exact"]) == (7, True)
    assert {each["task_id"] for each in found["samples"]} < set(mail)
    body = body_of("cancel", queue="mail", type="send")
    done = await until_done(api, (await started(api, body))["operation_id"])
    assert (done["done"], done["looked"], done["filter"]["type"]) == (7, 10, "send")
    assert await states(engine, mail) == {State.CANCELLED: 7}
    assert await states(engine, other) == {State.PENDING: 3}


async def test_a_running_task_is_asked_to_stop_only_if_wanted(api: Api) -> None:
    engine = api.service.engine
    (task_id,) = await waiting(engine, 1)
    worker_id = await open_worker(engine.stores.workers)
    await engine.stores.tasks.claim([task_id], worker_id=worker_id)
    done = await until_done(
        api, (await started(api, body_of("cancel", queue="default")))["operation_id"]
    )
    assert (done["done"], done["refused"]) == (0, 0)
    body = body_of("cancel", queue="default", running=True)
    assert (await until_done(api, (await started(api, body))["operation_id"]))["done"] == 1
    assert await engine.stores.tasks.find_cancel_requests([task_id]) == [task_id]


async def test_a_walk_longer_than_one_look_misses_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_operations, "STEP_ROWS", 10)
    monkeypatch.setattr(bulk_operations, "PREVIEW_ROWS", 10)
    engine = api.service.engine
    mail = []
    for _ in range(5):
        mail += await waiting(engine, 3, queue="mail")
        await waiting(engine, 11)
    found = await preview(api, "cancel", queue="mail")
    assert found["count"] <= 10
    assert not found["exact"]
    done = await until_done(
        api, (await started(api, body_of("cancel", queue="mail")))["operation_id"]
    )
    assert (done["done"], done["total_exact"]) == (15, False)
    assert await states(engine, mail) == {State.CANCELLED: 15}


async def test_a_stopped_operation_goes_on_where_it_was(api: Api) -> None:
    engine = api.service.engine
    ids = await failed(engine, 300)
    body = body_of("redrive", rate=100.0, ids=ids)
    operation_id = (await started(api, body))["operation_id"]
    await until(api, operation_id, lambda now: now["done"] > 0)
    stopped = await act(api, operation_id, "stop")
    assert stopped.json()["state"] == "stopped"
    before = stopped.json()["done"]
    assert await states(engine, ids) == {State.SCHEDULED: before, State.FAILED: 300 - before}
    await api.service.engine.bulk_runner.advance(operation_id)
    assert (await show(api, operation_id))["done"] == before
    assert (await act(api, operation_id, "stop")).json()["done"] == before
    assert (await act(api, operation_id, "resume")).json()["state"] == "running"
    done = await until_done(api, operation_id)
    assert (done["done"], done["refused"]) == (300, 0)
    for verb in ("stop", "resume"):
        problem(await act(api, operation_id, verb), "operation_conflict")
    actions = [row["action"] for row in (await api.get("/api/operations"))["operations"]]
    assert actions[-1] == "redrive"
    assert actions.count("stop_operation") == 3


async def test_what_is_not_valid_starts_nothing(api: Api) -> None:
    one = new_task_id()
    wrong = [
        body_of("cancel"),
        body_of("cancel", queue="a b"),
        body_of("cancel", queue="mail", error="9f3a"),
        body_of("redrive", ids=[]),
        body_of("redrive", ids=["x"]),
        body_of("redrive", ids=[one], queue="mail"),
        body_of("redrive", ids=[one], running=True),
        body_of("redrive", rate=0, ids=[one]),
        body_of("erase", ids=[one]),
        body_of("redrive", ids=[one]) | {"reason": ""},
        body_of("redrive", ids=[one]) | {"operation_id": "0" * 8},
        body_of("redrive", ids=[one]) | {"as_of": "yesterday"},
    ]
    for body in wrong:
        problem(await api.client.post("/api/operations", json=body), "operation_invalid")
    old = (datetime.now(UTC) - timedelta(days=3)).timestamp() * 1000
    dated = f"{int(old):012x}"
    body = body_of("redrive", ids=[one])
    body["operation_id"] = f"{dated[:8]}-{dated[8:]}{body['operation_id'][13:]}"
    problem(await api.client.post("/api/operations", json=body), "operation_conflict")
    assert (await api.get("/api/operations"))["operations"] == []
    problem(await api.client.get(f"/api/operations/{one}"), "operation_not_found")
    problem(await api.client.get("/api/operations/none"), "operation_not_found")


async def test_a_bound_key_changes_and_sees_its_own_tenant_only(guarded: Api) -> None:
    engine = guarded.service.engine
    acme = await headers_of(guarded, ["operate"], tenant="acme")
    other = await headers_of(guarded, ["operate"], tenant="other")
    ids = await failed(engine, 2)
    own = await failed(engine, 1, tenant="acme")
    assert (await preview(guarded, "redrive", acme, ids=ids + own))["count"] == 1
    body = body_of("redrive", ids=ids + own)
    operation_id = (await started(guarded, body, acme))["operation_id"]
    now = await until_done(guarded, operation_id, acme)
    assert (now["done"], refusals(now), now["tenant"]) == (1, {"not_found": 2}, "acme")
    assert await states(engine, ids) == {State.FAILED: 2}
    address = f"/api/operations/{operation_id}"
    problem(await guarded.client.get(address, headers=other), "operation_not_found")
    problem(await guarded.client.post(address + "/stop", headers=other), "operation_not_found")
    problem(
        await guarded.client.post("/api/operations", json=body, headers=other), "operation_conflict"
    )
