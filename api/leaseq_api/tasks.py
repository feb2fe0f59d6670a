"""The routes for submissions and for questions about tasks.

A route decides nothing: it turns HTTP into a request to the engine, and the result into HTTP. A
submission is acknowledged with 202 only after the engine reports that it is committed. Every other
outcome of that call is a problem. The two busiest routes are answered directly (`direct.py`).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import msgspec
from litestar import Request, Response, Router, delete, get, post
from litestar.types import Receive, Scope
from msgspec import UNSET

from leaseq.errors import TaskNotFound
from leaseq.failpoints import reach
from leaseq.model import State, Submission, Task
from leaseq.operations.submission import accept
from leaseq.operations.why.explain import explain
from leaseq.operations.why.facts import of_one_tenant, without_contents
from leaseq.trace_context import RAW_PARENT, read_context
from leaseq_api import parameters as given
from leaseq_api.body import decode_json
from leaseq_api.direct import as_response, direct, json_answer, read_body
from leaseq_api.follow.task_events import follow_task
from leaseq_api.idempotency import RAW_HEADER, parse_key
from leaseq_api.openapi import api_codes, change_codes
from leaseq_api.problems import RawAnswer
from leaseq_api.quotas.headers import Header
from leaseq_api.schemas import (
    AttemptList,
    ListQuery,
    RememberedTask,
    SubmitBody,
    TaskPage,
    TaskView,
    Why,
)
from leaseq_api.security.principal import may_read_contents, principal_of
from leaseq_api.service import Injected, Service
from leaseq_api.views import attempt_view, fresh_view, remembered, task_page, task_view

_decoder = msgspec.json.Decoder(SubmitBody)
REPLAYED = (b"idempotent-replayed", b"true")
DEDUPLICATED = (b"leaseq-deduplicated", b"true")
AnyRequest = Request[Any, Any, Any]


async def answer_submission(service: Service, scope: Scope, receive: Receive) -> RawAnswer:
    """Record the task of a request, then acknowledge it."""
    tasks = service.tasks_of(scope)
    submission = await _submission(service, scope, receive)
    standing = service.quotas.of(submission.tenant)
    headers: list[Header] = []
    if standing is None:
        submitted = await tasks.submit(submission)
    else:
        submitted, headers = await service.quotas.submit(standing, tasks, submission)
    reach("submit.answering")
    location = (b"location", b"/api/tasks/" + submitted.task_id.encode())
    if not submitted.replayed:
        if submitted.state is State.SCHEDULED:
            submission = service.engine.queue_limits.bind(submission)
        return json_answer(202, fresh_view(submission, submitted), location, *headers)
    replayed = DEDUPLICATED if submitted.deduplicated else REPLAYED
    is_deduplicated = True if submitted.deduplicated else UNSET
    try:
        task = await tasks.find(submitted.task_id)
    except TaskNotFound:
        # A pruned task has no address.
        return json_answer(202, remembered(submission, submitted), replayed, *headers)
    view = task_view(task, contents=may_read_contents(scope), deduplicated=is_deduplicated)
    return json_answer(202, view, location, replayed, *headers)


async def answer_task(service: Service, scope: Scope, _: Receive) -> RawAnswer:
    """Show one task as it is."""
    task_id = given.check_task_id(scope["path_params"]["task_id"])
    task = await service.tasks_of(scope).find(task_id)
    return json_answer(200, task_view(task, contents=may_read_contents(scope)))


@post(
    "/",
    scope="submit",
    status_code=202,
    middleware=[direct(answer_submission, scope="submit")],
    codes=change_codes(
        "json_invalid",
        "payload_too_large",
        "idempotency_key_invalid",
        "idempotency_in_flight",
        "media_type_unsupported",
        "submission_invalid",
        "payload_invalid",
        "payload_not_encoded",
        "unknown_type",
        "limit_unknown",
        "feature_needs_upgrade",
        "idempotency_key_reused",
        "unique_conflict",
        "unfinished_limited",
        "payload_bytes_limited",
    ),
)
async def submit(request: AnyRequest, service: Injected) -> Response[TaskView | RememberedTask]:
    """Submit a task. It is recorded before it is acknowledged."""
    return as_response(await answer_submission(service, request.scope, request.receive))


@get(
    "/{task_id:str}",
    scope="read",
    middleware=[direct(answer_task, scope="read")],
    query=("wait",),
    codes=api_codes("task_not_found"),
)
async def show(
    request: AnyRequest, service: Injected, task_id: given.TaskId, wait: given.WaitSeconds = 0.0
) -> Response[TaskView]:
    """Show one task; with `wait`, when it has ended."""
    task_id = given.check_task_id(task_id)
    seconds = given.check_wait(wait)
    task = await _await_end(service, request.scope, task_id, seconds=seconds)
    return Response(task_view(task, contents=may_read_contents(request.scope)))


@get("/{task_id:str}/attempts", scope="read", codes=api_codes("task_not_found", "lists_busy"))
async def attempts(
    request: AnyRequest, service: Injected, task_id: given.TaskId
) -> Response[AttemptList]:
    """List the attempts of a task that did not succeed, oldest first."""
    task_id = given.check_task_id(task_id)
    tasks = service.tasks_of(request.scope)
    task = await tasks.find(task_id)
    found = await service.lists.list_attempts(task_id, tenant=tasks.tenant)
    contents = may_read_contents(request.scope)
    views = [attempt_view(attempt, contents=contents) for attempt in found]
    return Response(AttemptList(task_id=task_id, erased_at=task.erased_at, attempts=views))


@get(
    "/{task_id:str}/why",
    scope="read",
    query=("idempotency_key",),
    codes=api_codes("task_not_found", "lists_busy"),
)
async def why(
    request: AnyRequest,
    service: Injected,
    task_id: given.TaskId,
    idempotency_key: given.OwnKey = "",
) -> Response[Why]:
    """Explain why a task is where it is, what happens next and when, and what a person can do.

    A key that is bound to a tenant gets no hosts, no names of people, and no numbers in which tasks
    of other tenants count. Texts of errors need the scope `payloads`.
    """
    task_id, principal = given.check_task_id(task_id), principal_of(request.scope)
    key = given.check_key(idempotency_key) if idempotency_key else None
    reader = service.engine.fact_reader(service.lists)
    facts = await reader.read(
        task_id, tenant=principal.tenant, key=key, key_tenant=principal.submits_to
    )
    if principal.tenant is not None:
        facts = of_one_tenant(facts)
    if not may_read_contents(request.scope):
        facts = without_contents(facts)
    return Response(explain(facts))


@get("/", scope="read", query=ListQuery.__struct_fields__, codes=api_codes("lists_busy"))
async def list_tasks(request: AnyRequest, service: Injected) -> Response[TaskPage]:
    """List tasks, newest first, page by page, without payloads and results.

    A page comes from the next few thousand tasks. If few of them match, it may have few tasks or
    none, and a cursor to continue.
    """
    wanted, principal = given.read_filter(request), principal_of(request.scope)
    # A key belongs to a tenant.
    tenant = principal.tenant if wanted.idempotency_key is None else principal.submits_to
    listing = await service.lists.list_tasks(wanted, tenant=tenant)
    return Response(task_page(listing, contents=may_read_contents(request.scope)))


@delete(
    "/{task_id:str}",
    scope="operate",
    status_code=200,
    codes=change_codes("task_not_found", "task_conflict"),
)
async def erase(
    request: AnyRequest, service: Injected, task_id: given.TaskId
) -> Response[TaskView]:
    """Remove payload, result, error, progress and attempts of a task that has ended. The task stays
    until it is pruned, and shows when it was erased."""
    task_id = given.check_task_id(task_id)
    tasks = service.tasks_of(request.scope)
    await service.operator_of(request.scope).erase(task_id)
    return Response(task_view(await tasks.find(task_id)))


@delete(
    "/{task_id:str}/idempotency-key",
    scope="operate",
    status_code=200,
    codes=change_codes("task_not_found", "task_conflict"),
)
async def free_key(
    request: AnyRequest, service: Injected, task_id: given.TaskId
) -> Response[TaskView]:
    """Free the idempotency key of a FAILED or CANCELLED task, so that the next submission with it
    makes another task. This task does not run again."""
    task_id = given.check_task_id(task_id)
    tasks = service.tasks_of(request.scope)
    await service.operator_of(request.scope).free_key(task_id)
    view = task_view(await tasks.find(task_id), contents=may_read_contents(request.scope))
    return Response(view)


async def _submission(service: Service, scope: Scope, receive: Receive) -> Submission:
    headers = scope["headers"]
    key = parse_key([value.decode("latin-1") for name, value in headers if name == RAW_HEADER])
    raw = await read_body(receive, max_bytes=service.config.payload_max_bytes)
    named = dict(headers)
    body = decode_json(raw, named, _decoder)
    known = service.types.known(body.type)
    if known is None:
        known = await service.types.look_again(body.type)
    context = read_context(headers) if RAW_PARENT in named else None
    request = body.to_request(key=key, trace_context=context)
    return accept(request, service.config, tenant=principal_of(scope).submits_to, known=known)


async def _await_end(service: Service, scope: Scope, task_id: str, *, seconds: float) -> Task:
    """The task after it has ended, after `seconds`, or when this process is asked to stop."""
    tasks = service.tasks_of(scope)
    task = await tasks.find(task_id)
    if task.finished_at is not None or seconds == 0:
        return task
    waiter = service.engine.waiter
    with service.held.hold(scope) as answer, waiter.watch(task_id, ends_only=True) as watch:
        answer.news = watch.news
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await watch.news.wait()
    await service.check_again(scope)
    return await tasks.find(task_id)


router = Router(
    "/api/tasks",
    route_handlers=[
        submit,
        show,
        attempts,
        why,
        follow_task,
        list_tasks,
        erase,
        free_key,
    ],
    before_request=given.check_query,
    tags=["tasks"],
)

__all__ = ["router"]
