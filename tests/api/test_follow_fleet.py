"""The stream of all tasks has the changes that a key may see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest

from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.operations import feed
from leaseq_api.follow import event_stream
from leaseq_api.http_server.exchange import Application
from support.api import Api, problem
from support.event_stream import Following, following
from support.keys import bearer, issue
from support.ledger import claim_task, open_worker, succeeded
from support.raw_http import Served, serving


@pytest.fixture
async def served(api: Api) -> AsyncIterator[Served]:
    """The application of `api` on a port."""
    async with serving(cast(Application, api.app)) as served:
        yield served
        api.service.stopping.set()


async def has_begun(api: Api, *, listeners: int = 1) -> None:
    """The listeners have the position of a look."""

    def found() -> int:
        listening = api.service.engine.feed._listeners
        return sum(listener._next_horizon is not None for listener in listening)

    async with asyncio.timeout(60):
        while found() < listeners:  # noqa: ASYNC110 - the feed has no event for this
            await asyncio.sleep(0.01)


async def states(stream: Following, count: int) -> list[tuple[str, str]]:
    """The next events `state`."""
    return [
        (event.data["task_id"], event.data["state"])
        for event in [await stream.until("state") for _ in range(count)]
    ]


async def test_submissions_and_changes_are_shown_and_old_tasks_are_not(
    api: Api, served: Served, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    old = await api.submitted()
    worker_id = await open_worker(worker_ledger)
    async with following(served.port, "/api/events") as stream:
        await has_begun(api)
        new = await api.submitted()
        assert await states(stream, 1) == [(new, "PENDING")]
        claim = await claim_task(ledger, old, worker_id)
        event = await stream.until("state")
        assert (event.data["task_id"], event.data["state"]) == (old, "PROCESSING")
        await ledger.set_progress(claim, b"1")  # which is no news here
        await ledger.settle([succeeded(claim)])
        assert await states(stream, 1) == [(old, "SUCCESS")]
    api.document.validate({"$ref": "#/components/schemas/ListedTaskView"}, event.data)


async def test_filters_and_tenants(guarded: Api) -> None:
    keys = {name: await issue(guarded, "read", "submit", tenant=name) for name in ("acme", "other")}
    unbound = await issue(guarded, "read")

    async def submit(tenant: str, **body: str) -> str:
        answer = await guarded.client.post(
            "/api/tasks",
            json={"type": "add", "payload": 1} | body,
            headers=bearer(keys[tenant].text),
        )
        task_id: str = answer.json()["task_id"]
        return task_id

    async with (
        serving(cast(Application, guarded.app)) as served,
        following(served.port, "/api/events", **bearer(keys["acme"].text)) as acme,
        following(served.port, "/api/events?queue=slow", **bearer(unbound.text)) as slow,
        following(served.port, "/api/events?type=mail", **bearer(unbound.text)) as mails,
    ):
        await has_begun(guarded, listeners=3)
        first = await submit("other", queue="slow")
        second = await submit("acme", type="mail")
        third = await submit("other", queue="slow", type="mail")
        fourth = await submit("acme", queue="slow")
        assert {i for i, _ in await states(acme, 2)} == {second, fourth}
        assert {i for i, _ in await states(slow, 3)} == {first, third, fourth}
        assert {i for i, _ in await states(mails, 2)} == {second, third}
        guarded.service.stopping.set()
        assert [await stream.rest() for stream in (acme, slow, mails)] == [[], [], []]


async def test_a_client_that_comes_back_gets_what_it_missed(
    api: Api, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT_SECONDS", 0.05)
    async with following(served.port, "/api/events") as stream:
        reading = asyncio.create_task(stream.next())
        await served.until(lambda: bool(stream.last_id))  # a silent stream moves on, too
        reading.cancel()
    first = await api.submitted()
    await served.until(lambda: not api.service.engine.feed._listeners)
    async with following(served.port, "/api/events", last_id=stream.last_id) as stream:
        second = await api.submitted()
        found = dict(await states(stream, 2))
    assert found.keys() == {first, second}
    # has_begun would see the listener of the stream before
    await served.until(lambda: not api.service.engine.feed._listeners)
    async with following(served.port, "/api/events", last_id="no id of ours") as stream:
        await has_begun(api)
        third = await api.submitted()
        shown = await states(stream, 1)
        while shown[-1] == (second, "PENDING"):
            # It was written while a transaction of any database of the server was open that still
            # is: a new stream may begin before it.
            shown = await states(stream, 1)
        assert shown == [(third, "PENDING")]


async def test_a_listener_that_takes_nothing_holds_a_bounded_number_of_changes(api: Api) -> None:
    ids = [await api.submitted() for _ in range(5)]
    written = await api.service.engine.stores.followed.list_written((), rows=10, since=None)
    assert [task.task_id for task in written.tasks] == sorted(ids)
    listener = feed.Listener(feed.FeedFilter(None, None, None))
    for _ in range(feed.WAITING):
        listener.put(written.tasks, written.horizon)
    tasks, missed = listener.take()
    assert (len(tasks), missed) == (feed.WAITING, 4 * feed.WAITING)
    assert listener.take() == ([], 0)


async def test_without_listeners_no_one_looks(api: Api, served: Served) -> None:
    async with following(served.port, "/api/events"):
        await has_begun(api)
    looking = api.service.engine.feed._looking
    assert looking is not None
    await asyncio.wait([looking])


async def test_a_stream_ends_after_the_time_that_was_asked_for(api: Api) -> None:
    answer = await api.client.get("/api/events?seconds=0.01")
    assert answer.headers["content-type"] == "text/event-stream"
    for query in ("seconds=-1", "seconds=nan", "seconds=1e9", "queue=a%20b", "type=", "tenant=a"):
        problem(await api.client.get(f"/api/events?{query}"), "parameter_invalid")
    task_id = await api.submitted()
    answer = await api.client.get(f"/api/tasks/{task_id}/events?seconds=0.01")
    assert b"PENDING" in answer.content
    problem(await api.client.get(f"/api/tasks/{task_id}/events?queue=a"), "parameter_invalid")
