"""The pages Failures and Failure, with the acknowledgement of a cause.

An acknowledgement shows its whole effect and ends with the next new version, so it takes one click.
"""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlencode

from litestar import Response, get, post
from msgspec import UNSET, Struct

from leaseq.ledger.failures import GROUP_STATES, FailureGroup
from leaseq.operations.operator import Repeated
from leaseq.operations.why.wording import fields_of
from leaseq_api.failures.route import Fingerprint, TypeName, find_failure, to_filter
from leaseq_api.failures.schemas import FailureQuery
from leaseq_api.failures.views import failure_detail, failure_page
from leaseq_api.security.principal import may_read_contents, principal_of
from leaseq_api.service import Injected
from leaseq_api.ui.answer import ROOT, see_other
from leaseq_api.ui.charts import Line, line
from leaseq_api.ui.forms import OPERATION_ID, new_operation_id, operation_of, read_form
from leaseq_api.ui.page import PART, AnyRequest, page, require_changes
from leaseq_api.ui.wording import segment

FILTERS = ("type", "queue", "state")


class Row(Struct, frozen=True):
    """A cause, and the chart of its last 24 hours."""

    group: FailureGroup
    chart: Line


class ShownError(Struct, frozen=True):
    """The error of a kind of messages."""

    count: int
    task_id: str
    message: str
    traceback: str


@get("/failures", scope="read", query=FailureQuery.__struct_fields__)
async def show_failures(request: AnyRequest, service: Injected) -> Response[str]:
    """Show the page of the causes for which attempts fail."""
    given = {name: text for name, text in request.query_params.items() if text and name != PART}
    found = await service.lists.list_failures(
        to_filter(given), tenant=principal_of(request.scope).tenant
    )
    cursor = failure_page(found).next_cursor
    contents = may_read_contents(request.scope)
    tenant, groups = principal_of(request.scope).tenant, found.groups
    if contents:
        groups = await service.redactor.mask_groups(groups, tenant=tenant)
    values = {
        "rows": [Row(group, line(group.hours)) for group in groups],
        "overview": await service.overview.read(principal_of(request.scope)),
        "given": {name: given.get(name, "") for name in FILTERS},
        "states": GROUP_STATES,
        "contents": contents,
        "more": None if cursor is None else "?" + urlencode(given | {"cursor": cursor}),
    }
    return await page(request, service, "failures.html", title="Failures", values=values)


@get("/failures/{type_name:str}/{fingerprint:str}", scope="read", query=("done",))
async def show_failure_page(
    request: AnyRequest, service: Injected, type_name: TypeName, fingerprint: Fingerprint
) -> Response[str]:
    """Show the page of one cause."""
    principal = principal_of(request.scope)
    group = await find_failure(service, type_name, fingerprint, tenant=principal.tenant)
    recent = await service.lists.list_failed_attempts(
        type_name, fingerprint, tenant=principal.tenant
    )
    detail = failure_detail(group, recent, contents=may_read_contents(request.scope))
    errors = None
    if detail.messages is not UNSET:
        named = [each.task_id for each in detail.messages]
        masks = await service.redactor.masks_of(named, tenant=principal.tenant)
        errors = [
            _shown(each.count, each.task_id, masks.of(each.task_id).json(bytes(each.error)))
            for each in detail.messages
        ]
    values = {
        "group": group,
        "chart": line(group.hours),
        "recent": detail.recent,
        "errors": errors,
        "overview": await service.overview.read(principal),
        "done": request.query_params.get("done"),
        "operation_id": new_operation_id(),
    }
    title = f"{group.exception or group.code} in {group.type}"
    return await page(request, service, "failure.html", title=title, values=values)


@post("/failures/{type_name:str}/{fingerprint:str}/acknowledge", scope="operate", status_code=200)
async def acknowledge_failure(
    request: AnyRequest, service: Injected, type_name: TypeName, fingerprint: Fingerprint
) -> Response[str]:
    """Acknowledge a cause."""
    require_changes(service)
    tenant = principal_of(request.scope).tenant
    await find_failure(service, type_name, fingerprint, tenant=tenant)
    form = await read_form(request, (OPERATION_ID,))
    with suppress(Repeated):
        await service.operator_of(request.scope).acknowledge(
            type_name, fingerprint, request_id=operation_of(form)
        )
    return see_other(
        f"{ROOT}/failures/{segment(type_name)}/{segment(fingerprint)}?done=acknowledged"
    )


@post("/failures/{type_name:str}/{fingerprint:str}/unacknowledge", scope="operate", status_code=200)
async def unacknowledge_failure(
    request: AnyRequest, service: Injected, type_name: TypeName, fingerprint: Fingerprint
) -> Response[str]:
    """Take the acknowledgement of a cause back."""
    require_changes(service)
    tenant = principal_of(request.scope).tenant
    await find_failure(service, type_name, fingerprint, tenant=tenant)
    form = await read_form(request, (OPERATION_ID,))
    with suppress(Repeated):
        await service.operator_of(request.scope).unacknowledge(
            type_name, fingerprint, request_id=operation_of(form)
        )
    return see_other(f"{ROOT}/failures/{segment(type_name)}/{segment(fingerprint)}")


def _shown(count: int, task_id: str, error: bytes) -> ShownError:
    fields = fields_of(error)
    message, traceback = (str(fields.get(name) or "") for name in ("message", "traceback"))
    return ShownError(count, task_id, message, traceback)


HANDLERS = (show_failures, show_failure_page, acknowledge_failure, unacknowledge_failure)

__all__ = ["HANDLERS"]
