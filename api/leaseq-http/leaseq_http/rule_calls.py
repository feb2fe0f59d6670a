"""Build the requests about limits and schedules."""

from __future__ import annotations

from uuid import uuid4

import msgspec

from leaseq_http.calls import JSON, Call, as_struct, json_body, route_call
from leaseq_http.limits import DeletedLimit, LimitBounds, LimitDetail, LimitList
from leaseq_http.schedules import Schedule, ScheduleFields, SchedulePage, StartedRun


def list_limits(*, page_size: int = 50, cursor: str | None = None) -> Call[LimitList]:
    """Read one page of the limits."""
    query = {"limit": page_size, "cursor": cursor}
    return route_call("list_limits", as_struct(LimitList), query=query)


def show_limit(name: str) -> Call[LimitDetail]:
    """Read one limit."""
    return route_call("show_limit", as_struct(LimitDetail), path={"name": name})


def put_limit(name: str, bounds: LimitBounds) -> Call[LimitDetail]:
    """Make a limit, or change it."""
    body = msgspec.json.encode(bounds)
    return route_call(
        "put_limit", as_struct(LimitDetail), path={"name": name}, headers=JSON, body=body
    )


def delete_limit(name: str) -> Call[DeletedLimit]:
    """Delete a limit."""
    return route_call("delete_limit", as_struct(DeletedLimit), path={"name": name})


def list_schedules(*, page_size: int = 50, cursor: str | None = None) -> Call[SchedulePage]:
    """Read one page of the schedules."""
    query = {"limit": page_size, "cursor": cursor}
    return route_call("list_schedules", as_struct(SchedulePage), query=query)


def on_schedule(route: str, name: str) -> Call[Schedule]:
    """Show, pause or resume a schedule."""
    return route_call(route, as_struct(Schedule), path={"schedule": name})


def put_schedule(name: str, type_name: str, fields: ScheduleFields) -> Call[Schedule]:
    """Create a schedule, or replace its definition."""
    body = json_body(type=type_name, **fields)
    return route_call("put_schedule", as_struct(Schedule), path={"schedule": name}, **body)


def delete_schedule(name: str) -> Call[None]:
    """Delete a schedule."""
    return route_call("delete_schedule", lambda _, body: None, path={"schedule": name})


def run_schedule(name: str, *, operation_id: str | None = None) -> Call[StartedRun]:
    """Submit a task of a schedule. The id of the operation makes it safe to repeat."""
    body = json_body(operation_id=operation_id or str(uuid4()))
    return route_call("run_schedule", as_struct(StartedRun), path={"schedule": name}, **body)


__all__ = [
    "delete_limit",
    "delete_schedule",
    "list_limits",
    "list_schedules",
    "on_schedule",
    "put_limit",
    "put_schedule",
    "run_schedule",
    "show_limit",
]
