"""Streams have the ends of attempts, the newest state, and the end of a task once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any, cast

import pytest
from msgspec.structs import replace

from leaseq.codec import new_task_id
from leaseq.config import Config
from leaseq.ledger.session import Connection
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import State
from leaseq_api.follow import event_stream
from leaseq_api.http_server.exchange import Application
from leaseq_api.security.principal import OPEN
from leaseq_chaos.pace import Pace
from support.api import Api, open_api, problem
from support.event_stream import Event, following
from support.keys import bearer, issue
from support.ledger import claim_task, errored, open_worker, promote_due, succeeded
from support.raw_http import GIVE_UP_SECONDS, Served, serving


@pytest.fixture
async def served(api: Api) -> AsyncIterator[Served]:
    """The application of `api` on a port."""
    async with serving(cast(Application, api.app)) as served:
        yield served
        api.service.stopping.set()  # so that no stream holds up the end of the server


def get(path: str, method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def names(events: list[Event]) -> list[tuple[str, Any]]:
    """The name of each event, with its main value."""
    keys = {"state": "state", "attempt": "outcome", "progress": "progress"}
    return [(event.name, event.data[keys[event.name]]) for event in events]


async def test_a_stream_tells_states_attempts_and_progress_and_ends_with_the_task(
    api: Api, served: Served, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    task_id = await api.submitted()
    worker_id = await open_worker(worker_ledger)
    async with following(served.port, f"/api/tasks/{task_id}/events") as stream:
        assert stream.answer.headers["content-type"] == "text/event-stream"
        assert stream.answer.headers["cache-control"] == "no-store"
        assert (await stream.until("state")).data["state"] == "PENDING"
        assert 1_000 <= stream.retry < 3_000
        claim = await claim_task(ledger, task_id, worker_id)
        running = await stream.until("state", state="PROCESSING", attempt=1)
        assert running.data["worker_id"] == worker_id
        await ledger.set_progress(claim, b'{"done":\n 1}')
        progress = await stream.until("progress")
        assert progress.data == {"attempt": 1, "progress": {"done": 1}}
        await ledger.settle([errored(claim, then=State.SCHEDULED, delay=0)])
        ended = await stream.until("attempt")
        assert (ended.data["attempt"], ended.data["outcome"]) == (1, "errored")
        assert (await stream.until("state")).data["state"] == "SCHEDULED"
        await promote_due(ledger, limit=10)
        await ledger.settle([succeeded(await claim_task(ledger, task_id, worker_id), b"[1]")])
        last = (await stream.rest())[-1]
    assert (last.data["state"], last.data["result"], last.data["attempt"]) == ("SUCCESS", [1], 2)
    assert "payload" not in last.data
    api.document.validate({"$ref": "#/components/schemas/FollowedTaskView"}, last.data)
    api.document.validate({"$ref": "#/components/schemas/AttemptView"}, ended.data)
    api.document.validate({"$ref": "#/components/schemas/ProgressView"}, progress.data)


async def test_a_client_that_comes_back_is_told_what_it_missed_and_nothing_twice(
    api: Api, served: Served, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    path = f"/api/tasks/{(task_id := await api.submitted())}/events"
    worker_id = await open_worker(worker_ledger)
    claim = await claim_task(ledger, task_id, worker_id)
    await ledger.set_progress(claim, b"1")
    async with following(served.port, path) as stream:
        first = await stream.until("progress")
    for _ in range(2):  # it comes back when nothing has changed
        async with following(served.port, path, last_id=first.event_id) as stream:
            waiting = asyncio.create_task(stream.next())
            assert task_id in api.service.engine.waiter._watched
            await ledger.set_progress(claim, b"2")
            again = await waiting
            assert again is not None
            assert names([again]) == [("progress", 2)]
        await ledger.set_progress(claim, b"1")
        assert (await find_event(served, path, again.event_id)).data["progress"] == 1
    # Two attempts end while it is away.
    await ledger.settle([errored(claim, then=State.SCHEDULED, delay=0)])
    await promote_due(ledger, limit=10)
    claim = await claim_task(ledger, task_id, worker_id)
    await ledger.settle([errored(claim, then=State.FAILED)])
    async with following(served.port, path, last_id=first.event_id) as stream:
        missed = await stream.rest()
    assert names(missed) == [("attempt", "errored"), ("attempt", "errored"), ("state", "FAILED")]
    for at, event in enumerate(missed):
        async with following(served.port, path, last_id=event.event_id) as stream:
            assert await stream.rest() == missed[at + 1 :]
            # At the end a browser is asked not to come back.
            assert stream.answer.status_code == (204 if event is missed[-1] else 200)


async def find_event(served: Served, path: str, last_id: str) -> Event:
    async with following(served.port, path, last_id=last_id) as stream:
        event = await stream.next()
    assert event is not None
    return event


async def test_a_redrive_after_the_end_is_news(
    api: Api, served: Served, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    path = f"/api/tasks/{(task_id := await api.submitted())}/events"
    worker_id = await open_worker(worker_ledger)
    last_ids: list[str] = []
    for _ in range(2):
        await ledger.cancel([task_id], tenant=None)
        async with following(
            served.port, path, last_id=last_ids[-1] if last_ids else None
        ) as stream:
            assert names(await stream.rest()) == [("state", "CANCELLED")]
            last_ids.append(stream.last_id)
        await ledger.redrive([task_id], tenant=None)
    async with following(served.port, path, last_id=last_ids[-1]) as stream:
        assert (await stream.until("state")).data["state"] == "SCHEDULED"
        await promote_due(ledger, limit=10)
        await ledger.settle([succeeded(await claim_task(ledger, task_id, worker_id))])
        assert names(await stream.rest())[-1] == ("state", "SUCCESS")


async def test_a_task_that_ended_long_ago_is_told_at_once(api: Api) -> None:
    task_id = await api.submitted()
    await api.client.post(f"/api/tasks/{task_id}/cancel")
    answer = await api.client.get(f"/api/tasks/{task_id}/events")
    assert b"event: state\n" in answer.content
    assert answer.content.count(b"event: ") == 1
    for strange in ("", "1", "x" * 5000, "0-0-0", "99-" + "0" * 16 + "-0", "\u20ac"):
        answer = await api.client.get(
            f"/api/tasks/{task_id}/events", headers={b"Last-Event-ID": strange.encode()}
        )
        assert b"event: state\n" in answer.content, strange


async def test_a_request_to_cancel_is_news(
    api: Api, served: Served, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    task_id = await api.submitted()
    await claim_task(ledger, task_id, await open_worker(worker_ledger))
    async with following(served.port, f"/api/tasks/{task_id}/events") as stream:
        assert (await stream.until("state")).data["cancel_requested_at"] is None
        await api.client.post(f"/api/tasks/{task_id}/cancel")
        assert (await stream.until("state")).data["cancel_requested_at"] is not None


async def test_a_task_of_another_tenant_or_none_is_not_there(
    api: Api, served: Served, plain: Connection
) -> None:
    task_id = await api.submitted()
    await api.service.engine.access.create_tenant("other")
    mine, other = {"Leaseq-Tenant": "default"}, {"Leaseq-Tenant": "other"}
    path = f"/api/tasks/{task_id}/events"
    problem(await api.client.get(path, headers=other), "task_not_found")
    problem(await api.client.get(f"/api/tasks/{new_task_id()}/events"), "task_not_found")
    problem(await api.client.get("/api/tasks/x/events"), "task_not_found")
    problem(await api.client.get(f"{path}?wait=1"), "parameter_invalid")
    async with following(served.port, path, **mine) as stream:
        assert (await stream.until("state")).data["tenant"] == "default"
        # A stream ends with the sight of its task.
        await plain.execute("update leaseq.tasks set tenant = 'other'")
        assert await stream.rest() == []
    assert not api.service.engine.waiter._watched
    assert api.service.held.count == 0


async def test_head_of_a_stream_ends(api: Api, served: Served) -> None:
    task_id = await api.submitted()
    client = await served.connect()
    client.send(get(f"/api/tasks/{task_id}/events", "HEAD"))
    head = await client.reader.readuntil(b"\r\n\r\n")
    assert b"200 OK" in head
    assert b"content-type: text/event-stream" in head
    assert (await client.ask(get("/health/live"))).status == 200


async def test_a_client_that_leaves_leaves_nothing_behind(api: Api, served: Served) -> None:
    task_id = await api.submitted()
    async with following(served.port, f"/api/tasks/{task_id}/events") as stream:
        await stream.until("state")
        assert api.service.held.count == 1
    await served.until(lambda: not api.service.held.count)
    assert not api.service.engine.waiter._watched
    await served.until(lambda: not served.server.connections)


async def test_a_silent_stream_has_comments(
    api: Api, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT_SECONDS", 0.05)
    task_id = await api.submitted()
    async with following(served.port, f"/api/tasks/{task_id}/events") as stream:
        await stream.until("state")
        waiting = asyncio.create_task(stream.next())
        await served.until(lambda: stream.comments >= 3)
        await api.client.post(f"/api/tasks/{task_id}/cancel")
        event = await waiting
    assert event is not None
    assert event.data["state"] == "CANCELLED"


async def test_a_stream_ends_properly_when_the_service_stops(api: Api, served: Served) -> None:
    task_id = await api.submitted()
    client = await served.connect()
    client.send(get(f"/api/tasks/{task_id}/events"))
    await served.until(lambda: api.service.held.count == 1)
    await client.reader.readuntil(b"PENDING")
    api.service.stopping.set()
    await served.server.stop(seconds=60)
    assert (await client.rest()).endswith(b"\r\n0\r\n\r\n")


def bound_to(tenant: str | None) -> Any:
    """The scope of a request that is bound to a tenant."""
    return {"principal": replace(OPEN, tenant=tenant)}


async def test_a_tenant_never_holds_the_last_answer(config: Config) -> None:
    async with open_api(replace(config, api_connections=16)) as api:
        path = f"/api/tasks/{await api.submitted()}/events"
        held, mine = api.service.held, {"Leaseq-Tenant": "a"}
        await api.service.engine.access.create_tenant("a")
        with ExitStack() as stack:
            for tenant in "aaaaaa":
                stack.enter_context(held.hold(bound_to(tenant)))
            problem(await api.client.get(path, headers=mine), "overloaded")
            for tenant in "bbbc":
                stack.enter_context(held.hold(bound_to(tenant)))
            assert held.count == 10
            problem(await api.client.get(path, headers=mine), "overloaded")
            for _ in range(2):
                stack.enter_context(held.hold(bound_to(None)))
            problem(await api.client.get(path), "overloaded")
        assert held.count == 0


async def test_a_stream_and_a_wait_end_with_their_key(
    guarded: Api, monkeypatch: pytest.MonkeyPatch, pace: Pace
) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT_SECONDS", 120)
    access = guarded.service.engine.access
    keys = [await issue(guarded, "read", "submit", tenant="acme") for _ in range(2)]
    body = {"type": "add", "payload": 1}
    submitted = await guarded.client.post("/api/tasks", json=body, headers=bearer(keys[0].text))
    path = f"/api/tasks/{submitted.json()['task_id']}"
    async with (
        serving(cast(Application, guarded.app)) as served,
        following(served.port, f"{path}/events", **bearer(keys[0].text)) as stream,
        following(served.port, f"{path}/events", **bearer(keys[1].text)) as other,
        following(served.port, "/api/events?queue=none", **bearer(keys[0].text)) as fleet,
    ):
        seen = await stream.until("state")
        assert not {"error", "result", "progress"} & set(seen.data)
        waiting = asyncio.create_task(
            guarded.client.get(f"{path}?wait=60", headers=bearer(keys[0].text))
        )
        await served.until(lambda: guarded.service.held.count == 4)
        await access.revoke_key(keys[0].key.id)
        async with asyncio.timeout(5 * pace.slowness):
            assert await stream.rest() == []
            assert await fleet.rest() == []
            problem(await waiting, "key_revoked")
        assert (await other.until("state")).data["state"] == "PENDING"
        guarded.service.stopping.set()


async def test_a_client_that_does_not_read_is_closed(
    api: Api, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    task_id = await api.submitted()
    claim = await claim_task(ledger, task_id, await open_worker(worker_ledger))
    large = b'"' + b"x" * 500_000 + b'"'
    async with serving(cast(Application, api.app), write_seconds=0.5) as served:
        client = await served.connect()
        client.send(get(f"/api/tasks/{task_id}/events"))
        await client.reader.readuntil(b"PROCESSING")
        assert isinstance(client.writer.transport, asyncio.Transport)
        client.writer.transport.pause_reading()
        number = 0
        async with asyncio.timeout(GIVE_UP_SECONDS):
            while api.service.held.count:
                number += 1
                await ledger.set_progress(claim, b"[%d,%b]" % (number, large))
                # Never more than the kernel takes and one event.
                assert served.server.in_flight < 2 * len(large)
        assert not served.server.connections
