"""The routes that the clients use, by their `operationId` in the OpenAPI document."""

from __future__ import annotations

from typing import NamedTuple


class Route(NamedTuple):
    """One operation of the API, as the document has it."""

    method: str
    path: str
    query: tuple[str, ...] = ()
    repeatable: bool = True


ROUTES = {
    # With a key, which every submission of this client has.
    "submit": Route("POST", "/api/tasks"),
    # Its items have keys, too.
    "submit_batch": Route("POST", "/api/tasks/batch"),
    "show": Route("GET", "/api/tasks/{task_id}", ("wait",)),
    "attempts": Route("GET", "/api/tasks/{task_id}/attempts"),
    "why": Route("GET", "/api/tasks/{task_id}/why", ("idempotency_key",)),
    "follow_task": Route("GET", "/api/tasks/{task_id}/events", ("seconds",)),
    "follow_tasks": Route("GET", "/api/events", ("queue", "type", "seconds")),
    "list_tasks": Route(
        "GET",
        "/api/tasks",
        ("state", "queue", "type", "idempotency_key", "label", "error", "limit", "cursor"),
    ),
    # Of a task that was cancelled before, the service answers with the task.
    "cancel": Route("POST", "/api/tasks/{task_id}/cancel"),
    # A task may have failed again before the second request arrives.
    "redrive": Route("POST", "/api/tasks/{task_id}/redrive", repeatable=False),
    # The new task has a key.
    "replay": Route("POST", "/api/tasks/{task_id}/replay"),
    "erase": Route("DELETE", "/api/tasks/{task_id}"),
    "free_key": Route("DELETE", "/api/tasks/{task_id}/idempotency-key"),
    "list_failures": Route(
        "GET", "/api/failures", ("type", "queue", "state", "window", "limit", "cursor")
    ),
    "show_failure": Route("GET", "/api/failures/{type_name}/{fingerprint}"),
    "acknowledge": Route("POST", "/api/failures/{type_name}/{fingerprint}/acknowledge"),
    "list_limits": Route("GET", "/api/limits", ("limit", "cursor")),
    "show_limit": Route("GET", "/api/limits/{name}"),
    "put_limit": Route("PUT", "/api/limits/{name}"),
    # A second one finds nothing.
    "delete_limit": Route("DELETE", "/api/limits/{name}", repeatable=False),
    "list_schedules": Route("GET", "/api/schedules", ("limit", "cursor")),
    "show_schedule": Route("GET", "/api/schedules/{schedule}"),
    "put_schedule": Route("PUT", "/api/schedules/{schedule}"),
    "delete_schedule": Route("DELETE", "/api/schedules/{schedule}", repeatable=False),
    "pause_schedule": Route("POST", "/api/schedules/{schedule}/pause"),
    "resume_schedule": Route("POST", "/api/schedules/{schedule}/resume"),
    # With the id of an operation, which every run of this client has.
    "run_schedule": Route("POST", "/api/schedules/{schedule}/run"),
    "list_operations": Route(
        "GET", "/api/operations", ("action", "target", "key_id", "limit", "cursor")
    ),
    "preview_operation": Route("POST", "/api/operations/preview"),
    # An operation is started once for each id.
    "start_operation": Route("POST", "/api/operations"),
    "show_operation": Route("GET", "/api/operations/{operation_id}"),
    "stop_operation": Route("POST", "/api/operations/{operation_id}/stop"),
    "resume_operation": Route("POST", "/api/operations/{operation_id}/resume"),
    "list_queues": Route("GET", "/api/queues", ("limit", "cursor")),
    "pause": Route("POST", "/api/queues/{queue}/pause"),
    "resume": Route("POST", "/api/queues/{queue}/resume"),
    "show_quota": Route("GET", "/api/quota"),
    "statistics": Route("GET", "/api/stats", ("window", "queue", "type")),
    "list_types": Route("GET", "/api/types", ("limit", "cursor")),
    "list_workers": Route("GET", "/api/workers", ("closed", "limit")),
}

__all__ = ["ROUTES", "Route"]
