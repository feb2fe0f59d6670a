"""A deploy that changes a parameter ends no task in FAILED."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from msgspec.structs import replace

from leaseq import Leaseq
from leaseq.config import Config
from leaseq.ledger.task_types import TypeLedger
from leaseq.model import DEFAULT_TENANT, Outcome, State, Task
from leaseq.observability.telemetry import recorded
from leaseq.operations.submission import Request, accept
from leaseq.task import AsyncTask
from leaseq.worker.expedite import task_types
from support.client import Client
from support.worker import promoting, until, working


def code_of(task: Task) -> str:
    assert task.error is not None
    return str(msgspec.json.decode(task.error)["code"])


def first(config: Config | None = None) -> Leaseq:
    app = Leaseq(config)

    @app.task
    async def add(a: int) -> str:
        return f"first {a}"

    return app


def second(config: Config | None = None) -> Leaseq:
    app = Leaseq(config)

    @app.task
    async def add(a: int, b: int) -> str:
        return f"second {a + b}"

    return app


async def submit(app: Leaseq, **payload: int) -> str:
    """From Python, by the version of the handler that `app` has."""
    handler = app.registry.handlers["add"]
    async with app:
        return (await AsyncTask[..., str](app, handler).submit(**payload)).id


async def is_scheduled(client: Client, task_id: str) -> bool:
    return (await client.find(task_id)).state is State.SCHEDULED


async def test_a_newer_payload_is_handed_back_more_slowly_in_one_row(
    config: Config, client: Client
) -> None:
    config = replace(config, hand_back_base_seconds=0.05, hand_back_cap_seconds=60.0)
    with recorded() as events:
        async with working(config, first(), registers=True), promoting(client.engine):
            task_id = await submit(second(config), a=1, b=2)

            async def handed_back_often() -> bool:
                return (await client.find(task_id)).hand_back_count >= 4

            await until(handed_back_often, seconds=30)
    task = await client.find(task_id)
    (row,) = await client.attempts(task_id)
    assert (row.attempt, row.last, row.outcome) == (1, task.attempt, Outcome.RELEASED)
    assert (task.retry_count, code_of(task)) == (0, "other_version")
    assert b"unknown field `b`" in (task.error or b"")
    assert {event.fields["state"] for event in events if event.name == "attempt.settled"} == {
        State.SCHEDULED
    }


async def test_a_worker_with_the_version_makes_it_due_and_runs_it(
    config: Config, client: Client
) -> None:
    config = replace(config, hand_back_base_seconds=300.0, hand_back_cap_seconds=300.0)
    async with promoting(client.engine), working(config, first(), registers=True):
        task_id = await submit(second(config), a=1, b=2)
        await until(lambda: is_scheduled(client, task_id), seconds=30)
    async with promoting(client.engine), working(config, second(), registers=True):
        task = await client.ended(task_id)
    assert (task.state, task.result) == (State.SUCCESS, b'"second 3"')


async def test_an_older_payload_waits_for_a_worker_of_its_version_too(
    config: Config, client: Client
) -> None:
    config = replace(config, hand_back_base_seconds=0.05, hand_back_cap_seconds=0.1)
    async with promoting(client.engine), working(config, second(), registers=True):
        task_id = await submit(first(config), a=1)
        await until(lambda: is_scheduled(client, task_id), seconds=30)
        async with working(config, first(), registers=True):
            task = await client.ended(task_id)
    assert (task.state, task.result) == (State.SUCCESS, b'"first 1"')


@pytest.mark.parametrize("newest", [True, False])
async def test_a_worker_that_is_outdated_leaves_them_waiting(
    config: Config, client: Client, monkeypatch: pytest.MonkeyPatch, newest: bool
) -> None:
    """A respawned worker of the release before would only hand them back once more."""
    asked: list[list[str]] = []
    stores = client.engine.stores

    async def expedite(
        self: TypeLedger, types: Sequence[str], queues: Sequence[str], *, limit: int
    ) -> int:
        asked.append([*types])
        return 0

    monkeypatch.setattr(TypeLedger, "expedite", expedite)
    for n, app in enumerate((first(), second())):
        await stores.workers.open_worker(
            f"w{n}", host="here", pid=1, queues=["default"], version="0"
        )
        await stores.task_types.register_types(task_types(app.registry), worker_id=f"w{n}")
    async with working(config, second() if newest else first(), registers=True):
        await until(lambda: bool(asked))
    assert asked[0] == (["add", "add#"] if newest else ["add"])


@pytest.mark.parametrize(
    "headers", [None, b'{"shape":"' + second().registry.handlers["add"].stamp.encode() + b'"}']
)
async def test_payload_that_no_check_of_this_version_saw_fails(
    config: Config, client: Client, headers: bytes | None
) -> None:
    """A payload that no check saw, since the type was unknown; and one that the same version should
    have refused."""
    submission = accept(Request(type="add", payload=b'{"a":1}'), config, tenant=DEFAULT_TENANT)
    task_id = (await client.engine.submit(replace(submission, headers=headers))).task_id
    async with working(config, second(), registers=True):
        task = await client.ended(task_id)
    assert (task.state, code_of(task)) == (State.FAILED, "payload_invalid")
