"""The page Tasks."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from litestar import Response, get

from leaseq.codec import is_task_id
from leaseq.ledger.task_lists import LOOKED_AT, TaskFilter
from leaseq.model import NAME, State
from leaseq.operations.submission import KEY_MAX_LENGTH
from leaseq.operations.why.wording import error_line
from leaseq_api.security.principal import may_read_contents, principal_of
from leaseq_api.service import Injected
from leaseq_api.ui.answer import ROOT, see_other
from leaseq_api.ui.page import AnyRequest, page

FILTERS = ("state", "queue", "type", "key", "id")
PAGE_SIZE = 50


@get("/tasks", scope="read", query=(*FILTERS, "q", "cursor"))
async def show_tasks(request: AnyRequest, service: Injected) -> Response[str]:
    """Show the page of tasks, newest first, that a filter selects."""
    given = {name: request.query_params.get(name, "").strip() for name in FILTERS}
    text = request.query_params.get("q", "").strip()
    if text:  # from the box Go to: a key, or else the name of a type
        name, value = ("key", text[4:]) if text.startswith("key:") else ("type", text)
        return see_other(f"{ROOT}/tasks?{urlencode({name: value})}")
    wrong = _wrong(given)
    if given["id"] and "id" not in wrong:
        return see_other(f"{ROOT}/tasks/{given['id'].lower()}")
    cursor = request.query_params.get("cursor", "")
    values: dict[str, Any] = {
        "given": given,
        "wrong": wrong,
        "states": list(State),
        "tasks": [],
        "more": None,
        "first": not cursor,
        "looked_at": LOOKED_AT,
        "at": None,
        "errors": {},
    }
    if not wrong:
        principal = principal_of(request.scope)
        wanted = TaskFilter(
            state=State(given["state"]) if given["state"] else None,
            queue=given["queue"] or None,
            type=given["type"] or None,
            idempotency_key=given["key"] or None,
            cursor=cursor if is_task_id(cursor) else None,
            limit=PAGE_SIZE,
        )
        # A key belongs to a tenant.
        tenant = principal.submits_to if given["key"] else principal.tenant
        listing = await service.lists.list_tasks(wanted, tenant=tenant)
        values["tasks"] = listing.tasks
        if listing.cursor is not None:
            kept = {name: value for name, value in given.items() if value}
            values["more"] = f"{ROOT}/tasks?{urlencode(kept | {'cursor': listing.cursor})}"
        if may_read_contents(request.scope):
            failed = {task.task_id: task.error for task in listing.tasks if task.error is not None}
            masks = await service.redactor.masks_of(failed, tenant=tenant)
            values["errors"] = {
                name: error_line(masks.of(name).json(error))[:120] for name, error in failed.items()
            }
    return await page(request, service, "tasks.html", title="Tasks", values=values)


def _wrong(given: dict[str, str]) -> dict[str, str]:
    """The sentence about each filter that is not valid."""
    wrong = {}
    if given["state"] and given["state"] not in set(State):
        wrong["state"] = f"there is no such state; the states are {', '.join(State)}"
    for name in ("queue", "type"):
        if given[name] and not NAME.fullmatch(given[name]):
            wrong[name] = "a name has 1 to 128 characters of A-Z a-z 0-9 _ . -"
    key = given["key"]
    if len(key) > KEY_MAX_LENGTH or not (key.isascii() and key.isprintable()):
        wrong["key"] = f"a key has 1 to {KEY_MAX_LENGTH} printable ASCII characters"
    if given["id"] and not is_task_id(given["id"].lower()):
        wrong["id"] = "an id looks like 019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6a7b"
    return wrong


HANDLERS = (show_tasks,)

__all__ = ["HANDLERS"]
