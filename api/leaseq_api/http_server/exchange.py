"""One request and its answer, as ASGI sees them.

The application is called when the whole body has arrived, so that a slow client occupies no
application; if the body is streamed, when the head has arrived. It may answer in one piece or in
many; a piece waits while the client takes the one before. The first piece leaves with the head, in
one write. An answer that begins before the body has arrived ends its connection, because the rest
of the body is not read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import lru_cache
from http import HTTPStatus
from time import monotonic
from traceback import format_tb
from typing import Any, Protocol
from urllib.parse import unquote

from leaseq.metrics.tally import OTHER, TALLY
from leaseq.observability.telemetry import emit
from leaseq_api.http_server.admission import Admission
from leaseq_api.http_server.head import Head, Headers
from leaseq_api.http_server.incoming import StreamedBody
from leaseq_api.http_server.limits import Limits
from leaseq_api.problems import FAULT, RawAnswer, raw_problem, retry_after

Event = dict[str, Any]
Application = Callable[..., Coroutine[Any, Any, None]]

_STATUS = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_ASGI = {"version": "3.0", "spec_version": "2.3"}
_NO_BODY = (204, 304)
NO_STORE = b"cache-control: no-store\r\n"  # of the common lines
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


class Channel(Protocol):
    """The part of a connection that an exchange uses."""

    @property
    def stuck(self) -> bool:
        """Whether the client has not yet read most of the written bytes."""

    def begin(self, exchange: Exchange) -> None:
        """Run the application for an exchange whose turn has come."""

    def write(self, data: bytes) -> None:
        """Send bytes to the client; none after the connection is gone."""

    async def drained(self) -> None:
        """Wait until the client has read most of the written bytes."""

    def read_on(self, exchange: Exchange) -> None:
        """Stop counting the last piece of a streamed body, and receive more."""

    def ended(self, exchange: Exchange, *, whole: bool) -> None:
        """The application is done; `whole` unless its answer ended early."""

    def common_lines(self) -> bytes:
        """The header lines of every answer."""


class Exchange:
    """A request, complete or on its way, and the answer to it."""

    __slots__ = (
        "_answered",
        "_began",
        "_channel",
        "_chunked",
        "_completed",
        "_given",
        "_start",
        "_started",
        "_under_way",
        "admission",
        "body",
        "given_up",
        "gone",
        "head",
        "headers",
        "is_judged",
        "judging",
        "keep_alive",
        "method",
        "since",
        "size",
        "steps",
        "stream",
        "task",
        "version",
    )

    def __init__(
        self, channel: Channel, *, method: str, version: str, headers: Headers, head: Head
    ) -> None:
        self.method = method
        self.version = version
        self.headers = headers
        self.head = head
        self.keep_alive = True
        self.body = bytearray()
        self.size = 0
        self.steps = 0
        self.stream: StreamedBody | None = None
        # Whether it was asked if the body is wanted, and the question.
        self.is_judged = False
        self.judging: asyncio.Task[None] | None = None
        self.gone: asyncio.Event | None = None
        self.task: asyncio.Task[None] | None = None
        # The admission that counts this request, or in whose line it stands.
        self.admission: Admission | None = None
        self.since = 0.0
        self.given_up = False
        self._channel = channel
        self._began = self._answered = 0.0
        self._under_way = False
        self._given = False
        self._start: Event | None = None
        self._started = False
        self._completed = False
        self._chunked = False

    @property
    def safe(self) -> bool:
        """Whether the application may be stopped when its client has gone."""
        return self.method in ("GET", "HEAD")

    def begin(self) -> None:
        """Let the application answer."""
        self._channel.begin(self)

    def shed(self, detail: str) -> None:
        """Answer 503 in place of the application."""
        TALLY.count("leaseq_refusals_total", "overloaded")
        self.admission = None
        self._started = self._completed = True
        if self.version == "1.0" or (self.stream is not None and not self.stream.complete):
            self.keep_alive = False
        rest = _overloaded(
            detail, self.head.path, retry_after(), self.method == "HEAD", self.keep_alive
        )
        self._channel.write(b"".join((_STATUS[503], self._channel.common_lines(), rest)))
        self._channel.ended(self, whole=True)

    def step_aside(self) -> None:
        """Stop counting this request as one that is worked on."""
        admission, self.admission = self.admission, None
        if admission is not None and self.task is not None:
            admission.leave()

    def lose(self) -> None:
        """The client has gone."""
        self.given_up = self.task is None
        if self.stream is not None:
            self.stream.lose()
        if self.gone is not None:
            self.gone.set()
        if self.safe:
            self.stop()

    def stop(self) -> None:
        """Cancel the application. One that has not begun does not begin."""
        if self._under_way and self.task is not None:
            self.task.cancel()
        else:
            self.given_up = True

    async def run(self, application: Application, addresses: Mapping[str, Any]) -> None:
        """Answer by the application, or by a 500 where it raises before it has answered."""
        self._under_way = True
        scope, self._began = self.scope(addresses), monotonic()
        try:
            if self.given_up:
                return
            await application(scope, self.receive, self.send)
            if not self._started and not (self.stream is not None and self.stream.lost):
                raise RuntimeError("the application gave no answer")
        except Exception as error:
            where = "".join(format_tb(error.__traceback__)[-5:])
            emit("request.failed", method=self.method, error=type(error).__name__, traceback=where)
            self._fail()
        finally:
            self._channel.ended(self, whole=self._completed)
            if self._start is not None and self._started:
                route = scope.get("path_template", "")
                labels = _method(self.method), route, str(self._start["status"])
                TALLY.observe(
                    "leaseq_http_request_duration_seconds", self._answered - self._began, *labels
                )

    def grows(self, limits: Limits) -> bool:
        """Whether a large body has come closer by a step since the last look."""
        size = self.size if self.stream is None else self.stream.total
        steps = size // limits.step_bytes
        grown, self.steps = steps > self.steps, steps
        return grown and self.head.body_bytes > limits.body_bytes

    def is_unjudged(self, size: int) -> bool:
        """Whether a body of more than so many bytes is announced or arriving, and it was not asked
        whether it is wanted."""
        large = self.size > size or (self.head.length or 0) > size
        return large and not self.is_judged and self.stream is None

    def scope(self, addresses: Mapping[str, Any]) -> Event:
        """The request, as ASGI names its parts."""
        path = self.head.path
        return {
            "type": "http",
            "asgi": _ASGI,
            "http_version": self.version,
            "method": self.method,
            "path": unquote(path.decode()) if b"%" in path else path.decode(),
            "raw_path": path,
            "query_string": self.head.query,
            "root_path": "",
            "headers": self.headers,
            "step_aside": self.step_aside,
            **addresses,
        }

    def _fail(self) -> None:
        if not self._started:
            self._started = self._completed = True
            self.keep_alive = False
            lines, head = self._channel.common_lines(), self.method == "HEAD"
            self._channel.write(
                refusal_of("internal_error", FAULT, path=self.head.path, lines=lines, head=head)
            )

    async def receive(self) -> Event:
        """The whole body, then the news that the client has gone. Raises `Malformed` where the rest
        of a streamed body is refused."""
        if not self._given:
            if self.stream is not None:
                return await self._receive_piece(self.stream)
            self._given = True
            body, self.body = bytes(self.body), bytearray()
            return {"type": "http.request", "body": body, "more_body": False}
        self.gone = self.gone or asyncio.Event()
        if not self._completed:
            await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _receive_piece(self, stream: StreamedBody) -> Event:
        self._channel.read_on(self)
        while not (self.body or stream.ended):
            await stream.changed()
        if stream.lost:
            return {"type": "http.disconnect"}
        if stream.failure is not None and not self.body:
            raise stream.failure
        self._given = stream.complete
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": not stream.complete}

    async def send(self, message: Event) -> None:
        """Take a piece of the answer."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        if self._completed:
            raise RuntimeError("the answer is complete")
        if self._channel.stuck:
            await self._channel.drained()
        body, more = message.get("body", b""), message.get("more_body", False)
        pieces: list[bytes] = [] if self._started else self._begin(len(body), more=more)
        if self.method != "HEAD":
            if not self._chunked:
                pieces.append(body)
            else:
                pieces += [b"%x\r\n" % len(body), body, b"\r\n"] if body else []
                pieces += [] if more else [b"0\r\n\r\n"]
        self._channel.write(b"".join(pieces))
        self._completed = not more

    def _begin(self, size: int, *, more: bool) -> list[bytes]:
        start = self._start
        if start is None:
            raise RuntimeError("an answer begins with its status")
        self._started = True
        self._answered = monotonic()
        if self.stream is not None and not self.stream.complete:
            self.keep_alive = False
        pieces, framed = [_STATUS[start["status"]], self._channel.common_lines()], False
        for name, value in start["headers"]:
            framed = framed or name == b"content-length"
            if name == b"cache-control":  # in place of the common one
                pieces[1] = pieces[1].replace(NO_STORE, b"")
            pieces += (name, b": ", value, b"\r\n")
        if not framed and start["status"] not in _NO_BODY:
            pieces.append(self._framing(size, more=more))
        if not self.keep_alive:
            pieces.append(b"connection: close\r\n")
        elif self.version == "1.0":
            pieces.append(b"connection: keep-alive\r\n")
        pieces.append(b"\r\n")
        return pieces

    def _framing(self, size: int, *, more: bool) -> bytes:
        if not more:
            return b"content-length: %d\r\n" % size
        if self.version == "1.0":
            self.keep_alive = False
            return b""
        self._chunked = True
        return b"transfer-encoding: chunked\r\n"


def _method(method: str) -> str:
    return method if method in _METHODS else OTHER


def addresses_of(transport: asyncio.Transport) -> dict[str, Any]:
    """The scheme of a connection and the addresses of its ends, as ASGI names them."""
    local, far = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
    return {
        "scheme": "http" if transport.get_extra_info("ssl_object") is None else "https",
        "server": tuple(local[:2]) if local else None,
        "client": tuple(far[:2]) if far else None,
    }


def refusal_of(code: str, detail: str, *, path: bytes, lines: bytes, head: bool) -> bytes:
    """The bytes of a problem after which the connection is closed."""
    TALLY.count("leaseq_refusals_total", code)
    return closing_answer(raw_problem(code, detail, path=path), lines=lines, head=head)


def closing_answer(refusal: RawAnswer, *, lines: bytes, head: bool) -> bytes:
    """The bytes of an answer after which the connection is closed."""
    return b"".join((_STATUS[refusal.status], lines, _rest(refusal, head=head, keep_alive=False)))


def _rest(refusal: RawAnswer, *, head: bool, keep_alive: bool) -> bytes:
    """The bytes after the common lines."""
    more = [b"%b: %b\r\n" % header for header in refusal.headers]
    end = b"\r\n" if keep_alive else b"connection: close\r\n\r\n"
    return b"".join((*more, end, b"" if head else refusal.body))


# An overloaded service gives this answer thousands of times a second.
@lru_cache(256)
def _overloaded(detail: str, path: bytes, seconds: str, head: bool, keep_alive: bool) -> bytes:
    refusal = raw_problem("overloaded", detail, path=path, retry_after=seconds)
    return _rest(refusal, head=head, keep_alive=keep_alive)


__all__ = [
    "Application",
    "Channel",
    "Event",
    "Exchange",
    "addresses_of",
    "closing_answer",
    "refusal_of",
]
