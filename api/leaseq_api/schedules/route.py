"""The routes of schedules.

A name is that of a schedule in the tenant of the request.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, Router, delete, get, post, put
from litestar.params import PathParameter, QueryParameter
from litestar.types import Scope
from msgspec.structs import replace

from leaseq.codec import is_task_id
from leaseq.errors import ScheduleInvalid
from leaseq.model import NAME
from leaseq.operations.schedule_operator import ScheduleOperator
from leaseq.operations.submission import accept
from leaseq.schedules.plan import Policy
from leaseq.schedules.read_timing import read_timing
from leaseq.schedules.schedule import Definition, Schedule
from leaseq_api import parameters as given
from leaseq_api.body import decode_json
from leaseq_api.openapi import api_codes, change_codes
from leaseq_api.refused import Refused
from leaseq_api.schedules.schemas import (
    RunBody,
    RunView,
    ScheduleBody,
    SchedulePage,
    ScheduleView,
)
from leaseq_api.schedules.views import schedule_page, schedule_view
from leaseq_api.security.principal import may_read_contents, principal_of
from leaseq_api.service import Injected, Service

AnyRequest = Request[Any, Any, Any]
ScheduleName = Annotated[
    str,
    PathParameter(
        description="The name of a schedule",
        schema_extra={"min_length": 1, "max_length": 128, "pattern": "^[A-Za-z0-9_.-]+$"},
    ),
]
Cursor = Annotated[
    str,
    QueryParameter(
        description="`next_cursor` of the previous page",
        schema_extra={
            "max_length": 257,
            "pattern": "^([A-Za-z0-9_.-]{1,128}/[A-Za-z0-9_.-]{1,128})?$",
        },
    ),
]

_schedule_body = msgspec.json.Decoder(ScheduleBody)
_run_body = msgspec.json.Decoder(RunBody)


@get("/", scope="read", query=("limit", "cursor"), codes=api_codes())
async def list_schedules(
    request: AnyRequest, service: Injected, limit: given.Limit = 50, cursor: Cursor = ""
) -> Response[SchedulePage]:
    """List schedules by tenant and name, with their next times and the counts of their
    occurrences."""
    limit = given.check_limit(limit)
    tenant, _, name = cursor.partition("/")
    if cursor and not (NAME.fullmatch(tenant) and NAME.fullmatch(name)):
        raise Refused("parameter_invalid", "cursor must be the next_cursor of the page before")
    found = await service.engine.schedules.list_schedules(
        tenant=principal_of(request.scope).tenant, after=(tenant, name), limit=limit
    )
    return Response(schedule_page(found, limit=limit))


@get("/{schedule:str}", scope="read", codes=api_codes("schedule_not_found"))
async def show_schedule(
    request: AnyRequest, service: Injected, schedule: ScheduleName
) -> Response[ScheduleView]:
    """Show one schedule, with its next five times and its last runs."""
    found = await service.engine.schedules.find(_tenant(request.scope), check_name(schedule))
    return Response(await _view(service, request.scope, found))


@put(
    "/{schedule:str}",
    scope="submit",
    status_code=200,
    body=ScheduleBody,
    codes=change_codes(
        "json_invalid",
        "media_type_unsupported",
        "schedule_invalid",
        "schedule_conflict",
        "submission_invalid",
        "payload_invalid",
        "payload_not_encoded",
        "payload_too_large",
        "unknown_type",
        "limit_unknown",
        "feature_needs_upgrade",
    ),
)
async def put_schedule(
    request: AnyRequest, service: Injected, schedule: ScheduleName
) -> Response[ScheduleView]:
    """Create a schedule, or replace its definition. It keeps its counts, and stays paused if it
    is. Where its times do not change, neither does its next one."""
    name = check_name(schedule)
    headers = dict(request.scope["headers"])
    body = decode_json(await request.body(), headers, _schedule_body, misfit="schedule_invalid")
    definition = await define(service, name, body, tenant=_tenant(request.scope))
    put = await _operator(service, request.scope).put(definition)
    return Response(await _view(service, request.scope, put))


@delete(
    "/{schedule:str}", scope="operate", status_code=204, codes=change_codes("schedule_not_found")
)
async def delete_schedule(request: AnyRequest, service: Injected, schedule: ScheduleName) -> None:
    """Delete a schedule; its tasks stay. One that code declares comes back with the next worker
    that starts."""
    await _operator(service, request.scope).delete(_tenant(request.scope), check_name(schedule))


@post(
    "/{schedule:str}/pause",
    scope="operate",
    status_code=200,
    codes=change_codes("schedule_not_found"),
)
async def pause_schedule(
    request: AnyRequest, service: Injected, schedule: ScheduleName
) -> Response[ScheduleView]:
    """Pause a schedule: its occurrences become no tasks. It can still be run by hand."""
    operator = _operator(service, request.scope)
    paused = await operator.pause(_tenant(request.scope), check_name(schedule))
    return Response(await _view(service, request.scope, paused))


@post(
    "/{schedule:str}/resume",
    scope="operate",
    status_code=200,
    codes=change_codes("schedule_not_found", "schedule_conflict"),
)
async def resume_schedule(
    request: AnyRequest, service: Injected, schedule: ScheduleName
) -> Response[ScheduleView]:
    """Resume a schedule from now on. Occurrences during the pause count as missed."""
    operator = _operator(service, request.scope)
    resumed = await operator.resume(_tenant(request.scope), check_name(schedule))
    return Response(await _view(service, request.scope, resumed))


@post(
    "/{schedule:str}/run",
    scope="operate",
    status_code=202,
    body=RunBody,
    body_required=False,
    codes=change_codes(
        "schedule_not_found",
        "json_invalid",
        "media_type_unsupported",
        "schedule_invalid",
        "limit_unknown",
    ),
)
async def run_schedule(
    request: AnyRequest, service: Injected, schedule: ScheduleName
) -> Response[RunView]:
    """Submit a task of a schedule now, paused or not. A request that is repeated with the same
    `operation_id` returns the same task."""
    name, raw = check_name(schedule), await request.body()
    headers = dict(request.scope["headers"])
    body = decode_json(raw, headers, _run_body, misfit="schedule_invalid") if raw else RunBody()
    if body.operation_id is not None and not is_task_id(body.operation_id):
        raise ScheduleInvalid("operation_id must be a UUID in lower case", field="operation_id")
    operator = _operator(service, request.scope)
    run = await operator.run_now(_tenant(request.scope), name, request=body.operation_id)
    return Response(
        RunView(task_id=run.task_id, created=run.created),
        status_code=202,
        headers={"Location": f"/api/tasks/{run.task_id}"},
    )


async def define(service: Service, name: str, body: ScheduleBody, *, tenant: str) -> Definition:
    timing = read_timing(
        cron=body.cron,
        every_seconds=body.every_seconds,
        zone=body.tz,
        start_at=body.start_at,
        end_at=body.end_at,
    )
    known = service.types.known(body.type) or await service.types.look_again(body.type)
    config = replace(service.config, require_idempotency_key=False)
    submission = accept(body.to_request(), config, tenant=tenant, known=known)
    policy = Policy(catch_up=body.catch_up, max_catch_up=body.max_catch_up, overlap=body.overlap)
    return Definition(
        name=name,
        timing=timing,
        submission=submission,
        policy=policy,
        jitter_seconds=body.jitter_seconds,
    )


async def _view(service: Service, scope: Scope, schedule: Schedule) -> ScheduleView:
    runs = await service.engine.schedules.runs(schedule)
    return schedule_view(schedule, runs, contents=may_read_contents(scope))


def _tenant(scope: Scope) -> str:
    return principal_of(scope).submits_to


def _operator(service: Service, scope: Scope) -> ScheduleOperator:
    return ScheduleOperator(service.operator_of(scope), service.engine.schedules)


def check_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise Refused(
            "not_found", "this is not a schedule: use 1 to 128 characters of A-Z a-z 0-9 _ . -"
        )
    return name


router = Router(
    "/api/schedules",
    route_handlers=[
        list_schedules,
        show_schedule,
        put_schedule,
        delete_schedule,
        pause_schedule,
        resume_schedule,
        run_schedule,
    ],
    before_request=given.check_query,
    tags=["operate"],
)

__all__ = ["ScheduleName", "check_name", "define", "router"]
