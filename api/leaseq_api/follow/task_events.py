"""Stream the states of one task, the ends of its attempts, and its progress.

The stream is about the ledger and nothing else, so it goes on while Redis is away, and while
Postgres is away it is silent and then continues. It ends with the end of the task.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from litestar import Request, Response, get
from litestar.types import Scope

from leaseq.errors import LeaseqError, ServerUnreachable, TaskNotFound
from leaseq.loop import Pauses, Retries
from leaseq.operations.follow import Look
from leaseq.operations.wait import Watch
from leaseq_api import parameters as given
from leaseq_api.follow.event_stream import (
    MEDIA_TYPE,
    EventStream,
    streaming,
)
from leaseq_api.follow.position import parse_position
from leaseq_api.follow.sent_events import SentEvents
from leaseq_api.follow.stream_query import FeedQuery, StreamQuery
from leaseq_api.openapi import api_codes
from leaseq_api.refused import Refused
from leaseq_api.security.principal import may_read_contents, principal_of
from leaseq_api.service import Service

AWAY = Pauses(0.2, growth=2.0, cap=2.0)


async def stream_task(stream: EventStream, service: Service, scope: Scope, _: FeedQuery) -> None:
    """Send what a client does not know yet of a task, until the task has ended."""
    task_id = given.check_task_id(scope["path_params"]["task_id"])
    tenant = principal_of(scope).tenant
    sent = SentEvents(parse_position(stream.last_id), contents=may_read_contents(scope))
    go_on = partial(service.may_hold, scope)
    with service.held.hold(scope) as answer, service.engine.follower.watch(task_id) as watch:
        answer.news = watch.news
        look = await service.engine.follower.look(watch, tenant=tenant, after=sent.position.ends)
        if sent.is_complete(look):
            await stream.refuse_to_continue()
            return
        await stream.begin()
        if stream.head_only:
            return
        while True:
            for piece in sent.news(look):
                await stream.write(piece)
            if look.ended or not await stream.wait_for(watch.news, go_on=go_on):
                break
            later = await _look_again(service, scope, watch, after=sent.position.ends)
            if later is None:
                break
            look = later
        await stream.end()


async def _look_again(service: Service, scope: Scope, watch: Watch, *, after: int) -> Look | None:
    """The task as it is now. None: it is gone, the key was revoked, or the process stops while
    Postgres is away."""
    tenant = principal_of(scope).tenant
    retries = Retries(AWAY, stop=service.stopping)
    while True:
        try:
            await service.check_again(scope)
            return await service.engine.follower.look(watch, tenant=tenant, after=after)
        except (TaskNotFound, Refused):
            return None
        except ServerUnreachable as error:
            await retries.wait(error)
            if service.stopping.is_set():
                return None


@get(
    "/{task_id:str}/events",
    scope="read",
    query=StreamQuery.__struct_fields__,
    media_type=MEDIA_TYPE,
    middleware=[streaming(stream_task, scope="read")],
    codes=api_codes("task_not_found"),
)
async def follow_task(request: Request[Any, Any, Any], task_id: given.TaskId) -> Response[str]:
    """Follow one task as server-sent events, until it has ended."""
    raise LeaseqError("the middleware of this route answers")


__all__ = ["follow_task", "stream_task"]
