"""The checks on the head of a request that concern its framing (RFC 9112).

llhttp refuses most malformed messages. The rest is refused here: if a proxy and this server read
one message differently, a request could hide in the body of another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from httptools import HttpParserError, HttpParserInvalidMethodError
from msgspec import Struct

from leaseq.observability.telemetry import emit
from leaseq_api.http_server.limits import Limits
from leaseq_api.problems import FAULT

Headers = Sequence[tuple[bytes, bytes]]

_REQUEST_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [!-~]+ HTTP/1\.[01]\r\n")
_VISIBLE = re.compile(rb"[\x21-\x7e]+")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#@]+)((?:[/?].*)?)", re.DOTALL)
_DIGITS = re.compile(rb"[0-9]{1,18}")
_ONCE = (b"content-length", b"transfer-encoding", b"expect")


class Malformed(Exception):
    """A head that is refused. `code` is one of `problems.KINDS`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class Head(Struct, frozen=True):
    """The properties of the message that its head declares."""

    path: bytes
    query: bytes
    length: int | None  # None: chunked
    wants_continue: bool
    body_bytes: int  # at most
    streamed: bool  # the body is handed to the application in pieces
    upgrade: bool  # the client offers another protocol


def read_head(target: bytes, headers: Headers, *, version: str, limits: Limits) -> Head:
    """Check target and framing of a request. Raises `Malformed`."""
    found = dict(headers)
    if len(found) != len(headers):
        _check_repeated(headers)
    if version not in ("1.1", "1.0"):
        raise Malformed("request_malformed", "this service speaks HTTP/1.1")
    length = _length(found, version=version)
    path, _, query = _origin_form(target, found).partition(b"?")
    most, streamed = limits.body_bytes, False
    if path in limits.large_bodies:
        large = limits.large_bodies[path]
        media_type = found.get(b"content-type", b"").partition(b";")[0].strip().lower()
        most, streamed = large.max_bytes, media_type == large.streamed and length != 0
    if length is not None and length > most:
        raise Malformed("body_too_large", f"the body may have {most} bytes at most")
    expected = found.get(b"expect", b"").lower() == b"100-continue" and version == "1.1"
    return Head(path, query, length, expected and length != 0, most, streamed, b"upgrade" in found)


def _check_repeated(headers: Headers) -> None:
    """Refuse framing that was sent twice. How often Host comes is judged with its value."""
    names = [name for name, _ in headers]
    for name in _ONCE:
        if names.count(name) > 1:
            raise Malformed("header_repeated", f"{name.decode()} may be sent only once")


def _length(found: dict[bytes, bytes], *, version: str) -> int | None:
    coding, length = found.get(b"transfer-encoding"), found.get(b"content-length")
    if coding is not None:
        if length is not None or version == "1.0" or coding.lower() != b"chunked":
            raise Malformed(
                "request_malformed",
                "the only transfer coding is chunked, in HTTP/1.1 and without Content-Length",
            )
        return None
    if length is None:
        return 0
    if not _DIGITS.fullmatch(length):
        raise Malformed("request_malformed", "Content-Length must be a number")
    return int(length)


def _origin_form(target: bytes, found: dict[bytes, bytes]) -> bytes:
    """Path and query. The absolute form must be taken (RFC 9112, 3.2.2); it has to name the same
    host as Host."""
    if not _VISIBLE.fullmatch(target):
        raise Malformed("request_malformed", "the target of a request is visible ASCII")
    if target.startswith(b"/") or target == b"*":
        return target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise Malformed(
            "request_malformed", "the target of a request is a path, with a query or without"
        )
    if absolute[1].lower() != found.get(b"host", b"").lower():
        raise Malformed("host_invalid", "the target names another host than the Host header")
    return absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]


def explain(error: HttpParserError, data: bytes, *, first: bool) -> Malformed:
    """The reason for which llhttp refused `data`. `first`: no request that ended in it came
    before."""
    cause = error.__context__
    if cause is not None and not isinstance(cause, HttpParserError):
        emit("request.failed", method="", error=type(cause).__name__, traceback="")
        return Malformed("internal_error", FAULT)
    if isinstance(error, HttpParserInvalidMethodError) and first and _REQUEST_LINE.match(data):
        return Malformed(
            "method_unknown", "see the OpenAPI document at /schema for the methods there are"
        )
    return Malformed("request_malformed", f"this is not HTTP/1.1: {error}")


__all__ = ["Head", "Headers", "Malformed", "explain", "read_head"]
