"""Answers of the dashboard: HTML, and the headers that every page has.

Invariants: the policy allows no other origin, no inline script and no inline style, so a text that
reached a page unescaped could neither run nor load anything. No answer is kept, but files under an
address of their content.
"""

from __future__ import annotations

from collections.abc import Mapping

from litestar import Response
from litestar.enums import MediaType

ROOT = "/ui"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_FEATURES = (
    "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), microphone=(), "
    "payment=(), usb=()"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    # The address of a page may contain the id of a task. With `no-referrer` a browser would send
    # `Origin: null` with each form (Fetch, 3.1), and the form would count as one of another site.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": _FEATURES,
}


def is_page(path: str) -> bool:
    """Whether an address belongs to the dashboard."""
    return path == ROOT or path.startswith(f"{ROOT}/")


def html(
    text: str, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response[str]:
    """A page, or a part of one."""
    return Response(
        text, status_code=status, media_type=MediaType.HTML, headers=HEADERS | dict(headers or {})
    )


def see_other(path: str, *, headers: Mapping[str, str] | None = None) -> Response[str]:
    """The answer to a form: the page to look at next. `path` is an address of this service."""
    return html("", status=303, headers={"Location": path} | dict(headers or {}))


__all__ = ["HEADERS", "POLICY", "ROOT", "html", "is_page", "see_other"]
