"""The stream that tells an open page which of its topics have changed.

It carries no data, so nothing is authorized twice, and a proxy that buffers it only makes a page
later. It ends when the process stops, and when the key behind the page ends.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from litestar import Request, Response, get
from litestar.types import Scope
from msgspec import Struct

from leaseq.errors import LeaseqError, ServerUnreachable
from leaseq_api.follow.event_stream import MEDIA_TYPE, EventStream, event, streaming
from leaseq_api.follow.stream_query import FeedQuery, StreamQuery
from leaseq_api.refused import Refused
from leaseq_api.service import Service
from leaseq_api.ui.sampler import Sampler


class Changed(Struct, frozen=True):
    """The data of an event. `at` is the time of the look, by the clock of Postgres."""

    at: str
    topics: list[str]


async def stream_changes(stream: EventStream, service: Service, scope: Scope, _: FeedQuery) -> None:
    """Send the names of the topics that have changed, for as long as the page is open."""
    sampler: Sampler = scope["litestar_app"].state.sampler
    with service.held.hold(scope) as answer, sampler.listen() as listener:
        answer.news = listener.news
        await stream.begin()
        if stream.head_only:
            return
        go_on = partial(service.may_hold, scope)
        while await stream.wait_for(listener.news, go_on=go_on):
            try:
                await service.check_again(scope)
            except Refused:
                break
            except ServerUnreachable:
                pass  # the regions tell it
            if topics := listener.take():
                await stream.write(event("changed", Changed(listener.at, topics), event_id=None))
        await stream.end()


@get(
    "/live",
    scope="read",
    query=StreamQuery.__struct_fields__,
    media_type=MEDIA_TYPE,
    middleware=[streaming(stream_changes, scope="read")],
)
async def follow_changes(request: Request[Any, Any, Any]) -> Response[str]:
    """Follow the changes of what the pages show, as server-sent events."""
    raise LeaseqError("the middleware of this route answers")


__all__ = ["follow_changes"]
