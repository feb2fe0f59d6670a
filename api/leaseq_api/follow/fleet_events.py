"""Follow tasks in general: a stream of what happens, for people and dashboards.

It is a view and no record: it shows the newest tasks and skips what lies between two looks
(leaseq/operations/feed.py). A program that must not miss an end follows its own task.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from litestar import Request, Response, Router, get
from litestar.types import Scope
from msgspec import UNSET

from leaseq.errors import LeaseqError, ServerUnreachable
from leaseq.operations.feed import FeedFilter, Listener
from leaseq_api.follow.event_stream import HEARTBEAT, MEDIA_TYPE, EventStream, event, streaming
from leaseq_api.follow.event_views import MissedView
from leaseq_api.follow.position import parse_horizon
from leaseq_api.follow.stream_query import FeedQuery
from leaseq_api.openapi import api_codes
from leaseq_api.refused import Refused
from leaseq_api.security.principal import principal_of
from leaseq_api.service import Service
from leaseq_api.views import listed_view


async def stream_fleet(
    stream: EventStream, service: Service, scope: Scope, query: FeedQuery
) -> None:
    """Send the changes of tasks that a client asks for, as long as it listens."""
    tenant = principal_of(scope).tenant
    wanted = FeedFilter(
        tenant=tenant,
        queue=None if query.queue is UNSET else query.queue,
        type=None if query.type is UNSET else query.type,
    )
    since = parse_horizon(stream.last_id)
    feed = service.engine.feed
    with service.held.hold(scope) as answer, feed.listen(wanted, since=since) as listener:
        answer.news = listener.news
        await stream.begin()
        if stream.head_only:
            return
        go_on, comment = partial(service.may_hold, scope), partial(_comment, listener)
        while await stream.wait_for(listener.news, go_on=go_on, comment=comment):
            try:
                await service.check_again(scope)
            except (Refused, ServerUnreachable):
                break  # the client comes back behind the last event that it got
            for piece in _pieces(listener):
                await stream.write(piece)
        await stream.end()


def _pieces(listener: Listener) -> Iterator[bytes]:
    """The events that wait. Only the last one has the new position: a client that gets a part of
    them continues before all of them."""
    before = listener.horizon
    tasks, missed = listener.take()
    if missed:
        yield event("missed", MissedView(count=missed), event_id=before)
    for number, task in enumerate(tasks, 1):
        position = listener.horizon if number == len(tasks) else before
        yield event("state", listed_view(task), event_id=position)


def _comment(listener: Listener) -> bytes:
    """Nothing waits, so that the client continues from here."""
    listener.take()
    return HEARTBEAT if listener.horizon is None else b"id: %b\n\n" % listener.horizon.encode()


@get(
    "/events",
    scope="read",
    query=FeedQuery.__struct_fields__,
    media_type=MEDIA_TYPE,
    middleware=[streaming(stream_fleet, scope="read")],
    codes=api_codes(),
)
async def follow_tasks(request: Request[Any, Any, Any]) -> Response[str]:
    """Follow the newest tasks as server-sent events, as far as the key may see them.

    A view of what happens, and no record: see docs/following.md.
    """
    raise LeaseqError("the middleware of this route answers")


router = Router("/api", route_handlers=[follow_tasks], tags=["tasks"])

__all__ = ["router", "stream_fleet"]
