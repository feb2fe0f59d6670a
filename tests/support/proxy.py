"""A proxy that injects network faults on demand.

A TCP proxy on the loopback, in the event loop of the test: it can lose the reply to a command that
the server has carried out, freeze (bytes stay under way, connections stay up), delay, cut open
connections, and refuse new ones. It looks for byte strings in what the client sends and knows
nothing of the protocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit, urlunsplit

import pytest

from leaseq_chaos.cluster.relay import Relay

# The end of the server's answer in the protocol of Postgres: idle again, hence committed or rolled
# back.
READY_FOR_QUERY = b"Z\x00\x00\x00\x05I"

ProxyTo = Callable[[str], Awaitable["Proxy"]]


@pytest.fixture
async def proxy_to() -> AsyncIterator[ProxyTo]:
    """A function from the URL of a server to a proxy in front of it; `proxy.url` is the URL to use
    instead."""
    proxies: list[Proxy] = []

    async def start(url: str) -> Proxy:
        proxy = Proxy(url)
        await proxy.start()
        proxies.append(proxy)
        return proxy

    yield start
    for proxy in proxies:
        await proxy.aclose()


class Trap:
    """A needle in what the client sends. Once the server has answered it, the answer is lost and
    the connection cut; or with `before` it is the command that is lost, and the server never sees
    it; or with `late` the command is held under way until `let_go` is set, and then the server gets
    it, whether or not the client still waits."""

    def __init__(
        self, needle: bytes, until: bytes = b"", *, before: bool = False, late: bool = False
    ) -> None:
        self.needle = needle
        # the answer is over when it holds these bytes; empty: with its first byte
        self.until = until
        self.before = before
        self.late = late
        self.let_go = asyncio.Event()
        self.answer = bytearray()
        self.sprung = asyncio.Event()


class Link:
    """One connection through the proxy: a transport on each side, and the trap it has run into."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.tail = b""  # of what the client sent, for needles that span two reads
        self.trap: Trap | None = None

    def cut(self) -> None:
        self.client.transport.abort()
        self.server.transport.abort()


class Proxy:
    """A port of 127.0.0.1 that leads to a server, and can be redirected."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._relay = Relay(
            _address(url),
            join=Link,
            carry=self._carry,
            refuse=lambda client: client.transport.abort(),
        )
        self._traps: list[Trap] = []
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.delay_seconds = 0.0  # of each read, in both directions
        self.sent = bytearray()  # everything that clients have sent, through all connections
        self.received_bytes = 0  # by clients

    async def start(self) -> None:
        await self._relay.start()

    @property
    def refusing(self) -> bool:
        """Whether new connections are cut."""
        return self._relay.refusing

    @refusing.setter
    def refusing(self, refusing: bool) -> None:
        self._relay.refusing = refusing

    @property
    def url(self) -> str:
        """The URL of the server with the address of the proxy in it."""
        user, at, _ = self._parts.netloc.rpartition("@")
        return urlunsplit(self._parts._replace(netloc=f"{user}{at}127.0.0.1:{self._relay.port}"))

    def lose_reply(self, needle: bytes, *, until: bytes = b"") -> Trap:
        """Let the next command that holds `needle` through, then lose its reply and cut that
        connection."""
        trap = Trap(needle, until)
        self._traps.append(trap)
        return trap

    def lose_command(self, needle: bytes) -> Trap:
        """Cut the connection at the next command that holds `needle`, before the server sees it."""
        trap = Trap(needle, before=True)
        self._traps.append(trap)
        return trap

    def hold_command(self, needle: bytes) -> Trap:
        """Keep the next command that holds `needle` under way until the trap's `let_go` is set."""
        trap = Trap(needle, late=True)
        self._traps.append(trap)
        return trap

    def lead_to(self, url: str) -> None:
        """Have new connections made to another server; those that are open stay where they are."""
        self._relay.target = _address(url)

    def freeze(self) -> None:
        """Freeze all bytes, without an error."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Let all bytes move again, the older ones first."""
        self._flowing.set()

    def cut(self) -> None:
        """Reset every open connection, on both sides."""
        self._relay.cut()

    async def aclose(self) -> None:
        self.thaw()
        await self._relay.aclose()

    async def _carry(
        self, link: Link, forth: asyncio.StreamReader, back: asyncio.StreamReader
    ) -> None:
        await asyncio.gather(self._to_server(link, forth), self._to_client(link, back))

    async def _to_server(self, link: Link, reader: asyncio.StreamReader) -> None:
        async for chunk in self._chunks(link, reader):
            self.sent += chunk
            text = link.tail + chunk
            for trap in self._traps:
                # Of earlier bytes, only the possible beginning of the needle: a command that has
                # passed springs no trap.
                if (
                    link.trap is None
                    and text.find(trap.needle, max(0, len(link.tail) - len(trap.needle) + 1)) >= 0
                ):
                    link.trap = trap
            if link.trap is not None and link.trap in self._traps:
                self._traps.remove(link.trap)
            link.tail = text[-200:]
            if link.trap is not None and link.trap.before:
                link.cut()
                link.trap.sprung.set()
                return
            if link.trap is not None and link.trap.late:
                trap, link.trap = link.trap, None
                trap.sprung.set()
                await trap.let_go.wait()
            link.server.write(chunk)

    async def _to_client(self, link: Link, reader: asyncio.StreamReader) -> None:
        async for chunk in self._chunks(link, reader):
            trap = link.trap
            if trap is None:
                self.received_bytes += len(chunk)
                link.client.write(chunk)
                continue
            trap.answer += chunk
            if trap.until in trap.answer:
                link.cut()
                trap.sprung.set()

    async def _chunks(self, link: Link, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
        """Bytes that arrive on one side, when it may go on; the end of either side is the end of
        both."""
        try:
            while chunk := await reader.read(65_536):
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                await self._flowing.wait()
                yield chunk
        except (ConnectionError, OSError):
            pass
        link.client.close()
        link.server.close()


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname, "the proxy speaks TCP only"
    assert parts.port, "the proxy speaks TCP only"
    return parts.hostname, parts.port


__all__ = ["READY_FOR_QUERY", "Link", "Proxy", "ProxyTo", "Trap", "proxy_to"]
