"""Bodies that the HTTP server hands to the application in pieces, without stores."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from leaseq_api.http_server.incoming import FULL_BYTES
from leaseq_api.http_server.limits import LargeBody
from leaseq_api.refused import Refused
from support.raw_http import Client, Served, get, serving, take_apart

MOST = 4_194_304
LARGE = {"large_bodies": {b"/large": LargeBody(MOST, b"text/lines")}}
HEAD = b"POST /large HTTP/1.1\r\nHost: a\r\nContent-Type: text/lines\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
SOON, LATE = 0.2, 100.0
NEVER = {"header_seconds": LATE, "body_seconds": LATE, "idle_seconds": LATE, "write_seconds": LATE}


def sized(count: int, *headers: bytes) -> bytes:
    return HEAD + b"".join(headers) + b"Content-Length: %d\r\n\r\n" % count


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Taker:
    """Takes bodies piece by piece, as often as it is allowed to, and answers with what it saw."""

    def __init__(self) -> None:
        self.begun = 0
        self.pieces: list[bytes] = []
        self.ends: list[str] = []
        self.allowed = asyncio.Semaphore(1_000_000)
        self.answers_early = False

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.begun += 1
        more, end = not self.answers_early, "early"
        while more:
            await self.allowed.acquire()
            try:
                message = await receive()
            except Refused as refused:
                more, end = False, refused.code
            else:
                more, end = message.get("more_body", False), message["type"]
                self.pieces.append(message.get("body", b""))
        self.ends.append(end)
        if end == "http.disconnect":
            raise RuntimeError("the client has gone")
        body = msgspec.json.encode([end, sum(map(len, self.pieces))])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    @property
    def size(self) -> int:
        return sum(map(len, self.pieces))


@pytest.fixture
def taker() -> Taker:
    return Taker()


@pytest.fixture
async def served(taker: Taker) -> AsyncIterator[Served]:
    async with serving(taker, **LARGE, **NEVER) as served:
        yield served


async def answered(client: Client) -> list[Any]:
    """The end and the size that the application saw, and whether the connection stays open."""
    answer = await client.answer()
    assert answer.status == 200
    end, size = msgspec.json.decode(answer.body)
    return [end, size, answer.headers.get("connection") != "close"]


async def test_pieces_come_while_the_body_arrives(served: Served, taker: Taker) -> None:
    for first, last in (
        (sized(10) + b"abc", b"defghij"),
        (CHUNKED + chunk(b"abc"), chunk(b"defghij") + chunk(b"")),
    ):
        client = await served.connect()
        client.send(first)
        await served.until(lambda: taker.size == 3)
        client.send(last)
        assert await answered(client) == ["http.request", 10, True]
        client.send(get("/other"))  # the same connection
        await answered(client)
        taker.pieces.clear()


async def test_a_body_of_another_type_comes_whole(served: Served, taker: Taker) -> None:
    client = await served.connect()
    client.send(sized(3_000_000).replace(b"text/lines", b"text/other") + bytes(2_999_999))
    await client.writer.drain()
    await served.until(lambda: served.server.in_flight == 2_999_999)
    assert taker.begun == 0
    client.send(b"a")
    assert await answered(client) == ["http.request", 3_000_000, True]


async def test_a_client_waits_while_the_application_does_not_take(
    served: Served, taker: Taker
) -> None:
    taker.allowed = asyncio.Semaphore(0)
    client = await served.connect()
    client.send(sized(MOST) + bytes(MOST))
    await served.until(lambda: served.server.in_flight >= FULL_BYTES)
    for _ in range(50):
        await asyncio.sleep(0)
        assert served.server.in_flight < 3 * FULL_BYTES
    taker.allowed.release()
    await served.until(lambda: taker.size > 0)
    assert served.server.in_flight < 3 * FULL_BYTES
    for _ in range(MOST):
        taker.allowed.release()
    assert await answered(client) == ["http.request", MOST, True]
    assert served.server.in_flight == 0


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (CHUNKED + chunk(bytes(MOST + 1)), "body_too_large"),
        (CHUNKED + chunk(b"abc") + b"x\r\n", "request_malformed"),
        (CHUNKED + chunk(b"abc") + (b"1;" + b"x" * 60_000 + b"\r\na\r\n") * 150, "body_too_large"),
    ],
)
async def test_the_application_learns_that_the_rest_is_refused(
    served: Served, sent: bytes, code: str
) -> None:
    client = await served.connect()
    client.send(sent)
    end, _, stays = await answered(client)
    assert (end, stays) == (code, False)
    assert await client.rest() == b""


async def test_a_body_that_ends_early_is_refused(served: Served, taker: Taker) -> None:
    client = await served.connect()
    client.send(sized(10) + b"abc")
    client.writer.write_eof()
    assert await answered(client) == ["request_malformed", 3, False]


async def test_the_application_learns_that_the_client_has_gone(
    served: Served, taker: Taker
) -> None:
    client = await served.connect()
    client.send(sized(10) + b"abc")
    await served.until(lambda: taker.size == 3)
    sock = client.writer.transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.writer.transport.abort()  # with a reset: after a FIN the client may wait for an answer
    await served.until(lambda: taker.ends == ["http.disconnect"])
    await served.until(lambda: not served.server.connections)


async def test_a_large_body_has_its_time_for_each_step(taker: Taker) -> None:
    times = NEVER | {"body_seconds": SOON}
    async with serving(taker, **LARGE, **times, step_bytes=1000) as served:
        client = await served.connect()
        client.send(CHUNKED)
        until = asyncio.get_running_loop().time() + 5 * SOON
        while asyncio.get_running_loop().time() < until:
            client.send(chunk(b"a" * 1000))
            await asyncio.sleep(SOON / 10)
        assert taker.ends == []
        until = asyncio.get_running_loop().time() + 100 * SOON
        while not taker.ends and asyncio.get_running_loop().time() < until:
            client.send(chunk(b"a"))
            await asyncio.sleep(SOON / 10)
        assert taker.ends == ["body_timeout"]
        assert (await answered(client))[2] is False


async def test_no_time_passes_while_the_application_does_not_take(taker: Taker) -> None:
    taker.allowed = asyncio.Semaphore(0)
    async with serving(taker, **LARGE, **(NEVER | {"body_seconds": SOON})) as served:
        client = await served.connect()
        client.send(sized(MOST) + bytes(MOST))
        await served.until(lambda: served.server.in_flight >= FULL_BYTES)
        await asyncio.sleep(5 * SOON)
        for _ in range(MOST):
            taker.allowed.release()
        assert await answered(client) == ["http.request", MOST, True]


async def test_an_answer_before_the_body_reaches_a_client_that_sends_on(
    served: Served, taker: Taker
) -> None:
    taker.answers_early = True
    client = await served.connect()
    client.send(sized(MOST) + bytes(MOST))
    (answer,) = take_apart(await client.rest())
    assert msgspec.json.decode(answer.body) == ["early", 0]
    assert answer.headers["connection"] == "close"


async def test_100_comes_when_the_application_asks_for_the_body(
    served: Served, taker: Taker
) -> None:
    taker.allowed = asyncio.Semaphore(0)
    client = await served.connect()
    client.send(sized(2, b"Expect: 100-continue\r\n"))
    await served.until(lambda: taker.begun == 1)
    taker.allowed.release()
    assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    taker.allowed.release()
    client.send(b"ab")
    assert await answered(client) == ["http.request", 2, True]
    taker.answers_early = True
    client.send(sized(2, b"Expect: 100-continue\r\n"))
    assert (await answered(client))[2] is False  # and no 100 before


async def test_a_streamed_body_waits_for_the_answers_before(served: Served, taker: Taker) -> None:
    taker.allowed = asyncio.Semaphore(0)
    client = await served.connect()
    client.send(get("/first") + sized(1000) + b"a" * 500)
    await served.until(lambda: taker.begun == 1)
    client.send(b"a" * 500 + get("/last"))
    for _ in range(10):
        taker.allowed.release()
    answers = [await answered(client) for _ in range(3)]
    assert answers == [["http.request", size, True] for size in (0, 1000, 1000)]
    assert taker.begun == 3


async def test_a_body_that_finds_no_room_is_refused_in_the_middle(taker: Taker) -> None:
    taker.allowed = asyncio.Semaphore(0)
    async with serving(taker, **LARGE, **NEVER, in_flight_bytes=100_000) as served:
        client = await served.connect()
        client.send(sized(MOST) + bytes(200_000))
        taker.allowed.release()
        taker.allowed.release()
        assert (await answered(client))[0] == "overloaded"


async def test_a_connection_that_owes_a_body_makes_room(taker: Taker) -> None:
    async with serving(taker, **LARGE, **NEVER, connections=2) as served:
        clients = [await served.connect() for _ in range(2)]
        for client in clients:
            client.send(sized(10) + b"a")
        await served.until(lambda: taker.size == 2)
        newcomer = await served.connect()
        newcomer.send(get("/other"))
        assert (await newcomer.answer()).status == 200
        await served.until(lambda: "http.disconnect" in taker.ends)
        assert await clients[0].rest() == b""
