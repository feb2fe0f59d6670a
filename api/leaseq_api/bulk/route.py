"""The routes of operations on many tasks: preview, start, show, stop and resume."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, Response, get, post

from leaseq.codec import new_task_id
from leaseq.operations.bulk.bulk_operations import checked_filter
from leaseq_api import parameters as given
from leaseq_api.body import decode_json
from leaseq_api.bulk.schemas import (
    BulkOperationView,
    PreviewBody,
    PreviewView,
    StartBody,
    bulk_view,
    preview_view,
)
from leaseq_api.openapi import api_codes, change_codes
from leaseq_api.security.principal import principal_of
from leaseq_api.service import Injected

AnyRequest = Request[Any, Any, Any]

_preview_body = msgspec.json.Decoder(PreviewBody)
_start_body = msgspec.json.Decoder(StartBody)
BODY_CODES = ("json_invalid", "media_type_unsupported", "operation_invalid", "lists_busy")


@post(
    "/operations/preview",
    scope="operate",
    status_code=200,
    body=PreviewBody,
    codes=change_codes(*BODY_CODES),
)
async def preview_operation(request: AnyRequest, service: Injected) -> Response[PreviewView]:
    """Count the tasks that an operation would change, with samples. Nothing is changed or
    recorded.

    The look is bounded: if `exact` is false, there are at least `count` tasks. `operation_id` and
    `as_of` are for the request that starts the operation.
    """
    headers = dict(request.scope["headers"])
    body = decode_json(await request.body(), headers, _preview_body, misfit="operation_invalid")
    tenant = principal_of(request.scope).tenant
    found = await service.lists.preview(body.action, body.filter.to_filter(), tenant=tenant)
    return Response(preview_view(new_task_id(), found))


@post(
    "/operations",
    scope="operate",
    status_code=202,
    body=StartBody,
    codes=change_codes(*BODY_CODES, "operation_conflict"),
)
async def start_operation(request: AnyRequest, service: Injected) -> Response[BulkOperationView]:
    """Start an operation on many tasks. It goes on without this process.

    It changes the tasks that a preview has counted. Tasks that were submitted (cancel) or have ended
    (redrive) after `as_of` stay as they are. A request that is repeated with the same `operation_id`
    starts nothing, and is answered with the operation.
    """
    headers = dict(request.scope["headers"])
    body = decode_json(await request.body(), headers, _start_body, misfit="operation_invalid")
    wanted = checked_filter(body.action, body.filter.to_filter())
    counted = await service.lists.preview(
        body.action, wanted, tenant=principal_of(request.scope).tenant, as_of=body.as_of
    )
    operator = service.bulk_operator_of(request.scope)
    return Response(
        bulk_view(await operator.start(body.to_request(wanted), counted)), status_code=202
    )


@get(
    "/operations/{operation_id:str}",
    scope="operate",
    codes=api_codes("operation_not_found"),
)
async def show_operation(
    request: AnyRequest, service: Injected, operation_id: given.OperationId
) -> Response[BulkOperationView]:
    """Show the progress of an operation on many tasks."""
    operation_id = given.check_operation_id(operation_id)
    tenant = principal_of(request.scope).tenant
    return Response(bulk_view(await service.engine.bulk.find(operation_id, tenant=tenant)))


@post(
    "/operations/{operation_id:str}/stop",
    scope="operate",
    status_code=200,
    codes=change_codes("operation_not_found", "operation_conflict"),
)
async def stop_operation(
    request: AnyRequest, service: Injected, operation_id: given.OperationId
) -> Response[BulkOperationView]:
    """Stop an operation: after the answer it changes no task. It can be resumed."""
    operation_id = given.check_operation_id(operation_id)
    return Response(bulk_view(await service.bulk_operator_of(request.scope).stop(operation_id)))


@post(
    "/operations/{operation_id:str}/resume",
    scope="operate",
    status_code=200,
    codes=change_codes("operation_not_found", "operation_conflict"),
)
async def resume_operation(
    request: AnyRequest, service: Injected, operation_id: given.OperationId
) -> Response[BulkOperationView]:
    """Let an operation that was stopped go on, from where it was."""
    operation_id = given.check_operation_id(operation_id)
    return Response(bulk_view(await service.bulk_operator_of(request.scope).resume(operation_id)))


# They share an address with the list of operations, and so its router (audit.py).
HANDLERS = [
    preview_operation,
    start_operation,
    show_operation,
    stop_operation,
    resume_operation,
]

__all__ = ["HANDLERS"]
