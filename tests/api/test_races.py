"""Racing clients with one key get one task, and other keys share inserts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Any

import pytest

from leaseq.config import Config
from leaseq.ledger.session import Connection, Rows, Session
from leaseq.ledger.task_types import TaskType, TypeLedger
from leaseq.operations.known_types import LOOK_AGAIN_SECONDS
from support.api import Api, open_api

CLIENTS = 200


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The name of every statement that goes to Postgres."""
    names: list[str] = []
    fetch = Session.fetch

    async def recording(
        self: Session, name: str, params: Mapping[str, Any] | None = None, **more: Any
    ) -> Rows:
        names.append(name)
        return await fetch(self, name, params, **more)

    monkeypatch.setattr(Session, "fetch", recording)
    return names


async def rows(plain: Connection, table: str) -> int:
    cursor = await plain.execute(
        "select (select count(*) from leaseq.tasks), (select count(*) from leaseq.idempotency_keys)"
    )
    tasks, keys = (await cursor.fetchall())[0]
    return int({"tasks": tasks, "idempotency_keys": keys}[table])


async def test_one_key_through_two_processes_is_one_task(
    config: Config, api: Api, plain: Connection
) -> None:
    async with open_api(config) as other:
        answers = await asyncio.gather(
            *((api, other)[n % 2].submit(Idempotency_Key="order-1") for n in range(CLIENTS))
        )
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["task_id"] for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert (await rows(plain, "tasks"), await rows(plain, "idempotency_keys")) == (1, 1)


async def test_many_keys_through_two_processes_are_one_task_each(
    config: Config, api: Api, plain: Connection
) -> None:
    keys = [f"order-{n % 20}" for n in range(CLIENTS)]
    async with open_api(config) as other:
        answers = await asyncio.gather(
            *((api, other)[n // 20 % 2].submit(Idempotency_Key=key) for n, key in enumerate(keys))
        )
    assert {answer.status_code for answer in answers} == {202}
    tasks = {(key, answer.json()["task_id"]) for key, answer in zip(keys, answers, strict=True)}
    assert len(tasks) == len(set(keys)) == await rows(plain, "tasks")


async def test_submissions_that_come_together_share_their_inserts(
    api: Api, plain: Connection, statements: list[str]
) -> None:
    began = monotonic()
    answers = await asyncio.gather(*(api.submit() for _ in range(CLIENTS)))
    seconds = monotonic() - began
    assert {answer.status_code for answer in answers} == {202}
    assert (
        len({answer.json()["task_id"] for answer in answers})
        == CLIENTS
        == await rows(plain, "tasks")
    )
    # About ten here; how many come while an insert is on its way depends on who gets the processor.
    assert 1 <= statements.count("submit_plain") <= CLIENTS // 2
    assert "find_tasks" not in statements
    looks = statements.count("list_types")
    assert looks <= 2 + seconds / LOOK_AGAIN_SECONDS, (
        "an unknown type is not looked for by each caller"
    )


async def test_a_lone_submission_of_a_known_type_is_one_statement(
    api: Api, type_ledger: TypeLedger, statements: list[str]
) -> None:
    await type_ledger.register_types([TaskType("add", "sums", b"{}")])
    await api.service.types.refresh()
    api.service.types._looked_at = float("-inf")
    statements.clear()
    await api.submitted(Idempotency_Key="order-1")
    assert statements == ["submit_tasks"]
