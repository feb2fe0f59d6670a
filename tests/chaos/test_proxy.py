"""The proxy injects network faults on demand, and none otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from leaseq_chaos.cluster.proxy import Proxy, Way

SOON = 5.0
Dial = Callable[[], Awaitable["Caller"]]


class Caller:
    """A client of the echoing server, through the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def ask(self, text: bytes) -> bytes:
        """Send a line, and read the one that comes back; empty or an error where the connection
        ends."""
        self.writer.write(text + b"\n")
        async with asyncio.timeout(SOON):
            return (await self._reader.readline()).rstrip(b"\n")

    async def rest(self) -> bytes:
        """The remaining bytes, until the connection ends in any way."""
        async with asyncio.timeout(SOON):
            try:
                return await self._reader.read()
            except ConnectionError:
                return b""


class Echo:
    """Answers each line with itself, and remembers what it was sent."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.news = asyncio.Condition()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                async with self.news:
                    self.heard.append(line.rstrip(b"\n"))
                    self.news.notify_all()
                writer.write(line)
        except ConnectionError:
            pass
        writer.close()

    async def hear(self, line: bytes) -> None:
        async with asyncio.timeout(SOON), self.news:
            await self.news.wait_for(lambda: line in self.heard)


@pytest.fixture
async def echo() -> Echo:
    return Echo()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[Proxy]:
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    between = Proxy("echo", server.sockets[0].getsockname()[1])
    await between.start()
    yield between
    await between.aclose()
    server.close()
    await server.wait_closed()


@pytest.fixture
async def dial(proxy: Proxy) -> AsyncIterator[Dial]:
    callers: list[Caller] = []

    async def connect() -> Caller:
        callers.append(Caller(*await asyncio.open_connection("127.0.0.1", proxy.port)))
        return callers[-1]

    yield connect
    for caller in callers:
        caller.writer.transport.abort()


async def test_left_alone_it_is_not_there(dial: Dial) -> None:
    caller = await dial()
    assert [await caller.ask(text) for text in (b"one", b"two")] == [b"one", b"two"]


async def test_a_stall_holds_bytes_back_and_loses_none(
    proxy: Proxy, dial: Dial, echo: Echo
) -> None:
    caller = await dial()
    proxy.stall(Way.BACK)
    asking = asyncio.create_task(caller.ask(b"one"))
    await echo.hear(b"one")
    assert not asking.done()
    proxy.clear()
    assert await asking == b"one"


async def test_a_half_open_peer_is_silent_and_gone_when_it_returns(
    proxy: Proxy, dial: Dial, echo: Echo, eventually: Callable[..., Any]
) -> None:
    caller = await dial()
    assert await caller.ask(b"one") == b"one"
    proxy.swallow()
    caller.writer.write(b"two\n")

    async def swallowed() -> bool:
        return any(link.dropped for link in proxy._relay.links)

    await eventually(swallowed)
    proxy.clear()
    assert await caller.rest() == b""
    assert echo.heard == [b"one"]


async def test_the_nth_reply_is_lost_after_the_server_has_heard(
    proxy: Proxy, dial: Dial, echo: Echo
) -> None:
    caller = await dial()
    proxy.lose_reply(2)
    assert await caller.ask(b"one") == b"one"
    caller.writer.write(b"two\n")
    assert await caller.rest() == b""
    assert (echo.heard, proxy.lost_replies) == ([b"one", b"two"], 1)
    assert await (await dial()).ask(b"three") == b"three"


async def test_the_reply_to_a_certain_request_is_lost(proxy: Proxy, dial: Dial, echo: Echo) -> None:
    caller = await dial()
    proxy.lose_reply(to=b"wo")
    assert await caller.ask(b"one") == b"one"
    assert proxy.lost_replies == 0
    caller.writer.write(b"two\n")
    assert await caller.rest() == b""
    assert (echo.heard, proxy.lost_replies) == ([b"one", b"two"], 1)


async def test_a_reply_is_cut_in_the_middle(proxy: Proxy, dial: Dial) -> None:
    caller = await dial()
    proxy.cut_after(4)
    caller.writer.write(b"longer than that\n")
    assert await caller.rest() in (b"long", b"")  # a reset may overtake written bytes
    assert proxy.cuts == 1


async def test_a_reset_ends_what_is_open_and_a_refusal_what_is_new(
    proxy: Proxy, dial: Dial
) -> None:
    caller = await dial()
    assert await caller.ask(b"one") == b"one"
    assert proxy.reset() == 1
    assert await caller.rest() == b""
    proxy.refuse()
    assert await (await dial()).rest() == b""
    proxy.clear()
    assert await (await dial()).ask(b"two") == b"two"
