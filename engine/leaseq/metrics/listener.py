"""Serve `GET /metrics` beside a process that has no HTTP service of its own.

One connection, one request, one answer. There are no keys: the address is for the monitoring alone,
and is on the loopback unless it is configured otherwise. On the loopback the Host header must be a
loopback name, so that no web page can read the answer by a name that it has bound to the loopback.

Invariants: a client is given `REQUEST_SECONDS`, and more than `MOST_CLIENTS` at a time are turned
away. No request reaches anything but the counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address

from leaseq.config import Config
from leaseq.errors import ConfigInvalid
from leaseq.metrics.catalogue import Role
from leaseq.metrics.event_counts import count_events
from leaseq.metrics.tally import Series
from leaseq.observability.telemetry import emit

PATH = "/metrics"
REQUEST_SECONDS = 5.0
MOST_CLIENTS = 16
HEAD_BYTES = 16_384
PLAIN = "text/plain; charset=utf-8"

# The text for an Accept header, and its content type.
Render = Callable[[str], Awaitable[tuple[bytes, str]]]
Answer = tuple[str, bytes, str]


@asynccontextmanager
async def serving_metrics(
    config: Config,
    role: Role,
    *sources: Callable[[], Iterable[Series]],
    refresh: Callable[[], Awaitable[None]] | None = None,
    pids: Callable[[], dict[str, int]] | None = None,
) -> AsyncIterator[None]:
    """Serve the metrics of `sources` while the block lasts, where a port is configured. `refresh` is
    awaited before they are asked. `pids`: of this process and of those that it speaks for. Raises
    `ConfigInvalid` if the address cannot be used."""
    if config.metrics_port is None:
        yield
        return
    from leaseq.metrics.exposition import Exposition  # an optional extra

    render = Exposition(role, *sources, refresh=refresh, pids=pids).render
    host, port = config.metrics_host, config.metrics_port
    listener = Listener(render, only_loopback=is_loopback(host))
    try:
        server = await asyncio.start_server(listener.serve, host, port, limit=HEAD_BYTES)
    except OSError as error:
        raise ConfigInvalid(
            f"LEASEQ_METRICS_PORT={port} cannot be used on {host} ({error.strerror}): each process"
            " needs a port of its own"
        ) from error
    stop_counting = count_events()
    try:
        emit("metrics.serving", host=host, port=server.sockets[0].getsockname()[1])
        yield
    finally:
        stop_counting()
        server.close()


class Listener:
    """Answers the requests of one port."""

    def __init__(self, render: Render, *, only_loopback: bool) -> None:
        self._render = render
        self._only_loopback = only_loopback
        self._clients = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, and close its connection."""
        self._clients += 1
        try:
            if self._clients <= MOST_CLIENTS:
                async with asyncio.timeout(REQUEST_SECONDS):
                    writer.write(await self._exchange(reader))
                    await writer.drain()
        except (
            TimeoutError,
            ConnectionError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
        ):
            pass  # the client is gone, or it is none
        finally:
            self._clients -= 1
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader) -> bytes:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        method, _, rest = first.partition(" ")
        headers = {
            name.strip().lower(): value.strip()
            for name, found, value in (line.partition(":") for line in lines)
            if found
        }
        path = rest.partition(" ")[0].partition("?")[0]
        line, body, content_type = await self._answer(method, path, headers)
        fields = (
            f"HTTP/1.1 {line}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
            "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
        )
        return fields.encode() + (b"" if method == "HEAD" else body)

    async def _answer(self, method: str, path: str, headers: dict[str, str]) -> Answer:
        if self._only_loopback and not is_loopback(_name_of(headers.get("host", "localhost"))):
            return "421 Misdirected Request", b"this address answers on the loopback only\n", PLAIN
        if path != PATH:
            return "404 Not Found", b"the metrics are at /metrics\n", PLAIN
        if method not in ("GET", "HEAD"):
            return "405 Method Not Allowed", b"send GET\n", PLAIN
        return "200 OK", *await self._render(headers.get("accept", ""))


def is_loopback(host: str) -> bool:
    """Whether a name or an address is one of the loopback."""
    try:
        return host.lower() == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _name_of(host: str) -> str:
    """The host of a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


__all__ = ["Render", "is_loopback", "serving_metrics"]
