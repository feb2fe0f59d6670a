"""Streams and waits outlive the restarts of every part, and have each end once."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter

import httpx
import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.embedded import PostgresServer, ValkeyServer
from leaseq.ledger.schema import migrate
from support.client import Client
from support.event_stream import Following, client_of, following
from support.processes import PATIENCE, Service, Services
from support.servers import free_port

STREAMS = 200
WAITS = 50


async def start_api(services: Services) -> tuple[Service, int]:
    api = await services.start("api", "--port", "0")
    (said,) = await api.hear("api.started")
    return api, said["port"]


async def test_a_stream_shows_a_task_from_a_worker_and_its_progress(
    services: Services, client: Client
) -> None:
    await services.worker()
    _, port = await start_api(services)
    task_id = await client.submit("report_progress")
    async with following(port, f"/api/tasks/{task_id}/events") as stream:
        events = await stream.rest()
    assert [event.data["progress"] for event in events if event.name == "progress"] == [
        {"done": 0.5}
    ]
    assert events[-1].data["state"] == "SUCCESS"
    assert len({event.event_id for event in events}) == len(events)


async def test_another_process_continues_the_stream_of_one_that_was_killed(
    services: Services, client: Client, config: Config
) -> None:
    first, port = await start_api(services)
    _, other_port = await start_api(services)
    task_id = await client.submit("nap", seconds=0)  # no worker
    path = f"/api/tasks/{task_id}/events"
    async with following(port, path) as stream:
        seen = await stream.until("state", state="PENDING")
        first.signal(signal.SIGKILL)
        with pytest.raises(httpx.RemoteProtocolError):
            await stream.next()
    async with following(other_port, path, last_id=seen.event_id) as stream:
        await client.engine.for_tenant("default").cancel(task_id)
        events = await stream.rest()
        last_id = stream.last_id
    assert [event.data["state"] for event in events] == ["CANCELLED"], "and no PENDING again"
    async with following(other_port, path, last_id=last_id) as stream:
        assert stream.answer.status_code == 204


async def test_sigterm_ends_streams_properly_and_soon(services: Services, client: Client) -> None:
    api, port = await start_api(services)
    task_id = await client.submit("nap", seconds=0)
    async with following(port, f"/api/tasks/{task_id}/events") as stream:
        await stream.until("state")
        api.signal(signal.SIGTERM)
        assert await stream.rest() == []
    assert await api.ended() == 0


async def ends_of(http: httpx.AsyncClient, task_id: str, opened: asyncio.Event) -> list[str]:
    """The terminal states that a stream shows of a task, until it ends."""
    async with http.stream("GET", f"/api/tasks/{task_id}/events") as answer:
        stream = Following(answer)
        states = []
        while (event := await stream.next()) is not None:
            opened.set()
            states.append(event.data["state"])
    return [state for state in states if state != "PENDING"]


async def open_streams(http: httpx.AsyncClient) -> tuple[list[str], list[asyncio.Task[list[str]]]]:
    """Tasks that no worker runs, and for each the reader of its stream."""
    ids, streams = [], []
    for _ in range(STREAMS):
        answer = await http.post("/api/tasks", json={"type": "add", "payload": 1})
        ids.append(answer.json()["task_id"])
    opened = [asyncio.Event() for _ in ids]
    for task_id, event in zip(ids, opened, strict=True):
        streams.append(asyncio.create_task(ends_of(http, task_id, event)))
    async with asyncio.timeout(PATIENCE):
        for event in opened:
            await event.wait()
    return ids, streams


async def wait_for(http: httpx.AsyncClient, task_id: str, failed: Counter[int]) -> list[str]:
    """The terminal state that waits show, where a wait that is not answered is sent again."""
    while True:
        answer = await http.get(f"/api/tasks/{task_id}?wait=60")
        if answer.status_code != 200:
            failed[answer.status_code] += 1
            await asyncio.sleep(0.1)  # as Retry-After asks, only sooner
        elif answer.json()["finished_at"] is not None:
            return [answer.json()["state"]]


async def watch_all(http: httpx.AsyncClient, shown: dict[str, str]) -> None:
    """The last states that the stream of all tasks shows."""
    async with http.stream("GET", "/api/events") as answer:
        stream = Following(answer)
        while (event := await stream.next()) is not None:
            shown[event.data["task_id"]] = event.data["state"]


async def test_streams_and_waits_outlive_restarts_of_both_servers(
    config: Config, own_postgres: PostgresServer, own_valkey: ValkeyServer
) -> None:
    await migrate(own_postgres.url)
    config = replace(
        config,
        postgres_url=own_postgres.url,
        redis_url=own_valkey.url,
        api_port=free_port(),
        statement_timeout_seconds=3,
    )
    services = Services(config)
    failed: Counter[int] = Counter()
    try:
        api = await services.start("api")
        await api.hear("api.started")
        async with client_of(config.api_port) as http:
            shown: dict[str, str] = {}
            watching = asyncio.create_task(watch_all(http, shown))
            ids, streams = await open_streams(http)
            waits = [
                asyncio.create_task(wait_for(http, task_id, failed)) for task_id in ids[:WAITS]
            ]
            for server in (own_valkey, own_postgres, own_valkey):
                await asyncio.to_thread(server.stop)
                await asyncio.to_thread(server.start)
            assert not any(stream.done() for stream in streams)
            async with asyncio.timeout(PATIENCE):
                for task_id in ids:
                    while (await http.post(f"/api/tasks/{task_id}/cancel")).status_code != 200:  # noqa: ASYNC110 - as Retry-After asks
                        await asyncio.sleep(0.1)
                found = await asyncio.gather(*streams, *waits)
                while shown != dict.fromkeys(ids, "CANCELLED"):
                    assert not watching.done()
                    await asyncio.sleep(0.05)
            watching.cancel()
        assert found == [["CANCELLED"]] * (STREAMS + WAITS)
        assert set(failed) <= {503}
        assert not api.heard("request.failed")
    finally:
        await services.destroy()
