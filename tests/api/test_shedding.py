"""An overloaded server refuses requests whose turn does not come."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from leaseq.observability.telemetry import Event, recorded
from leaseq_api.http_server import admission
from leaseq_api.http_server.admission import step_aside
from leaseq_api.http_server.limits import LargeBody
from support.raw_http import Client, Echo, Served, get, serving, take_apart, with_length

SOON = 0.1
HELD = with_length(b"1", b"/held")
NEXT = with_length(b"2", b"/next")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "WAIT_SECONDS", SOON)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is shed during a test."""
    monkeypatch.setattr(admission, "WAIT_SECONDS", 3_600.0)


@pytest.fixture
def events() -> Iterator[list[Event]]:
    with recorded() as found:
        yield found


async def occupied(served: Served, echo: Echo, *, count: int = 1) -> list[Client]:
    """So many changes that are worked on until the echo is released."""
    clients = [await served.connect() for _ in range(count)]
    for client in clients:
        client.send(HELD)
    await served.until(lambda: echo.asked == ["/held"] * count)
    return clients


async def test_a_request_whose_turn_does_not_come_is_refused_and_its_connection_kept(
    echo: Echo,
) -> None:
    async with serving(echo, working=2) as served:
        held = await occupied(served, echo, count=2)
        client = await served.connect()
        refused = await client.ask(NEXT)
        assert (refused.status, refused.code) == (503, "overloaded")
        assert refused.headers["retry-after"] in ("1", "2", "3")
        assert "connection" not in refused.headers
        echo.release.set()
        assert [(await one.answer()).status for one in held] == [200, 200]
        assert (await client.ask(NEXT)).status == 200
        assert echo.asked == ["/held", "/held", "/next"]
        assert served.server.changes.working == 0


async def test_clients_are_told_to_come_back_at_different_times(echo: Echo) -> None:
    async with serving(echo, working=1) as served:
        await occupied(served, echo)
        clients = [await served.connect() for _ in range(40)]
        answers = await asyncio.gather(*(client.ask(NEXT) for client in clients))
        assert {answer.headers["retry-after"] for answer in answers} == {"1", "2", "3"}
        echo.release.set()


async def test_health_and_requests_of_the_other_kind_are_answered(echo: Echo) -> None:
    async with serving(echo, working=1) as served:
        await occupied(served, echo)
        client = await served.connect()
        assert (await client.ask(get("/health/live"))).status == 200
        assert (await client.ask(get("/tasks"))).status == 200
        reader = await served.connect()
        reader.send(get("/held"))
        await served.until(lambda: echo.asked[-1] == "/held")
        assert (await client.ask(get("/health/ready"))).status == 200
        assert (await client.ask(get("/tasks"))).code == "overloaded"
        echo.release.set()


async def test_the_newest_request_has_the_next_turn(echo: Echo, patient: None) -> None:
    async with serving(echo, working=1) as served:
        (held,) = await occupied(served, echo)
        waiting = [await served.connect() for _ in range(3)]
        for number, client in enumerate(waiting):
            client.send(with_length(b"2", b"/%d" % number))
            await served.until(lambda: served.server.changes.waiting == number + 1)  # noqa: B023
        echo.release.set()
        for client in (held, *waiting):
            assert (await client.answer()).status == 200
        assert echo.asked == ["/held", "/2", "/1", "/0"]


async def test_a_request_whose_client_has_gone_is_not_begun(echo: Echo, patient: None) -> None:
    async with serving(echo, working=1) as served:
        (held,) = await occupied(served, echo)
        for raw in (NEXT, with_length(bytes(10_000), b"/large.body")):
            client = await served.connect()
            client.send(raw)
            await served.until(lambda: served.server.changes.waiting > 0)
            client.close()
            await served.until(lambda: len(served.server.connections) == 1)
        assert served.server.in_flight == 1
        echo.release.set()
        assert (await held.answer()).status == 200
        assert (await held.ask(NEXT)).status == 200
        assert echo.asked == ["/held", "/next"]
        assert served.server.changes.working == served.server.changes.waiting == 0


async def test_what_waits_is_bounded_and_nothing_is_left_of_what_was_shed(echo: Echo) -> None:
    async with serving(echo, working=1, connections=200) as served:
        await occupied(served, echo)
        clients = [await served.connect() for _ in range(150)]
        for _ in range(3):
            for client in clients:
                client.send(with_length(bytes(1_000), b"/next"))
            await served.until(lambda: served.server.in_flight > 100_000)
            assert served.server.changes.waiting <= 150
            answers = await asyncio.gather(*(client.answer() for client in clients))
            assert {answer.code for answer in answers} == {"overloaded"}
            assert served.server.in_flight == 1
            assert served.server.changes.waiting == 0
        echo.release.set()


async def test_requests_sent_ahead_are_refused_in_order(echo: Echo) -> None:
    async with serving(echo, working=1) as served:
        await occupied(served, echo)
        client = await served.connect()
        client.send(with_length(b"2", b"/first") + with_length(b"3", b"/second"))
        first, second = await client.answer(), await client.answer()
        assert (b"/first" in first.body, b"/second" in second.body) == (True, True)
        assert first.code == second.code == "overloaded"
        echo.release.set()


async def test_the_head_alone_and_an_old_version_are_refused_in_their_way(echo: Echo) -> None:
    async with serving(echo, working=1) as served:
        reader = await served.connect()
        reader.send(get("/held"))
        await served.until(lambda: echo.asked == ["/held"])
        client = await served.connect()
        client.send(get("/tasks", b"Connection: close\r\n").replace(b"GET", b"HEAD"))
        (head,) = take_apart(await client.rest(), heads=True)
        assert (head.status, head.body, head.headers["connection"]) == (503, b"", "close")
        old = await served.connect()
        old.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        (answer,) = take_apart(await old.rest())
        assert (answer.code, answer.headers["connection"]) == ("overloaded", "close")
        echo.release.set()


async def test_a_streamed_body_is_refused_before_it_has_arrived(echo: Echo) -> None:
    large = {b"/batch": LargeBody(10_000_000, b"text/lines")}
    async with serving(echo, working=1, large_bodies=large) as served:
        await occupied(served, echo)
        client = await served.connect()
        client.send(
            b"POST /batch HTTP/1.1\r\nHost: a\r\nContent-Type: text/lines\r\nContent-Length: 900000\r\n\r\nab"
        )
        (answer,) = take_apart(await client.rest())
        assert (answer.code, answer.headers["connection"]) == ("overloaded", "close")
        assert "/batch" not in echo.asked
        echo.release.set()


class Waiting:
    """An application that steps aside, and waits until it is released."""

    def __init__(self) -> None:
        self.aside = 0
        self.release = asyncio.Event()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body: dict[str, Any] = {"type": "http.response.body", "body": b"a", "more_body": True}
        start = {"type": "http.response.start", "status": 200, "headers": []}
        if scope["path"] != "/":
            step_aside(scope)
            step_aside(scope)  # once is enough
        if scope["path"] == "/streams":
            await send(start)
            await send(body)
        if scope["path"] != "/":
            self.aside += 1
            await self.release.wait()
        if scope["path"] != "/streams":
            await send(start)
        await send(body | {"more_body": False})


@pytest.mark.parametrize("path", ["/waits", "/streams"])
async def test_a_request_that_waits_for_something_else_does_not_count(path: str) -> None:
    application = Waiting()
    async with serving(application, working=1) as served:
        holding = [await served.connect() for _ in range(3)]
        for client in holding:
            client.send(get(path))
        await served.until(lambda: application.aside == 3)
        client = await served.connect()
        assert (await client.ask(get("/"))).status == 200
        application.release.set()
        await served.until(lambda: served.server.reads.working == 0)
        assert (await client.ask(get("/"))).status == 200


async def test_shedding_is_reported_now_and_then(
    echo: Echo, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(echo, working=1) as served:
        await occupied(served, echo)
        client = await served.connect()
        for _ in range(3):
            assert (await client.ask(NEXT)).code == "overloaded"
        monkeypatch.setattr(admission, "SHEDDING_EVERY_SECONDS", 0.0)
        assert (await client.ask(NEXT)).code == "overloaded"
        told = [event.fields for event in events if event.name == "api.shedding"]
        assert told == [
            {"kind": "changes", "refused": 1, "waiting": 0},
            {"kind": "changes", "refused": 3, "waiting": 0},
        ]
        echo.release.set()
