"""The page Tasks."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from litestar import Response, get
from msgspec import Struct

from leaseq.codec import is_task_id
from leaseq.labels import MAX_ASKED, Labels, parse_labels
from leaseq.ledger.task_lists import LABELLED_LOOKED_AT, LOOKED_AT, TaskFilter
from leaseq.model import FINGERPRINT, NAME, State
from leaseq.operations.submission import KEY_MAX_LENGTH
from leaseq.operations.why.wording import error_line
from leaseq_api.security.principal import may_read_contents, principal_of
from leaseq_api.service import Injected, Service
from leaseq_api.ui.answer import ROOT, see_other
from leaseq_api.ui.page import AnyRequest, page

FILTERS = ("state", "queue", "type", "error", "key", "id")
PAGE_SIZE = 50


class Chip(Struct, frozen=True):
    """A label of the filter, and the address without it."""

    text: str
    without: str


@get("/tasks", scope="read", query=(*FILTERS, "label", "q", "cursor"))
async def show_tasks(request: AnyRequest, service: Injected) -> Response[str]:
    """Show the page of tasks, newest first, that a filter selects."""
    given = {name: request.query_params.get(name, "").strip() for name in FILTERS}
    text = request.query_params.get("q", "").strip()
    if text:  # from the box Go to: a key, or else the name of a type
        name, value = ("key", text[4:]) if text.startswith("key:") else ("type", text)
        return see_other(f"{ROOT}/tasks?{urlencode({name: value})}")
    texts = [each for each in request.query_params.getall("label", []) if each.strip()]
    wrong, labels = _wrong(given), dict[str, str]()
    try:
        labels = parse_labels(texts, most=MAX_ASKED)
    except ValueError as error:
        wrong["label"] = str(error)
    if given["id"] and "id" not in wrong:
        return see_other(f"{ROOT}/tasks/{given['id'].lower()}")
    cursor = request.query_params.get("cursor", "")
    values: dict[str, Any] = {
        "given": given,
        "chips": [Chip(text, _address(given, [t for t in texts if t != text])) for text in texts],
        "filtered": bool(texts or any(given.values())),
        "many": _many(given, texts) if not wrong else {},
        "wrong": wrong,
        "states": list(State),
        "tasks": [],
        "more": None,
        "first": not cursor,
        "looked_at": LOOKED_AT,
        "labelled_looked_at": LABELLED_LOOKED_AT,
        "at": None,
        "errors": {},
    }
    if not wrong:
        values |= await _listed(request, service, given, texts, labels)
    return await page(request, service, "tasks.html", title="Tasks", values=values)


async def _listed(
    request: AnyRequest,
    service: Service,
    given: dict[str, str],
    texts: list[str],
    labels: Labels,
) -> dict[str, Any]:
    """The tasks that a filter selects, with their errors in words, and the address of older ones."""
    principal, cursor = principal_of(request.scope), request.query_params.get("cursor", "")
    wanted = TaskFilter(
        state=State(given["state"]) if given["state"] else None,
        queue=given["queue"] or None,
        type=given["type"] or None,
        idempotency_key=given["key"] or None,
        labels=labels,
        error=given["error"] or None,
        cursor=cursor if is_task_id(cursor) else None,
        limit=PAGE_SIZE,
    )
    # A key belongs to a tenant.
    tenant = principal.submits_to if given["key"] else principal.tenant
    listing = await service.lists.list_tasks(wanted, tenant=tenant)
    found: dict[str, Any] = {"tasks": listing.tasks}
    if listing.cursor is not None:
        found["more"] = _address(given, texts, cursor=listing.cursor)
    if may_read_contents(request.scope):
        failed = {task.task_id: task.error for task in listing.tasks if task.error is not None}
        masks = await service.redactor.masks_of(failed, tenant=tenant)
        found["errors"] = {
            name: error_line(masks.of(name).json(error))[:120] for name, error in failed.items()
        }
    return found


def _address(given: dict[str, str], labels: list[str], *, cursor: str | None = None) -> str:
    """The address of a page with this filter."""
    kept = [(name, value) for name, value in given.items() if value]
    kept += [("label", text) for text in labels]
    kept += [("cursor", cursor)] if cursor is not None else []
    return f"{ROOT}/tasks?{urlencode(kept)}" if kept else f"{ROOT}/tasks"


def _many(given: dict[str, str], labels: list[str]) -> dict[str, str]:
    """The previews of the operations on all tasks that a filter selects, by action. None for a
    filter that such an operation does not know."""
    if given["key"] or not (labels or given["queue"] or given["type"] or given["error"]):
        return {}
    states = {"redrive": ("", State.FAILED), "cancel": ("",)}
    if given["error"]:
        del states["cancel"]
    fields = [(name, given[name]) for name in ("queue", "type", "error") if given[name]]
    fields += [("label", text) for text in labels]
    return {
        action: f"{ROOT}/operations/new?{urlencode([('action', action), *fields])}"
        for action, fitting in states.items()
        if given["state"] in fitting
    }


def _wrong(given: dict[str, str]) -> dict[str, str]:
    """The sentence about each filter that is not valid."""
    wrong = {}
    if given["state"] and given["state"] not in set(State):
        wrong["state"] = f"there is no such state; the states are {', '.join(State)}"
    for name in ("queue", "type"):
        if given[name] and not NAME.fullmatch(given[name]):
            wrong[name] = "a name has 1 to 128 characters of A-Z a-z 0-9 _ . -"
    if given["error"] and not FINGERPRINT.fullmatch(given["error"]):
        wrong["error"] = "a fingerprint looks like 4f1c09ab77d2"
    key = given["key"]
    if given["error"] and key:
        wrong["error"] = "an error and a key do not go together"
    if len(key) > KEY_MAX_LENGTH or not (key.isascii() and key.isprintable()):
        wrong["key"] = f"a key has 1 to {KEY_MAX_LENGTH} printable ASCII characters"
    if given["id"] and not is_task_id(given["id"].lower()):
        wrong["id"] = "an id looks like 019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6a7b"
    return wrong


HANDLERS = (show_tasks,)

__all__ = ["HANDLERS"]
