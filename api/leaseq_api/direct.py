"""Answer the busiest routes from the bytes of a request.

Litestar routes a request to them, documents them, and turns their errors into problems. Its request
object, injection, validation of arguments and response object take most of the time of a small
request, and these routes do not use them. A request with a query has parameters, which are the
framework's to check, and takes the usual way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
from litestar import Response
from litestar.types import ASGIApp, Receive, Scope, Send

from leaseq.api_keys import ScopeName
from leaseq_api.body import JSON
from leaseq_api.problems import RawAnswer
from leaseq_api.refused import Refused
from leaseq_api.security.principal import check_scope
from leaseq_api.service import Service

Route = Callable[[Service, Scope, Receive], Awaitable[RawAnswer]]

_encode = msgspec.json.Encoder().encode


class Direct:
    """The ASGI application of one such route, in front of the usual way to the same route."""

    def __init__(self, app: ASGIApp, route: Route, scope: ScopeName) -> None:
        self._app = app
        self._scope = scope
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["query_string"]:
            await self._app(scope, receive, send)
            return
        check_scope(scope, self._scope)
        answer = await self._route(scope["litestar_app"].state.service, scope, receive)
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": answer.headers,
            }
        )
        await send({"type": "http.response.body", "body": answer.body, "more_body": False})


def direct(route: Route, *, scope: ScopeName) -> Callable[..., ASGIApp]:
    """The middleware for a handler that is answered by `route`, for keys with this scope."""
    return partial(Direct, route=route, scope=scope)


def json_answer(status: int, content: msgspec.Struct, *headers: tuple[bytes, bytes]) -> RawAnswer:
    """An answer in JSON."""
    body = _encode(content)
    framing = ((b"content-type", JSON), (b"content-length", b"%d" % len(body)))
    return RawAnswer(status, framing + headers, body)


def as_response(answer: RawAnswer) -> Response[Any]:
    """The same answer, for the framework to send."""
    headers = {name.decode(): value.decode() for name, value in answer.headers}
    return Response(answer.body, status_code=answer.status, headers=headers)


async def read_body(receive: Receive, *, max_bytes: int) -> bytes:
    """The body of a request. The HTTP server hands it over whole. Raises `Refused`."""
    message: Any = await receive()
    body: bytes = message["body"]
    while message["more_body"]:
        message = await receive()
        body += message["body"]
    if len(body) > max_bytes:  # the HTTP server refuses it earlier
        raise Refused("body_too_large", "the body is larger than this service accepts")
    return body


__all__ = ["Direct", "as_response", "direct", "json_answer", "read_body"]
