"""The route of batches.

A JSON array is received whole and checked before any of it is recorded, because its syntax is known
only at its end: a body that is refused has recorded nothing. Lines are recorded while they arrive,
and each stands alone. The answer begins when the outcome of every item is known, so a client that
reads no answer before it has sent everything cannot block itself.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any

import msgspec
from litestar import Request, Response, Router, post
from litestar.types import ASGIApp, Receive, Scope, Send

from leaseq.errors import IdempotencyKeyInvalid, ServerUnreachable
from leaseq.observability.telemetry import emit
from leaseq.trace_context import RAW_PARENT, read_context
from leaseq_api import parameters as given
from leaseq_api.batch.recorder import Recorder
from leaseq_api.batch.schemas import MAX_BYTES, MAX_ITEMS, BatchAnswer, BatchItem
from leaseq_api.batch.split import Lines, split_array
from leaseq_api.body import JSON, check_media_type, decode_item
from leaseq_api.direct import read_body
from leaseq_api.idempotency import HEADER, RAW_HEADER
from leaseq_api.openapi import change_codes
from leaseq_api.refused import Refused
from leaseq_api.security.principal import check_scope, principal_of
from leaseq_api.service import Service

NDJSON = b"application/x-ndjson"
PATH = b"/api/tasks/batch"
# In one process. Each holds its outcomes, and those of a client that sends slowly are held long.
MOST_BATCHES = 32
# Items are parsed, and outcomes are sent, in groups of so many.
GROUP = 250

_BLANK = b" \t\r"
_NDJSON_TYPE = re.compile(
    r'application/x-ndjson[ \t]*(?:;[ \t]*(?:charset="?utf-8"?)?[ \t]*)?', re.IGNORECASE
)
_ACCEPTS_NDJSON = re.compile(rb"(?:^|,)[ \t]*application/x-ndjson[ \t]*(?:,|$)", re.IGNORECASE)
_decoder = msgspec.json.Decoder(BatchItem)
_any_json = msgspec.json.Decoder(msgspec.Raw)


async def answer_batch(service: Service, scope: Scope, receive: Receive, send: Send) -> None:
    """Record the items of a request, then send the outcome of each."""
    headers: Mapping[bytes, bytes] = dict(scope["headers"])
    if RAW_HEADER in headers:
        raise IdempotencyKeyInvalid(
            f"a batch has no {HEADER}: give each item an idempotency_key of its own"
        )
    by_line = headers.get(b"content-type", b"").lower().startswith(NDJSON)
    named = "application/json or application/x-ndjson"
    check_media_type(headers, _NDJSON_TYPE if by_line else None, named=named)
    if service.batches >= MOST_BATCHES:
        raise Refused("overloaded", "too many batches are being received; try again in a moment")
    recorder = Recorder(
        service,
        service.tasks_of(scope),
        tenant=principal_of(scope).submits_to,
        path=scope["raw_path"],
        trace_context=read_context(scope["headers"]) if RAW_PARENT in headers else None,
    )
    service.batches += 1
    try:
        max_bytes = service.config.payload_max_bytes
        if by_line:
            complete = await _record_lines(service, scope, receive, recorder, max_bytes=max_bytes)
        else:
            complete = await _record_array(service, scope, receive, recorder, max_bytes=max_bytes)
        if not complete:
            emit("batch.abandoned", recorded=recorder.recorded)
            return
        await _send_outcomes(
            recorder.outcomes,
            send,
            by_line=bool(_ACCEPTS_NDJSON.search(headers.get(b"accept", b""))),
        )
    finally:
        await recorder.abandon()
        service.batches -= 1


async def _record_array(
    service: Service, scope: Scope, receive: Receive, recorder: Recorder, *, max_bytes: int
) -> bool:
    """Check the whole array, then record its elements. Raises `Refused` before any is recorded."""
    items: list[BatchItem | Refused] = []
    elements = split_array(await read_body(receive, max_bytes=MAX_BYTES))
    more = True
    while more:
        async with _turn(service, scope):
            group = list(islice(elements, GROUP))
            more = len(group) == GROUP
            for element in group:
                if len(items) == MAX_ITEMS:
                    raise _too_many()
                item = _parse(element, max_bytes=max_bytes)
                if isinstance(item, Refused):
                    _check_json(element, item, place=len(items))
                items.append(item)
    for item in items:
        await recorder.take(item)
    await recorder.finish()
    return True


async def _record_lines(
    service: Service, scope: Scope, receive: Receive, recorder: Recorder, *, max_bytes: int
) -> bool:
    """Record lines while they arrive, as long as the API key is valid. False: the client has
    gone."""
    lines, more = Lines(max_bytes), True
    try:
        while more:
            message: Any = await receive()
            if message["type"] == "http.disconnect":
                return False
            await service.check_again(scope)
            more = message["more_body"]
            found = [
                line
                for line in lines.feed(message["body"], last=not more)
                if line is None or line.strip(_BLANK)
            ]
            for first in range(0, len(found), GROUP):
                async with _turn(service, scope):
                    items = [
                        _parse(each, max_bytes=max_bytes) for each in found[first : first + GROUP]
                    ]
                for item in items:
                    if len(recorder.outcomes) == MAX_ITEMS:
                        raise _too_many()
                    await recorder.take(item)
    except (Refused, ServerUnreachable) as error:  # the rest of the body
        recorder.refuse(error)
    await recorder.finish()
    return True


@asynccontextmanager
async def _turn(service: Service, scope: Scope) -> AsyncIterator[None]:
    """Parse a group of items within the block. However many batches there are, other requests wait
    for one group at a time."""
    async with service.parse_turns.turn(principal_of(scope).submits_to):
        yield
        await asyncio.sleep(0)


def _parse(raw: bytes | memoryview | None, *, max_bytes: int) -> BatchItem | Refused:
    if raw is None or len(raw) > max_bytes:
        return Refused("payload_too_large", f"an item may have {max_bytes} bytes at most")
    return decode_item(raw, _decoder)


def _check_json(element: memoryview, refused: Refused, *, place: int) -> None:
    """Raise `Refused` where an element, which has been refused, is not JSON: then the array is not
    JSON either."""
    if refused.code != "json_invalid":
        refused_again = decode_item(element, _any_json)
        if not isinstance(refused_again, Refused):
            return
        refused = refused_again
    raise Refused(refused.code, f"item {place} of the array: {refused}")


def _too_many() -> Refused:
    return Refused("batch_too_large", f"a batch may have {MAX_ITEMS} items at most")


async def _send_outcomes(outcomes: list[bytes], send: Send, *, by_line: bool) -> None:
    start, between, end = (b"", b"\n", b"\n") if by_line else (b'{"items":[', b",", b"]}")
    if by_line and not outcomes:
        end = b""
    size = len(start) + sum(map(len, outcomes)) + max(0, len(outcomes) - 1) + len(end)
    framing = [
        (b"content-type", NDJSON if by_line else JSON),
        (b"content-length", b"%d" % size),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": framing})
    for at in range(0, len(outcomes), GROUP):
        group = between.join(outcomes[at : at + GROUP])
        body, start = start + group, between
        await send({"type": "http.response.body", "body": body, "more_body": True})
    last = end if outcomes else start + end
    await send({"type": "http.response.body", "body": last, "more_body": False})


class BatchStream:
    """The ASGI application in front of the route, which receives and answers in pieces. A request
    with a query takes the way of the framework, which refuses it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["query_string"]:
            await self._app(scope, receive, send)
            return
        check_scope(scope, "submit")
        await answer_batch(scope["litestar_app"].state.service, scope, receive, send)


@post(
    "/",
    scope="submit",
    status_code=200,
    middleware=[BatchStream],
    codes=change_codes(
        "json_invalid",
        "idempotency_key_invalid",
        "media_type_unsupported",
        "submission_invalid",
        "batch_too_large",
    ),
)
async def submit_batch(request: Request[Any, Any, Any]) -> Response[BatchAnswer]:
    """Submit up to 10,000 tasks, each with an outcome of its own. An item that is wrong fails
    alone. A JSON array is checked before any of it is recorded. Lines
    (`application/x-ndjson`) are recorded while they arrive."""
    raise Refused("parameter_invalid", "this address takes no parameters")


router = Router(
    PATH.decode(), route_handlers=[submit_batch], before_request=given.check_query, tags=["tasks"]
)

__all__ = ["NDJSON", "PATH", "router"]
