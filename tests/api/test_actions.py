"""Actions on the state that a person saw, each done once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from leaseq.codec import new_task_id
from leaseq.ledger.session import Connection
from leaseq.operations import operator
from support.api import Api, problem


async def act(api: Api, task_id: str, action: str, **body: Any) -> Any:
    return await api.client.post(f"/api/tasks/{task_id}/{action}", json=body)


async def rows(plain: Connection) -> list[tuple[Any, ...]]:
    return await (
        await plain.execute("select action, outcome, code from leaseq.operations order by id")
    ).fetchall()


async def test_two_tabs_redrive_one_failed_task_and_the_second_is_told_of_the_first(
    api: Api, plain: Connection
) -> None:
    task_id = await api.submitted()
    await act(api, task_id, "cancel")
    first = await act(api, task_id, "redrive", seen="CANCELLED/0")
    assert first.status_code == 202
    second = await act(api, task_id, "redrive", seen="CANCELLED/0")
    told = problem(second, "task_moved")
    assert (told["present"], told["task_id"]) == ("SCHEDULED/0", task_id)
    assert "SCHEDULED at attempt 0 now" in told["detail"]
    assert (await rows(plain))[-1] == ("redrive", "refused", "task_moved")


async def test_a_cancellation_acts_on_what_was_seen_only(api: Api) -> None:
    task_id = await api.submitted()
    told = problem(await act(api, task_id, "cancel", seen="PROCESSING/1"), "task_moved")
    assert told["present"] == "PENDING/0"
    assert (await api.get(f"/api/tasks/{task_id}"))["state"] == "PENDING"
    assert (await act(api, task_id, "cancel", seen="PENDING/0")).status_code == 200
    assert (await act(api, task_id, "cancel", seen="CANCELLED/0")).status_code == 200
    problem(await act(api, task_id, "cancel", seen="PENDING/0"), "task_moved")


@pytest.mark.parametrize(
    "body",
    [
        {"seen": "FAILED"},
        {"seen": "failed/1"},
        {"seen": "FAILED/01"},
        {"seen": "FAILED/-1"},
        {"seen": "FAILED/9999999999"},
        {"seen": 1},
        {"operation_id": "1"},
        {"operation_id": "0199D5A0-0000-7000-8000-000000000000"},
        {"reason": "unknown"},
    ],
)
async def test_a_body_that_is_not_valid_is_refused(api: Api, body: Any) -> None:
    task_id = await api.submitted()
    problem(await act(api, task_id, "cancel", **body), "action_invalid")
    assert (await api.get(f"/api/tasks/{task_id}"))["state"] == "PENDING"


async def test_one_operation_id_is_done_once_however_often_it_arrives(
    api: Api, plain: Connection
) -> None:
    task_id, operation_id = await api.submitted(), new_task_id()
    await act(api, task_id, "cancel")
    answers = await asyncio.gather(
        *(act(api, task_id, "redrive", operation_id=operation_id) for _ in range(5))
    )
    assert {answer.status_code for answer in answers} == {202}
    assert (await rows(plain)).count(("redrive", "done", None)) == 1
    # It may be redriven, cancelled and redriven again meanwhile: the request acts no second time.
    await act(api, task_id, "cancel")
    again = await act(api, task_id, "redrive", operation_id=operation_id)
    assert (again.status_code, again.json()["state"]) == (202, "CANCELLED")
    assert len(await rows(plain)) == 3


async def test_an_id_counts_for_one_action_on_one_task(api: Api) -> None:
    one, other, operation_id = await api.submitted(), await api.submitted(), new_task_id()
    for task_id in (one, other):
        answer = await act(api, task_id, "cancel", operation_id=operation_id)
        assert answer.json()["state"] == "CANCELLED"
    assert (await act(api, one, "redrive", operation_id=operation_id)).status_code == 202


async def test_an_operation_that_was_refused_stays_refused_under_its_id(api: Api) -> None:
    task_id, operation_id = await api.submitted(), new_task_id()
    problem(await act(api, task_id, "redrive", operation_id=operation_id), "task_conflict")
    await act(api, task_id, "cancel")
    again = await act(api, task_id, "redrive", operation_id=operation_id)
    assert "was refused before (task_conflict)" in problem(again, "task_conflict")["detail"]
    assert (await api.get(f"/api/tasks/{task_id}"))["state"] == "CANCELLED"


async def test_an_operation_whose_outcome_is_not_known_is_not_done_again(
    api: Api, plain: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator, "OUTCOME_SECONDS", 0.001)
    task_id, operation_id = await api.submitted(), new_task_id()
    await plain.execute(
        "insert into leaseq.operations (id, action, target, actor, request_id)"
        " values (%s, 'cancel', %s, 'a process that died', %s)",
        [new_task_id(), task_id, operation_id],
    )
    problem(await act(api, task_id, "cancel", operation_id=operation_id), "operation_in_doubt")
    assert (await api.get(f"/api/tasks/{task_id}"))["state"] == "PENDING"
