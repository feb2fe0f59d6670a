"""The route that lists what happened to the cluster."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from litestar import Request, Response, Router, get
from msgspec import UNSET

from leaseq.ledger.notices import NoticeFilter
from leaseq.model import NAME
from leaseq_api import parameters as given
from leaseq_api.life_schemas import NoticePage, NoticeQuery
from leaseq_api.notice_views import notice_page
from leaseq_api.openapi import api_codes
from leaseq_api.refused import Refused
from leaseq_api.security.principal import require_unbound
from leaseq_api.service import Injected

_FORMS = {
    "name": re.compile(r"[a-z.]{1,100}"),
    "queue": NAME,
    "worker_id": re.compile(r"[!-~]{1,255}"),
    "cursor": re.compile(r"[0-9]{1,18}"),
}
# Without it, a number would be taken as seconds since 1970.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT.{5,40}")


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
    for name in ("since", "until"):
        if name in values and not _TIME.fullmatch(values[name]):
            raise Refused("parameter_invalid", f"{name} is not a time: {values[name][:100]!r}")
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
        since=query.since or None,
        until=query.until or None,
        cursor=int(query.cursor) if query.cursor else None,
        limit=query.limit,
    )


router = Router(
    "/api", route_handlers=[list_notices], before_request=given.check_query, tags=["operate"]
)

__all__ = ["read_notice_filter", "router"]
