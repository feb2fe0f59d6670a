"""Load an API with a client that costs next to nothing.

A fixed number of connections, each with one request under way at any time: a client as slow as the
answers. Requests are bytes made once, with a number in two places; of an answer only the code and
the length are read.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from time import monotonic, perf_counter
from typing import cast

from bench.processes import BenchFailed
from bench.supply import NOTE

BODY = b'{"type":"noop","payload":{"order_id":1%09d,"note":"' + NOTE.encode() + b'"}}'
HEAD = b"POST /api/tasks HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "
KEY = b"\r\nIdempotency-Key: bench-%09d\r\n\r\n"
ACCEPTED = b"HTTP/1.1 202"
SHED = b"HTTP/1.1 503"
REPLAYED = b"\r\nidempotent-replayed: true"
START_SECONDS = 10.0
RETRY_SECONDS = 0.05
# Of all loads of a process: a key that was used before would be a replay.
_numbers = itertools.count()


class Load:
    """Submissions over HTTP, each with a fresh key and `body` with a number of nine digits in it,
    from `start` to `stop`.

    With `sheds` a 503 is counted, and the next submission follows immediately: a client that does not
    heed Retry-After. With `again` the submissions have these numbers in turn instead of fresh ones, so
    that they come again and again.
    """

    def __init__(
        self,
        port: int,
        *,
        connections: int,
        key: str | None = None,
        body: bytes = BODY,
        sheds: bool = False,
        again: range | None = None,
    ) -> None:
        self.accepted = 0
        self.shed = 0
        self.sheds = sheds
        self.taken: list[float] = []  # seconds of each request
        self.refusal: str | None = None
        self.stopping = False
        self.replayed = 0
        self.again = again is not None
        self._numbers: Iterator[int] = _numbers if again is None else itertools.cycle(again)
        self._head = HEAD + str(len(body % 0)).encode() + authorization(key) + KEY
        self._body = body
        self._port = port
        self._count = connections
        self._connections: list[Connection] = []

    async def start(self) -> None:
        """Connect, and begin. Waits for an API that does not listen yet."""
        loop = asyncio.get_running_loop()
        give_up = monotonic() + START_SECONDS
        while len(self._connections) < self._count:
            try:
                _, connection = await loop.create_connection(
                    lambda: Connection(self), "127.0.0.1", self._port
                )
                self._connections.append(connection)
            except OSError:
                if monotonic() > give_up:
                    raise
                await asyncio.sleep(RETRY_SECONDS)

    async def stop(self) -> None:
        """Wait for the requests under way. Raises `BenchFailed` if one was not accepted."""
        self.stopping = True
        await asyncio.wait(
            [connection.ended for connection in self._connections], timeout=START_SECONDS
        )
        self.check()

    def check(self) -> None:
        """Raises `BenchFailed` if a submission was not accepted."""
        if self.refusal is not None:
            raise BenchFailed(f"the API did not accept a submission: {self.refusal}")

    def request(self) -> bytes:
        """The next submission."""
        number = next(self._numbers)
        return self._head % number + self._body % number


def authorization(key: str | None) -> bytes:
    """The header field of an API key, after the end of the line before it; nothing without one."""
    return b"" if key is None else b"\r\nAuthorization: Bearer " + key.encode()


def fresh_numbers(count: int) -> range:
    """Numbers of submissions that no load of this process has used or will use."""
    first = next(_numbers)
    return range(first, first + 1 + sum(1 for _ in itertools.islice(_numbers, count - 1)))


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, load: Load) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._load = load
        self._began = 0.0
        self._answer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are transports in all but their ancestry.
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, found, body = self._answer.partition(b"\r\n\r\n")
        if not found or len(body) < _length(head):
            return
        if head.startswith(ACCEPTED):
            self._load.accepted += 1
            if self._load.again and REPLAYED in head:
                self._load.replayed += 1
            self._load.taken.append(perf_counter() - self._began)
        elif self._load.sheds and head.startswith(SHED) and b"retry-after: " in head:
            self._load.shed += 1
        else:
            self._load.refusal = self._answer.decode(errors="replace")[:500]
        if self._load.stopping or self._load.refusal is not None:
            self._transport.close()
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._load.stopping:
            self._load.refusal = f"the connection was lost ({exc or 'closed by the API'})"
        if not self.ended.done():
            self.ended.set_result(None)

    def _send(self) -> None:
        self._answer = b""
        self._began = perf_counter()
        self._transport.write(self._load.request())


def _length(head: bytes) -> int:
    """The length of the body that a head announces. Raises `ValueError` if it announces none."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ValueError(f"an answer without a length: {head!r}")
