"""Make a page of the dashboard, or one of its regions.

A page is one template with one set of values. The parameter `part` asks for the region `live_PART` of
the same template, which is how the script brings a page up to date. Both have an ETag that does not
change while only ages grow, so an unchanged region costs a 304.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from litestar import Request, Response
from msgspec import Struct

from leaseq.errors import LeaseqError, ServerUnreachable
from leaseq.operations.overview.answer import Overview
from leaseq_api import parameters as given
from leaseq_api.refused import Refused
from leaseq_api.security.principal import Principal, principal_of
from leaseq_api.service import Service
from leaseq_api.ui.answer import html
from leaseq_api.ui.templates import render, render_region

AnyRequest = Request[Any, Any, Any]

PART = "part"
# Parts that differ between two versions of a page that show the same.
_VOLATILE = re.compile(
    r'(?<=<time class="age")([^>]*>)[^<]*|data-at="[^"]*"|name="operation_id" value="[^"]*"'
)


class Frame(Struct, frozen=True, kw_only=True):
    """The values of the frame around each page. `overview` is None where it was not read."""

    title: str
    path: str
    principal: Principal
    overview: Overview | None
    away: bool
    live: bool
    label: str | None
    colour: str | None
    signed_in: bool
    can_operate: bool
    can_submit: bool
    kill_tests: bool
    can_reveal: bool


async def page(
    request: AnyRequest,
    service: Service,
    template: str,
    *,
    title: str,
    values: Mapping[str, Any] | None = None,
    status: int = 200,
) -> Response[str]:
    """The answer with a page, or with the region that `?part=` names. `template` extends
    `frame.html`."""
    principal, away, overview = principal_of(request.scope), False, None
    try:
        overview = await service.overview.read(principal)
    except ServerUnreachable as error:
        away = not error.took_too_long
    except LeaseqError:
        pass
    live = request.method == "GET"  # the answer to a form stays as it is
    frame = frame_of(request, service, title=title, overview=overview, away=away, live=live)
    context = dict(values or {}) | {"frame": frame}
    part = request.query_params.get(PART)
    text = render(template, context) if part is None else render_region(template, part, context)
    if text is None:
        raise Refused("parameter_invalid", f"this page has no part {str(part)[:100]!r}")
    mark = _mark_of(text)
    headers = {"ETag": mark}
    if part is None and (cookie := await service.sessions.renew(request.scope)) is not None:
        # A page that a person opened. Parts are fetched by a page that may have been left.
        headers["Set-Cookie"] = cookie
    if status == 200 and request.headers.get("if-none-match") == mark:
        return html("", status=304, headers=headers)
    return html(text, status=status, headers=headers)


def require_changes(service: Service) -> None:
    """Raise `Refused` where this dashboard only shows."""
    if service.config.ui_read_only:
        raise Refused("scope_missing", "this dashboard only shows: LEASEQ_UI_READ_ONLY is set")


def frame_of(
    request: AnyRequest,
    service: Service,
    *,
    title: str,
    overview: Overview | None,
    away: bool = False,
    live: bool = True,
) -> Frame:
    """The frame of a page for the principal of this request. `away`: Postgres does not answer.
    `live`: the address has parts."""
    principal = principal_of(request.scope)
    config = service.config
    changes = not config.ui_read_only
    return Frame(
        title=title,
        path=request.scope["path"],
        principal=principal,
        overview=overview,
        away=away,
        live=live,
        label=config.ui_label,
        colour=config.ui_colour,
        signed_in=principal.key_id is not None,
        can_operate=changes and principal.may("operate"),
        can_submit=changes and principal.may("submit"),
        kill_tests=request.app.state.get("kill_tests") is not None,
        can_reveal=changes and principal.may("payloads"),
    )


async def check_query(request: AnyRequest) -> None:
    """Before a page: refuse parameters that it does not name in `query`. Each page takes `part`."""
    if request.scope["query_string"]:
        given.check_names(request, (*request.route_handler.opt.get("query", ()), PART))


def _mark_of(text: str) -> str:
    steady = _VOLATILE.sub(r"\1", text)
    return f'"{blake2b(steady.encode(), digest_size=12).hexdigest()}"'


__all__ = ["AnyRequest", "Frame", "check_query", "frame_of", "page", "require_changes"]
