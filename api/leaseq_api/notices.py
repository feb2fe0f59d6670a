"""The route that lists what happened to the cluster."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from litestar import Request, Response, Router, get
from msgspec import UNSET

from leaseq.ledger.notices import NoticeFilter, NoticeListing
from leaseq.model import NAME
from leaseq_api import parameters as given
from leaseq_api.life_schemas import NoticePage, NoticeQuery, NoticeView
from leaseq_api.openapi import api_codes
from leaseq_api.refused import Refused
from leaseq_api.schemas import Json
from leaseq_api.security.principal import require_unbound
from leaseq_api.service import Injected

_FORMS = {
    "name": re.compile(r"[a-z.]{1,100}"),
    "queue": NAME,
    "worker_id": re.compile(r"[!-~]{1,255}"),
    "cursor": re.compile(r"[0-9]{1,18}"),
}


@get(
    "/notices",
    scope="operate",
    query=NoticeQuery.__struct_fields__,
    codes=api_codes("lists_busy"),
)
async def list_notices(request: Request[Any, Any, Any], service: Injected) -> Response[NoticePage]:
    """List what happened to the cluster, newest first, page by page: workers that were reaped, endings
    that were refused, queues that were paused, stores that were away.

    It concerns all tenants, so it needs a key that is bound to none. Some events may be missing: a
    process records at most ten of a name in a second, and a process that is killed loses the last two
    seconds.
    """
    require_unbound(request.scope)
    wanted = read_notice_filter(dict(request.query_params.multi_items()))
    return Response(notice_page(await service.lists.list_notices(wanted)))


def read_notice_filter(values: dict[str, str]) -> NoticeFilter:
    """The filter of a query. Raises `Refused`."""
    try:
        query = msgspec.convert(values, NoticeQuery, strict=False)
    except msgspec.ValidationError as error:
        raise Refused("parameter_invalid", str(error).replace("$.", "")) from None
    for name, form in _FORMS.items():
        value = getattr(query, name)
        if value is not UNSET and not form.fullmatch(value):
            raise Refused("parameter_invalid", f"{name} is not valid: {value[:100]!r}")
    return NoticeFilter(
        name=query.name or None,
        queue=query.queue or None,
        worker_id=query.worker_id or None,
        cursor=int(query.cursor) if query.cursor else None,
        limit=query.limit,
    )


def notice_page(listing: NoticeListing) -> NoticePage:
    """A page of notices."""
    views = [
        NoticeView(
            **{
                name: getattr(notice, name)
                for name in NoticeView.__struct_fields__
                if name != "fields"
            },
            fields=Json(notice.fields),
        )
        for notice in listing.notices
    ]
    cursor = None if listing.cursor is None else str(listing.cursor)
    return NoticePage(notices=views, next_cursor=cursor)


router = Router(
    "/api", route_handlers=[list_notices], before_request=given.check_query, tags=["operate"]
)

__all__ = ["notice_page", "read_notice_filter", "router"]
