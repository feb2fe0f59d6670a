"""Send server-sent events (WHATWG HTML, 9.2) as the answer to a GET.

The stream is written piece by piece past the framework's response object, which would keep an own
task and several objects for each of thousands of streams. A client that does not read is closed by
the HTTP server, and one that has gone cancels the call. Invariants: nothing is queued for a client
here, because the next piece is made only when the one before is on its way.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import partial
from math import inf
from random import randrange
from typing import Any

import msgspec
from litestar import Request
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import UNSET

from leaseq.api_keys import ScopeName
from leaseq_api.follow.document import MEDIA_TYPE
from leaseq_api.follow.stream_query import FeedQuery, read_stream_query
from leaseq_api.parameters import check_query
from leaseq_api.security.principal import check_scope
from leaseq_api.service import Service

LAST_EVENT_ID = b"last-event-id"
# A comment so often keeps proxies from closing the connection, and finds out that a client has gone.
HEARTBEAT_SECONDS = 15.0
HEARTBEAT = b": still here\n\n"
# In milliseconds. Clients of a process that has ended come back at different moments.
RETRY_FROM, RETRY_TO = 1_000, 3_000
HEADERS = (
    (b"content-type", MEDIA_TYPE.encode()),
    (b"x-accel-buffering", b"no"),  # nginx passes on each piece
)

_LINE_END = re.compile(rb"\r\n|\r|\n")
_encode = msgspec.json.Encoder().encode

Stream = Callable[["EventStream", Service, Scope, FeedQuery], Awaitable[None]]


class EventStream:
    """One answer of events."""

    def __init__(self, scope: Scope, send: Send, *, seconds: float) -> None:
        # An answer to HEAD has the head of the stream and ends.
        self.head_only = bool(scope.get("head_only"))
        self.last_id = dict(scope["headers"]).get(LAST_EVENT_ID, b"").decode("latin-1")
        self._loop = asyncio.get_running_loop()
        self._ends_at = self._loop.time() + seconds
        self._send = send

    async def begin(self) -> None:
        """Send the head, and the time after which a client comes back when the stream breaks."""
        await self._send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        retry = b"retry: %d\n\n" % randrange(RETRY_FROM, RETRY_TO)
        await self.write(retry, more=not self.head_only)

    async def refuse_to_continue(self) -> None:
        """Answer 204, at which a browser does not come back."""
        await self._send({"type": "http.response.start", "status": 204, "headers": ()})
        await self.write(b"", more=False)

    async def write(self, piece: bytes, *, more: bool = True) -> None:
        """Send events or a comment. Waits while the client takes the piece before."""
        await self._send({"type": "http.response.body", "body": piece, "more_body": more})

    async def wait_for(
        self,
        news: asyncio.Event,
        *,
        go_on: Callable[[], bool],
        comment: Callable[[], bytes] = lambda: HEARTBEAT,
    ) -> bool:
        """Return when there is news, and until then send comments. False: the time of the stream is
        over, or it may not go on."""
        while not news.is_set():
            left = self._ends_at - self._loop.time()
            try:
                async with asyncio.timeout(min(left, HEARTBEAT_SECONDS)):
                    await news.wait()
            except TimeoutError:
                if self._loop.time() >= self._ends_at or not go_on():
                    return False
                await self.write(comment())
        news.clear()
        return go_on()

    async def end(self) -> None:
        """End the answer properly."""
        await self.write(b"", more=False)


def event(name: str, data: msgspec.Struct, *, event_id: str | None) -> bytes:
    """One event; without an id, the last one stays. JSON of handlers may contain line ends between
    its tokens: each line becomes a line of the data."""
    lines = b"\n".join(b"data: " + line for line in _LINE_END.split(_encode(data)))
    line_of_id = b"" if event_id is None else b"id: %b\n" % event_id.encode()
    return b"event: %b\n%b%b\n\n" % (name.encode(), line_of_id, lines)


class _Streaming:
    """The ASGI application of one such route, in place of its handler."""

    def __init__(self, app: ASGIApp, stream: Stream, scope: ScopeName) -> None:
        self._stream = stream
        self._scope = scope

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        check_scope(scope, self._scope)
        request: Request[Any, Any, Any] = Request(scope, receive, send)
        await check_query(request)
        query = read_stream_query(request)
        del request
        service: Service = scope["litestar_app"].state.service
        seconds = inf if query.seconds is UNSET else query.seconds
        await self._stream(EventStream(scope, send, seconds=seconds), service, scope, query)


def streaming(stream: Stream, *, scope: ScopeName) -> Callable[..., ASGIApp]:
    """The middleware that answers a route by `stream`, for keys with this scope. `stream` raises
    only before it has begun."""
    return partial(_Streaming, stream=stream, scope=scope)


__all__ = ["HEARTBEAT", "HEARTBEAT_SECONDS", "MEDIA_TYPE", "EventStream", "event", "streaming"]
