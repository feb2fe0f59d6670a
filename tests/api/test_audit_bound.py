"""Refused changes cannot fill the audit, and no change that is made is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from leaseq.codec import new_task_id
from leaseq.connections.postgres_connection import Connection
from leaseq.ledger.operation_log import Actor, OperationLog
from leaseq.ledger.session import Session
from leaseq.ledger.statements import STATEMENTS
from leaseq.observability.telemetry import recorded
from leaseq.operations import refusals
from support.api import Api, problem
from support.keys import headers_of

KEPT = 3


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "KEPT", KEPT)


async def rows(plain: Connection) -> list[dict[str, Any]]:
    """All operations, the first one first."""
    found = await plain.execute(
        "select action, outcome, code, actor, detail, target from leaseq.operations order by id"
    )
    names = ("action", "outcome", "code", "actor", "detail", "target")
    return [dict(zip(names, row, strict=True)) for row in await found.fetchall()]


async def refused(api: Api, headers: dict[str, str]) -> None:
    answer = await api.client.post(f"/api/tasks/{new_task_id()}/cancel", headers=headers)
    problem(answer, "task_not_found")


async def test_refusals_of_a_key_beyond_a_few_are_counted_in_one_row(
    guarded: Api, plain: Connection
) -> None:
    bound = await headers_of(guarded, ["submit", "operate"], tenant="acme")
    foreign = await headers_of(guarded, ["submit", "operate"], tenant="other")
    body = {"type": "add", "payload": 1}

    async def submitted(headers: dict[str, str]) -> str:
        answer = await guarded.client.post("/api/tasks", json=body, headers=headers)
        task_id: str = answer.json()["task_id"]
        return task_id

    theirs, own = await submitted(foreign), [await submitted(bound) for _ in range(3)]
    with recorded() as events:
        for task_id in own:
            for _ in range(2):
                await refused(guarded, bound)
                answer = await guarded.client.post(f"/api/tasks/{theirs}/cancel", headers=bound)
                problem(answer, "task_not_found")
            answer = await guarded.client.post(f"/api/tasks/{task_id}/cancel", headers=bound)
            assert answer.status_code == 200
    found = await rows(plain)
    assert [row["target"] for row in found if row["outcome"] == "done"] == own
    kept = [row for row in found if row["outcome"] == "refused"]
    assert [row["detail"] for row in kept] == [None, None, {"more_refused": 12 - KEPT}]
    assert {row["code"] for row in kept} == {"task_not_found"}
    assert len(found) == KEPT + len(own)
    told = [event.fields for event in events if event.name == "operation.refusals"]
    assert [(fields["actor"], fields["kept"]) for fields in told] == [("test", KEPT)]
    # Another key has rows of its own.
    await refused(guarded, foreign)
    assert len(await rows(plain)) == len(found) + 1


async def test_refusals_at_the_same_time_are_all_counted(api: Api, plain: Connection) -> None:
    await asyncio.gather(*(refused(api, {}) for _ in range(40)))
    await asyncio.gather(*(refused(api, {}) for _ in range(40)))
    found = await rows(plain)
    assert {row["outcome"] for row in found} == {"refused"}
    # Those that were under way when the number was reached have rows, too.
    assert KEPT <= len(found) <= KEPT + 40
    counted = sum(row["detail"]["more_refused"] for row in found if row["detail"])
    assert counted + len(found) == 80
    assert counted >= 40


async def test_the_next_hour_has_rows_of_its_own(
    api: Api, plain: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "HOUR_SECONDS", 0.0)
    for _ in range(KEPT + 2):
        await refused(api, {})
    assert [row["detail"] for row in await rows(plain)] == [None] * (KEPT + 2)


async def test_a_refusal_whose_count_is_lost_leaves_an_unconfirmed_row(
    api: Api, plain: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(KEPT):
        await refused(api, {})
    broken = "select pg_terminate_backend(pg_backend_pid())::text, %(id)s::text, %(into)s::text"
    monkeypatch.setitem(STATEMENTS, "fold_operation", broken)
    with recorded() as events:
        await refused(api, {})
    assert [row["outcome"] for row in await rows(plain)] == ["refused"] * KEPT + ["unconfirmed"]
    assert "operation.unconfirmed" in [event.name for event in events]


async def test_a_count_that_is_sent_twice_counts_once(session: Session, plain: Connection) -> None:
    log, actor = OperationLog(session), Actor(name="a", key_id=None, tenant=None)
    first, second = sorted((new_task_id(), new_task_id()))
    for operation_id in (first, second):
        await log.record(operation_id, action="cancel", target="x", actor=actor)
    for _ in range(2):
        await log.fold(second, into=first)
    assert [row["detail"] for row in await rows(plain)] == [{"more_refused": 1}]
    # A row that was confirmed stays.
    await log.record(second, action="cancel", target="x", actor=actor)
    await plain.execute("update leaseq.operations set outcome = 'done' where id = %s", [second])
    await log.fold(second, into=first)
    assert [row["detail"] for row in await rows(plain)] == [{"more_refused": 1}, None]


def test_actors_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "REMEMBERED", 2)
    known = refusals.Refusals()
    actors = [Actor(name=name, key_id=None, tenant=None) for name in "abc"]
    for actor in actors:
        for _ in range(KEPT):
            known.note_kept(actor, "row")
    assert [known.counting_row(actor) for actor in reversed(actors)] == ["row", "row", None]
