"""The checks that every request passes before routing.

In order: headers that must be unique are unique, Host is one that this API serves, the client is
named by a proxy that may do so, the path has its canonical spelling, no web page of another site
sends a request that changes something, and an API key, where one was sent to an address that takes
one, is valid and within its limit. Routes and their scopes are checked later. HEAD is answered as
GET without the content, and OPTIONS with the methods of the address (RFC 9110, 9.3).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from litestar import Litestar
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from leaseq.errors import LeaseqError
from leaseq.metrics.tally import TALLY
from leaseq_api.http_server.head import Headers
from leaseq_api.problems import STORE_AWAY, RawAnswer, allow_header, raw_problem
from leaseq_api.quotas.headers import Header, with_limit
from leaseq_api.refused import Refused
from leaseq_api.security.hosts import Hosts
from leaseq_api.security.principal import ANONYMOUS, SCOPE, key_missing
from leaseq_api.security.proxies import Proxies
from leaseq_api.service import Service
from leaseq_api.ui.answer import is_page
from leaseq_api.ui.refused_pages import raw_page

# Headers that this service reads and that must be unique. A proxy could have checked a different
# copy.
ONCE = frozenset(
    {
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"host",
        b"leaseq-tenant",
        b"origin",
        b"sec-fetch-site",
    }
)
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# A page of this service, or no page: an address that a person typed.
OWN_SITES = frozenset({b"same-origin", b"none"})
HEALTH = b"/health/"
# No address under it is open. Its requests count against the limit of a key.
API = "/api/"

# No address of this service needs an escape, so a path has one spelling, and rules of a proxy about
# paths hold.
_PATH = re.compile(rb"/|(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9_.-]+)+")
_PARAMETER = re.compile(r"\\\{[^/]+?\\\}")


class Gate:
    """An ASGI application in front of the routes of `app`."""

    def __init__(self, app: Litestar, inner: ASGIApp, hosts: Hosts, proxies: Proxies) -> None:
        self._app = app
        self._inner = inner
        self._hosts = hosts
        self._plain = {
            route.path: frozenset(route.methods)
            for route in app.routes
            if hasattr(route, "methods") and "{" not in route.path
        }
        self._proxies = proxies
        self._routes = [
            (_pattern(route.path), frozenset(route.methods))
            for route in app.routes
            if hasattr(route, "methods")
        ]
        self._open = [
            _pattern(route.path)
            for route in app.routes
            if all(handler.opt[SCOPE] is None for handler in getattr(route, "route_handlers", ()))
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            found = _unique(scope)
            method = self._check(scope, found)
            service: Service = self._app.state.service
            if method == "OPTIONS" or self._is_open(scope["path"]):
                principal = ANONYMOUS
            else:
                principal = await service.authenticator.principal(found, scope)
            scope["principal"] = principal  # type: ignore[typeddict-unknown-key]
            if principal.limit is not None and scope["path"].startswith(API):
                assert principal.key_id is not None
                headers = await service.rates.admit(principal.key_id, principal.limit)
                send = _with_limit(send, headers)
        except Refused as refused:
            await _refuse(refused.code, str(refused), scope, send, headers=refused.headers)
            return
        except LeaseqError as error:
            await _refuse(error.code, STORE_AWAY, scope, send)
            return
        if method == "HEAD":
            scope["method"] = "GET"  # type: ignore[typeddict-unknown-key]
            # for routes whose content does not end
            scope["head_only"] = True  # type: ignore[typeddict-unknown-key]
            await self._inner(scope, receive, _without_content(send))
        elif method == "OPTIONS" and (allowed := self._methods(scope["path"])):
            await send(
                {
                    "type": "http.response.start",
                    "status": 204,
                    "headers": [(b"allow", allow_header(allowed).encode())],
                }
            )
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await self._inner(scope, receive, send)

    async def judge(self, scope: Scope) -> RawAnswer | None:
        """Judge a request with a large body by its head, before the body has arrived. None: the body
        is wanted. All is checked again when it is there."""
        path = scope["path"]
        try:
            found = _unique(scope)
            self._check(scope, found)
            if not self._methods(path):
                raise Refused("not_found", "no route has this path; /schema lists all routes")
            if self._is_open(path):
                raise Refused("body_too_large", "this address takes no body")
            service: Service = self._app.state.service
            principal = await service.authenticator.principal(found, scope)
            if principal is ANONYMOUS:
                raise key_missing()
            if principal.limit is not None:
                assert principal.key_id is not None
                service.rates.require_open(principal.key_id, principal.limit)
        except Refused as refused:
            return _problem(refused.code, str(refused), scope, headers=refused.headers)
        except LeaseqError as error:
            return _problem(error.code, STORE_AWAY, scope)
        return None

    def _check(self, scope: Scope, found: Mapping[bytes, bytes]) -> str:
        """The method of a request that passes. Raises `Refused`."""
        method: str = scope["method"]  # type: ignore[typeddict-item]
        path: bytes = scope["raw_path"]
        host = self._check_host(found.get(b"host"), path)
        forwarded = self._proxies.find_client(scope)
        if forwarded is not None:
            host = self._check_host(forwarded.encode("latin-1"), path)
        if not _PATH.fullmatch(path) and not (method == "OPTIONS" and path == b"*"):
            raise Refused(
                "not_found",
                "a path of this service has one spelling: no escapes, no empty or dotted segments",
            )
        if method not in SAFE and (b"origin" in found or b"sec-fetch-site" in found):
            self._check_site(found, host)
        elif method not in SAFE and b"cookie" in found and is_page(scope["path"]):
            # A browser sends one of them with every form. This may be one that hides both.
            raise Refused(
                "cross_site",
                "a request with a cookie must name its page: it has neither Origin nor Sec-Fetch-Site",
            )
        return method

    def _check_host(self, given: bytes | None, path: bytes) -> str:
        if given is None:
            raise Refused("host_invalid", "the request has no Host header")
        host, listed = self._hosts.judge(given)
        if host is None:
            raise Refused(
                "host_invalid", "Host must be a name or an address, with an optional port"
            )
        if not listed and not path.startswith(HEALTH):
            raise Refused(
                "host_unknown",
                "this service does not answer for the host of the request: add it to LEASEQ_API_HOSTS",
            )
        return host

    def _check_site(self, found: Mapping[bytes, bytes], host: str) -> None:
        site, origin = found.get(b"sec-fetch-site"), found.get(b"origin")
        if site is not None and site not in OWN_SITES:
            raise Refused(
                "cross_site",
                "a web page of another origin sent this request; send it from a page of this API, or a program",
            )
        if origin is not None and not self._hosts.same_origin(origin.decode("latin-1"), host):
            raise Refused(
                "cross_site",
                "the Origin of this request is not this API: add its host to LEASEQ_API_HOSTS if it is",
            )

    def _is_open(self, path: str) -> bool:
        """Whether an address takes no key. A key that is sent there is not looked at, so probes and
        documents need no ledger."""
        return not path.startswith(API) and any(each.fullmatch(path) for each in self._open)

    def _methods(self, path: str) -> set[str]:
        """The methods of an address. Empty: there is no such address."""
        if path == "*":
            return {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST"}
        # An address without parameters comes before one with them.
        return set(self._plain.get(path, ())) or {
            method
            for pattern, methods in self._routes
            if pattern.fullmatch(path)
            for method in methods
        }


def _unique(scope: Scope) -> dict[bytes, bytes]:
    """The headers by name. Raises `Refused` where one that must be unique is not."""
    headers: Headers = scope["headers"]  # type: ignore[assignment]
    found = dict(headers)
    if len(found) != len(headers):
        _check_repeated(name for name, _ in headers)
    return found


def _check_repeated(names: Iterable[bytes]) -> None:
    seen: set[bytes] = set()
    for name in names:
        if name in ONCE and name in seen:
            code = "host_invalid" if name == b"host" else "header_repeated"
            raise Refused(code, f"the header {name.decode()} may be sent only once")
        seen.add(name)


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(_PARAMETER.sub("[^/]+", re.escape(path)))


async def _refuse(
    code: str, detail: str, scope: Scope, send: Send, *, headers: Sequence[Header] = ()
) -> None:
    problem = _problem(code, detail, scope, headers=headers)
    body = b"" if scope["method"] == "HEAD" else problem.body  # type: ignore[typeddict-item]
    await send(
        {"type": "http.response.start", "status": problem.status, "headers": list(problem.headers)}
    )
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _problem(code: str, detail: str, scope: Scope, *, headers: Sequence[Header] = ()) -> RawAnswer:
    TALLY.count("leaseq_refusals_total", code)
    problem = raw_problem(code, detail, path=scope["raw_path"], headers=headers)
    return raw_page(code, detail, problem) if is_page(scope["path"]) else problem


def _with_limit(send: Send, headers: Sequence[Header]) -> Send:
    async def send_more(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = with_limit(message["headers"], headers)
        await send(message)

    return send_more


def _without_content(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message["body"] = b""
        await send(message)

    return send_head


__all__ = ["Gate"]
