"""Begin and end the session of a browser."""

from __future__ import annotations

import re

from litestar import Response, get, post

from leaseq_api.refused import Refused
from leaseq_api.security.hosts import is_loopback
from leaseq_api.service import Injected
from leaseq_api.ui.answer import ROOT, html, see_other
from leaseq_api.ui.forms import read_form
from leaseq_api.ui.page import AnyRequest
from leaseq_api.ui.templates import render

# An address of the dashboard, and of no other site.
_NEXT = re.compile(rf"{ROOT}(/[A-Za-z0-9_.-]+)*(\?[A-Za-z0-9_.~%&=:+-]*)?")
STATUS = {"too_many_attempts": 429}


@get("/login", scope=None, query=("next",))
async def ask_key(request: AnyRequest, service: Injected) -> Response[str]:
    """Ask for an API key."""
    if service.authenticator.keys is None:
        return see_other(ROOT)
    return _form(request, service, request.query_params.get("next", ROOT))


@post("/login", scope=None, status_code=200)
async def sign_in(request: AnyRequest, service: Injected) -> Response[str]:
    """Begin a session with an API key, and go on to the page that was asked for."""
    form = await read_form(request, ("key", "next"))
    target = form.get("next", ROOT)
    keys = service.authenticator.keys
    if keys is None:
        return see_other(ROOT)
    text = form.get("key", "").strip()
    try:
        principal = await service.authenticator.check(text, keys, request.scope)
        if not principal.may("read"):
            raise Refused("scope_missing", "the API key does not have the scope read")
    except Refused as refused:
        return _form(request, service, target, refused=refused)
    assert principal.key_id is not None
    cookie = await service.sessions.begin(principal.key_id)
    return see_other(_checked(target), headers={"Set-Cookie": cookie})


@post("/logout", scope=None, status_code=200)
async def sign_out(request: AnyRequest, service: Injected) -> Response[str]:
    """End the session of this browser."""
    await read_form(request, ())
    return see_other(f"{ROOT}/login", headers={"Set-Cookie": service.sessions.end()})


def _form(
    request: AnyRequest, service: Injected, target: str, *, refused: Refused | None = None
) -> Response[str]:
    host = request.headers.get("host", "").rpartition(":")[0] or request.headers.get("host", "")
    plain = request.scope["scheme"] == "http" and not is_loopback(host)
    values = {
        "next": _checked(target),
        "refused": None if refused is None else str(refused),
        "lost": plain and not service.config.ui_cookie_insecure,
        "label": service.config.ui_label,
        "colour": service.config.ui_colour,
    }
    status = 200 if refused is None else STATUS.get(refused.code, 401)
    return html(render("sign_in.html", values), status=status)


def _checked(target: str) -> str:
    return target if _NEXT.fullmatch(target) else ROOT


HANDLERS = (ask_key, sign_in, sign_out)

__all__ = ["HANDLERS"]
