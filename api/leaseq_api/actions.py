"""The routes by which operators act on one task.

A request may carry the state of the task that its sender saw. Each change leaves a row in
`leaseq.operations`. A form that is sent twice acts once: a cancellation or a redrive by the id of
its operation, a replay by the key of the new task.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from litestar import Request, Response, Router, post
from litestar.openapi import ResponseSpec
from litestar.types import Scope
from msgspec import UNSET, Struct

from leaseq.codec import is_task_id
from leaseq.errors import ActionInvalid, TaskConflict, TaskNotFound
from leaseq.model import State, Submission, Submitted, Task
from leaseq.operations.operator import Operation
from leaseq.operations.replay import Replay, accept_replay
from leaseq.operations.seen import Seen, parse_seen
from leaseq.trace_context import read_context
from leaseq_api import parameters as given
from leaseq_api.action_schemas import ActionBody, ReplayBody
from leaseq_api.body import decode_json
from leaseq_api.openapi import change_codes
from leaseq_api.quotas.headers import Header
from leaseq_api.refused import Refused
from leaseq_api.schemas import TaskView
from leaseq_api.security.principal import check_scope, may_read_contents
from leaseq_api.service import Injected, Service
from leaseq_api.views import fresh_view, task_view

T = TypeVar("T", bound=Struct)
AnyRequest = Request[Any, Any, Any]
_BODY_CODES = ("json_invalid", "media_type_unsupported")
_ACTION_CODES = (
    "task_not_found",
    "task_conflict",
    "task_moved",
    "operation_in_doubt",
    "action_invalid",
)

_action_body = msgspec.json.Decoder(ActionBody)
_replay_body = msgspec.json.Decoder(ReplayBody)


@post(
    "/{task_id:str}/cancel",
    scope="operate",
    status_code=200,
    body=ActionBody,
    body_required=False,
    responses={
        202: ResponseSpec(
            TaskView,
            generate_examples=False,
            description="The task is running, and its worker was asked to stop it",
        )
    },
    codes=change_codes(*_ACTION_CODES, *_BODY_CODES),
)
async def cancel(
    request: AnyRequest, service: Injected, task_id: given.TaskId
) -> Response[TaskView]:
    """Cancel a task: 200 and CANCELLED if it waited, 202 if it runs and its worker was asked to
    stop it."""
    task_id = given.check_task_id(task_id)
    seen, request_id = await _read_action(request)
    operator = service.operator_of(request.scope)
    state = await operator.cancel(task_id, seen=seen, request_id=request_id)
    task = await service.tasks_of(request.scope).find(task_id)
    view = task_view(task, contents=may_read_contents(request.scope))
    return Response(view, status_code=202 if state is State.PROCESSING else 200)


@post(
    "/{task_id:str}/redrive",
    scope="operate",
    status_code=202,
    body=ActionBody,
    body_required=False,
    codes=change_codes(*_ACTION_CODES, *_BODY_CODES),
)
async def redrive(
    request: AnyRequest, service: Injected, task_id: given.TaskId
) -> Response[TaskView]:
    """Put a FAILED or CANCELLED task back to SCHEDULED, due immediately."""
    task_id = given.check_task_id(task_id)
    seen, request_id = await _read_action(request)
    operator = service.operator_of(request.scope)
    task = await operator.redrive(task_id, seen=seen, request_id=request_id)
    view = task_view(task, contents=may_read_contents(request.scope))
    return Response(view, status_code=202)


@post(
    "/{task_id:str}/replay",
    scope="submit",
    status_code=202,
    body=ReplayBody,
    body_required=False,
    codes=change_codes(
        "task_not_found",
        "task_conflict",
        "idempotency_key_invalid",
        "idempotency_in_flight",
        "submission_invalid",
        "payload_too_large",
        "payload_invalid",
        "payload_not_encoded",
        "unknown_type",
        "limit_unknown",
        "feature_needs_upgrade",
        "idempotency_key_reused",
        "unique_conflict",
        "unfinished_limited",
        "payload_bytes_limited",
        *_BODY_CODES,
    ),
)
async def replay(
    request: AnyRequest, service: Injected, task_id: given.TaskId
) -> Response[TaskView]:
    """Submit a task again as a new task with a key of its own, perhaps with another payload. The
    original does not change. Needs the scope `payloads`, too.

    Without an `idempotency_key` a task is replayed once: the same request again returns the same new
    task.
    """
    check_scope(request.scope, "payloads")
    task_id = given.check_task_id(task_id)
    body = await _read_body(request, _replay_body, ReplayBody(), misfit="submission_invalid")
    wanted = Replay(
        payload=None if body.payload is UNSET else bytes(body.payload),
        options=body,
        idempotency_key=body.idempotency_key,
        trace_context=read_context(request.scope["headers"]),
    )
    submission, submitted, headers = await submit_replay(service, request.scope, task_id, wanted)
    named = {name.decode(): value.decode() for name, value in headers}
    return await _accepted(service, submission, submitted, named)


async def submit_replay(
    service: Service, scope: Scope, task_id: str, wanted: Replay
) -> tuple[Submission, Submitted, list[Header]]:
    """Replay a task for a request, within the quotas of its tenant. With the headers that tell the
    rest of these."""
    tasks, headers = service.tasks_of(scope), list[Header]()

    async def build(original: Task) -> Submission:
        return await accept_replay(original, wanted, config=service.config, types=service.types)

    async def submit(submission: Submission, operation: Operation) -> Submitted:
        standing = service.quotas.of(submission.tenant)
        if standing is None:
            return await tasks.submit(submission)
        try:
            submitted, more = await service.quotas.submit(standing, tasks, submission)
        except Refused as error:
            operation.refused = error.code
            raise
        headers.extend(more)
        return submitted

    submission, submitted = await service.operator_of(scope).replay(task_id, build, submit)
    return submission, submitted, headers


async def _accepted(
    service: Service, submission: Submission, submitted: Submitted, headers: dict[str, str]
) -> Response[TaskView]:
    headers["Location"] = f"/api/tasks/{submitted.task_id}"
    if not submitted.replayed:
        submission = service.engine.queue_limits.bind(submission)
        return Response(fresh_view(submission, submitted), status_code=202, headers=headers)
    headers["Leaseq-Deduplicated" if submitted.deduplicated else "Idempotent-Replayed"] = "true"
    try:
        task = await service.engine.for_tenant(submission.tenant).find(submitted.task_id)
    except TaskNotFound:
        raise TaskConflict(
            f"it was replayed before, as task {submitted.task_id}, which was pruned since: replay it "
            "under another idempotency_key"
        ) from None
    return Response(task_view(task), status_code=202, headers=headers)


async def _read_action(request: AnyRequest) -> tuple[Seen | None, str | None]:
    body = await _read_body(request, _action_body, ActionBody(), misfit="action_invalid")
    if body.operation_id is not None and not is_task_id(body.operation_id):
        raise ActionInvalid("operation_id must be a UUID in lower case")
    return None if body.seen is None else parse_seen(body.seen), body.operation_id


async def _read_body(
    request: AnyRequest, decoder: msgspec.json.Decoder[T], empty: T, *, misfit: str
) -> T:
    """The body of an action, which may be left out."""
    raw = await request.body()
    return (
        decode_json(raw, dict(request.scope["headers"]), decoder, misfit=misfit) if raw else empty
    )


router = Router(
    "/api/tasks",
    route_handlers=[cancel, redrive, replay],
    before_request=given.check_query,
    tags=["tasks"],
)

__all__ = ["router", "submit_replay"]
