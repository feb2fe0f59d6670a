"""Deadlines and bounds of the HTTP server."""

from __future__ import annotations

import asyncio

import pytest

from leaseq.observability.telemetry import recorded
from leaseq_api.http_server.limits import Limits
from support.raw_http import GET, POST, Client, Echo, get, serving, take_apart, with_length

SOON = 0.2
LATE = 100.0
NEVER = {"header_seconds": LATE, "body_seconds": LATE, "idle_seconds": LATE, "write_seconds": LATE}


async def drip(client: Client, piece: bytes) -> None:
    """Send a piece again and again, as long as the server listens."""
    while not client.reader.at_eof():
        client.send(piece)
        await asyncio.sleep(0.02)


def test_a_proxy_may_keep_a_connection_for_longer_than_it_does() -> None:
    limits = Limits()
    assert limits.idle_seconds >= 75
    assert limits.header_seconds == 10
    assert limits.tick_seconds <= 1


@pytest.mark.parametrize(
    ("begun", "more", "limit", "code"),
    [
        (GET[:20], b"", "header_seconds", "head_timeout"),
        (GET[:-2], b"X: y\r\n", "header_seconds", "head_timeout"),
        (b"G", b"", "header_seconds", "head_timeout"),
        (POST + b"Content-Length: 900\r\n\r\n", b"a", "body_seconds", "body_timeout"),
        (
            POST + b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n",
            b"",
            "body_seconds",
            "body_timeout",
        ),
        (
            POST + b"Transfer-Encoding: chunked\r\n\r\n",
            b"1\r\na\r\n",
            "body_seconds",
            "body_timeout",
        ),
        (GET + GET[:20], b"", "header_seconds", "head_timeout"),
    ],
)
async def test_a_request_that_does_not_arrive_is_a_408(
    echo: Echo, begun: bytes, more: bytes, limit: str, code: str
) -> None:
    async with serving(echo, **(NEVER | {limit: SOON})) as served:
        client = await served.connect()
        client.send(begun)
        dripping = asyncio.create_task(drip(client, more))
        answers = take_apart((await client.rest()).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n"))
        assert answers[-1].code == code
        client.close()
        await dripping


@pytest.mark.parametrize("sent", [b"", b"\r\n", GET])
async def test_an_idle_connection_is_closed_without_a_word(echo: Echo, sent: bytes) -> None:
    async with serving(echo, **(NEVER | {"idle_seconds": SOON})) as served:
        client = await served.connect()
        client.send(sent)
        if sent == GET:
            await client.answer()
        assert await client.rest() == b""


async def test_no_deadline_cuts_a_held_answer_or_an_idle_connection_short(echo: Echo) -> None:
    short = {"header_seconds": SOON, "body_seconds": SOON, "write_seconds": SOON}
    async with serving(echo, idle_seconds=LATE, **short) as served:
        held, idle = await served.connect(), await served.connect()
        assert (await idle.ask(GET)).status == 200
        held.send(get("/held"))
        await asyncio.sleep(5 * SOON)
        echo.release.set()
        assert (await held.answer()).status == 200
        assert (await idle.ask(GET)).status == 200


async def test_a_client_that_takes_no_answer_is_cut_off(echo: Echo) -> None:
    async with serving(echo, **(NEVER | {"write_seconds": SOON})) as served:
        client = await served.connect()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(get("/large"))
        await served.until(lambda: echo.ended == ["/large"])
        await served.until(lambda: not served.server.connections)


async def test_a_client_that_takes_its_answer_slowly_gets_all_of_it(echo: Echo) -> None:
    """For longer than the time that it has without any progress."""
    seconds = 5 * SOON
    async with serving(echo, **(NEVER | {"write_seconds": seconds})) as served:
        client = await served.connect()
        client.send(get("/large", b"Connection: close\r\n"))
        size, slow = 0, asyncio.get_running_loop().time() + 1.5 * seconds
        while piece := await client.reader.read(524_288):
            size += len(piece)
            if asyncio.get_running_loop().time() < slow:
                await asyncio.sleep(SOON / 10)
        assert size > 64 * 262_144


@pytest.mark.parametrize("begun", [b"", GET, GET[:20], POST + b"Content-Length: 9\r\n\r\na"])
async def test_connections_that_owe_a_request_make_room(echo: Echo, begun: bytes) -> None:
    async with serving(echo, connections=4, **NEVER) as served:
        first, *_ = clients = [await served.connect() for _ in range(4)]
        for client in clients:
            if begun == GET:
                await client.ask(GET)
            else:
                client.send(begun)
        await served.until(lambda: len(served.server.connections) == 4)
        for _ in range(10):
            newcomer = await served.connect()
            assert (await newcomer.ask(GET)).status == 200
        assert await first.rest() == b""
        assert len(served.server.connections) <= 4


async def test_an_idle_connection_makes_room_before_one_that_has_begun(echo: Echo) -> None:
    async with serving(echo, connections=2, **NEVER) as served:
        begun, idle = await served.connect(), await served.connect()
        await begun.ask(GET)
        await idle.ask(GET)
        begun.send(GET[:10])
        await served.until(
            lambda: sum(not connection.idle for connection in served.server.connections) == 1
        )
        assert (await (await served.connect()).ask(GET)).status == 200
        assert await idle.rest() == b""
        assert (await begun.ask(GET[10:])).status == 200


async def test_while_all_connections_are_owed_an_answer_only_health_is_served(echo: Echo) -> None:
    async with serving(echo, connections=3, spare_connections=2, **NEVER) as served:
        held = [await served.connect() for _ in range(3)]
        for client in held:
            client.send(get("/held"))
        await served.until(lambda: len(echo.asked) == 3)
        with recorded() as events:
            for _ in range(3):
                client = await served.connect()
                client.send(GET)
                (answer,) = take_apart(await client.rest())
                assert (answer.code, answer.headers["connection"]) == ("overloaded", "close")
                client.close()
            client = await served.connect()
            client.send(get("/health/live"))
            (answer,) = take_apart(await client.rest())
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            client.close()
            await served.until(lambda: len(served.server.connections) == 3)
            # the first of them makes room for the last
            spare = [await served.connect() for _ in range(3)]
            assert await spare.pop(0).rest() == b""
            for client in spare:
                client.send(get("/health/held"))
            await served.until(lambda: len(echo.asked) == 6)
            (answer,) = take_apart(await (await served.connect()).rest())  # before it has asked
            assert answer.code == "overloaded"
        assert [event.name for event in events] == ["api.crowded"]  # once, however often
        echo.release.set()
        for client in held + spare:
            assert (await client.answer()).status == 200


async def test_bytes_in_flight_are_bounded_and_the_slowest_body_gives_way(echo: Echo) -> None:
    async with serving(echo, body_bytes=1000, in_flight_bytes=2500, **NEVER) as served:
        slow = [await served.connect() for _ in range(2)]
        for number, client in enumerate(slow):
            client.send(POST + b"Content-Length: 1000\r\n\r\n" + b"a" * 999)
            await served.until(lambda number=number: served.server.in_flight == 999 * (number + 1))  # type: ignore[misc]
        assert (await (await served.connect()).ask(with_length(b"a" * 1000))).status == 200
        (answer,) = take_apart(await slow[0].rest())
        assert answer.code == "overloaded"
        assert (await slow[1].ask(b"a")).status == 200
        assert served.server.in_flight == 0


async def test_bytes_that_are_worked_on_give_way_to_nothing(echo: Echo) -> None:
    async with serving(echo, body_bytes=1000, in_flight_bytes=2500, **NEVER) as served:
        held = [await served.connect() for _ in range(2)]
        for client in held:
            client.send(with_length(b"a" * 1000, b"/held"))
        await served.until(lambda: len(echo.asked) == 2)
        refused = await served.connect()
        refused.send(with_length(b"a" * 1000))
        assert take_apart(await refused.rest())[0].code == "overloaded"
        held[0].writer.transport.abort()
        assert (await (await served.connect()).ask(GET)).status == 200
        assert served.server.in_flight == 2000  # the application still works on it
        echo.release.set()
        await served.until(lambda: served.server.in_flight == 0)
        assert (await held[1].answer()).status == 200


async def test_answers_that_are_not_taken_count_as_in_flight_and_give_way(echo: Echo) -> None:
    async with serving(echo, in_flight_bytes=100_000, **NEVER) as served:
        client = await served.connect()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(get("/large"))
        await served.until(lambda: served.server.in_flight > 100_000)
        assert (await (await served.connect()).ask(get("/health/live"))).status == 200
        assert served.server.in_flight > 100_000
        assert (await (await served.connect()).ask(GET)).status == 200
        await served.until(lambda: "/large" in echo.ended)
        assert served.server.in_flight == 0


async def test_connections_that_take_no_answer_make_room(echo: Echo) -> None:
    async with serving(echo, connections=2, **NEVER) as served:
        for _ in range(2):
            client = await served.connect()
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            client.send(get("/large"))
        await served.until(
            lambda: sum(connection.stuck for connection in served.server.connections) == 2
        )
        assert (await (await served.connect()).ask(GET)).status == 200
        assert (await (await served.connect()).ask(GET)).status == 200
