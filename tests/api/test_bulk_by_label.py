"""Operations on the tasks that have a label, and lists of tasks by failure."""

from __future__ import annotations

from typing import Any

import pytest

from leaseq.ledger import bulk_operations
from leaseq.ledger.session import Connection
from leaseq.model import State
from support.api import Api, problem
from support.bulk import body_of, fail, failed, preview, started, states, until_done, waiting
from support.keys import headers_of

BOTH = {"account": "42", "note": "ü=1 "}


async def test_a_cancel_takes_the_tasks_of_a_label_that_wait(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In several looks, in every tenant, and none that was submitted after the preview."""
    monkeypatch.setattr(bulk_operations, "STEP_LABELLED", 4)
    engine = api.service.engine
    for name in ("acme", "zeta"):
        await engine.access.create_tenant(name)
    mine = await waiting(engine, 9, labels=BOTH)
    acme = await waiting(engine, 5, labels=BOTH, tenant="acme", queue="mail")
    zeta = await waiting(engine, 2, labels=BOTH, tenant="zeta")
    part = await waiting(engine, 3, labels={"account": "42"})
    bare = await waiting(engine, 3)
    found = await preview(api, "cancel", labels=BOTH)
    assert (found["count"], found["exact"], len(found["samples"])) == (16, True, 5)
    later = await waiting(engine, 2, labels=BOTH)
    body = body_of("cancel", labels=BOTH) | {"as_of": found["as_of"]}
    done = await until_done(api, (await started(api, body))["operation_id"])
    assert (done["done"], done["refused"], done["filter"]["labels"]) == (16, 0, BOTH)
    assert await states(engine, [*mine, *acme, *zeta]) == {State.CANCELLED: 16}
    assert await states(engine, [*part, *bare, *later]) == {State.PENDING: 8}
    listed = (await api.get("/api/operations"))["operations"]
    assert listed[0]["target"] == "label:account=42,label:note=%C3%BC%3D1%20"


async def test_a_redrive_by_label_takes_dead_letters(api: Api, plain: Connection) -> None:
    engine = api.service.engine
    ids = await failed(engine, 6, labels={"account": "42"})
    waits = await waiting(engine, 2, labels={"account": "42"})
    await plain.execute(
        "update leaseq.dead_letters set fingerprint = 'aa' where task_id = any(%s::uuid[])",
        [ids[:4]],
    )
    wanted: dict[str, Any] = {"labels": {"account": "42"}, "error": "aa"}
    assert (await preview(api, "redrive", **wanted))["count"] == 4
    done = await until_done(api, (await started(api, body_of("redrive", **wanted)))["operation_id"])
    assert (done["done"], done["refused"]) == (4, 0)
    assert await states(engine, ids) == {State.SCHEDULED: 4, State.FAILED: 2}
    assert await states(engine, waits) == {State.PENDING: 2}


async def test_a_bound_key_acts_on_its_own_tasks_with_a_label(guarded: Api) -> None:
    engine = guarded.service.engine
    headers = await headers_of(guarded, ["operate", "read"], tenant="acme")
    mine = await waiting(engine, 3, labels={"a": "1"}, tenant="acme")
    foreign = await waiting(engine, 3, labels={"a": "1"})
    wanted = {"action": "cancel", "filter": {"labels": {"a": "1"}}}
    answer = await guarded.client.post("/api/operations/preview", json=wanted, headers=headers)
    assert answer.json()["count"] == 3
    body = body_of("cancel", labels={"a": "1"})
    answer = await guarded.client.post("/api/operations", json=body, headers=headers)
    await until_done(guarded, answer.json()["operation_id"], headers)
    assert await states(engine, mine) == {State.CANCELLED: 3}
    assert await states(engine, foreign) == {State.PENDING: 3}


@pytest.mark.parametrize(
    "labels", [{"": "x"}, {"a b": "x"}, {"a": ""}, {"a": "\0"}, {str(n): "1" for n in range(5)}]
)
async def test_a_label_that_cannot_be_is_refused(api: Api, labels: dict[str, str]) -> None:
    body = {"action": "cancel", "filter": {"labels": labels}}
    answer = await api.client.post("/api/operations/preview", json=body)
    problem(answer, "operation_invalid")


async def test_tasks_are_listed_by_their_failure(api: Api, plain: Connection) -> None:
    engine = api.service.engine
    ids = await failed(engine, 6, type="send", labels={"account": "42"})
    await plain.execute(
        "update leaseq.dead_letters set fingerprint = 'aa' where task_id = any(%s::uuid[])",
        [ids[:4]],
    )
    for query, expected in (
        ("error=aa", ids[:4]),
        ("error=aa&type=send&state=FAILED", ids[:4]),
        ("error=aa&label=account=42", ids[:4]),
        ("error=aa&queue=other", []),
        ("error=aa&state=PENDING", []),
        ("error=bb", []),
    ):
        found = (await api.get(f"/api/tasks?{query}"))["tasks"]
        assert sorted(task["task_id"] for task in found) == expected, query
    first = await api.get("/api/tasks?error=aa&limit=3")
    rest = await api.get(f"/api/tasks?error=aa&limit=3&cursor={first['next_cursor']}")
    assert len(first["tasks"] + rest["tasks"]) == 4
    for wrong in ("error=a%20b", "error=", "error=aa&idempotency_key=k"):
        problem(await api.client.get(f"/api/tasks?{wrong}"), "parameter_invalid")


async def test_a_failure_that_is_redriven_leaves_its_list(api: Api, plain: Connection) -> None:
    engine = api.service.engine
    (task_id,) = await waiting(engine, 1)
    await fail(engine, [task_id])
    await plain.execute("update leaseq.dead_letters set fingerprint = 'aa'")
    await engine.for_tenant(None).redrive(task_id)
    assert (await api.get("/api/tasks?error=aa"))["tasks"] == []
