"""The page Diary: what happened to the cluster, with what it means and what to do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import msgspec
from litestar import Response, get
from msgspec import Struct

from leaseq.ledger.notices import LOOKED_AT, NoticeFilter
from leaseq.operations.notices import NAMES
from leaseq_api.life_schemas import NoticeView
from leaseq_api.notice_views import notice_page
from leaseq_api.notices import read_notice_filter
from leaseq_api.refused import Refused
from leaseq_api.security.principal import require_unbound
from leaseq_api.service import Injected
from leaseq_api.ui.answer import ROOT
from leaseq_api.ui.page import AnyRequest, page

FILTERS = ("name", "queue", "worker_id", "since", "until")
# Fields that have a place of their own in a row.
PLACED = ("queue", "task_id", "worker_id")


class Row(Struct, frozen=True, kw_only=True):
    """One notice. `fields`: the others than those that have a place. `explained`: the row before it
    does not have the same meaning. `code`: whether each piece of the meaning is code."""

    notice: NoticeView
    fields: list[tuple[str, str]]
    explained: bool
    pieces: list[tuple[str, bool]]


@get("/events", scope="operate", query=(*FILTERS, "cursor"))
async def show_diary(request: AnyRequest, service: Injected) -> Response[str]:
    """Show the page of what happened to the cluster, newest first."""
    require_unbound(request.scope)
    given = {name: request.query_params.get(name, "").strip() for name in FILTERS}
    cursor = request.query_params.get("cursor", "")
    problem, found, more = "", None, None
    try:
        wanted = _filter_of(given, cursor)
    except Refused as error:
        problem = str(error)
    else:
        found = notice_page(await service.lists.list_notices(wanted))
        if found.next_cursor is not None:
            kept = {name: value for name, value in given.items() if value}
            more = f"{ROOT}/events?{urlencode(kept | {'cursor': found.next_cursor})}"
    values = {
        "given": given,
        "problem": problem,
        "rows": [] if found is None else rows_of(found.notices),
        "names": sorted(NAMES),
        "filtered": any(given.values()) or bool(cursor),
        "looked_at": LOOKED_AT,
        "more": more,
        "first": not cursor,
    }
    status = 422 if problem else 200
    return await page(request, service, "diary.html", title="Diary", values=values, status=status)


def rows_of(notices: list[NoticeView]) -> list[Row]:
    """The rows of a page. Where notices of one name follow each other, the first is explained."""
    rows = []
    before = ""
    for notice in notices:
        fields: dict[str, Any] = msgspec.json.decode(bytes(notice.fields))
        rows.append(
            Row(
                notice=notice,
                fields=[
                    (name, value if isinstance(value, str) else msgspec.json.encode(value).decode())
                    for name, value in fields.items()
                    if name not in PLACED
                ],
                explained=notice.name != before,
                pieces=[
                    (text, number % 2 == 1) for number, text in enumerate(notice.meaning.split("`"))
                ],
            )
        )
        before = notice.name
    return rows


def _filter_of(given: dict[str, str], cursor: str) -> NoticeFilter:
    """The filter of an address. Raises `Refused`."""
    values = {name: value for name, value in given.items() if value}
    for name in ("since", "until"):
        if name in values:
            values[name] = _moment(name, values[name])
    return read_notice_filter(values | ({"cursor": cursor} if cursor else {}))


def _moment(name: str, text: str) -> str:
    """A time with its zone. One without a zone is in UTC, as the page shows times."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(
            "parameter_invalid", f"{name} must be a time such as 2026-11-30 03:12: {text[:100]!r}"
        ) from None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).isoformat()


HANDLERS = (show_diary,)

__all__ = ["HANDLERS", "rows_of"]
