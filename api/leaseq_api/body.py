"""Decode the body of a request into a struct, or refuse it with a reason.

The framework would parse a body into objects and so lose the payload's bytes. Here the envelope is
parsed and the payload is cut out unchanged. Every input of a client becomes a struct or a 4xx. The
body has arrived completely when a route begins, within the bounds of the HTTP server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from leaseq_api.refused import Refused

T = TypeVar("T")
JSON = b"application/json"

_CONTENT_TYPE = re.compile(
    r'application/json[ \t]*(?:;[ \t]*(?:charset="?utf-8"?)?[ \t]*)?', re.IGNORECASE
)
_PLACE = re.compile(r"^(?P<what>.*?) - at `\$(?P<path>[^`]*)`$", re.DOTALL)
_FIELD = re.compile(
    r"^Object (?:contains unknown|missing required) field `(?P<name>.*)`$", re.DOTALL
)


def decode_json(
    raw: bytes,
    headers: Mapping[bytes, bytes],
    decoder: msgspec.json.Decoder[T],
    *,
    misfit: str = "submission_invalid",
) -> T:
    """Decode a body. Raises `Refused`; `misfit` is the code for JSON that does not fit. The HTTP
    server limits its size."""
    if headers.get(b"content-type") != JSON or b"content-encoding" in headers:
        check_media_type(headers)
    try:
        return decoder.decode(raw)
    except (ValueError, RecursionError) as error:
        raise _refusal(error, "the body", misfit=misfit) from None


def decode_item(raw: bytes | memoryview, decoder: msgspec.json.Decoder[T]) -> T | Refused:
    """Decode one item of a body, or return the reason why it is refused."""
    try:
        return decoder.decode(raw)
    except (ValueError, RecursionError) as error:
        return _refusal(error, "the item")


def check_media_type(
    headers: Mapping[bytes, bytes],
    other: re.Pattern[str] | None = None,
    *,
    named: str = "application/json",
) -> None:
    """Raise `Refused` unless the body is JSON in UTF-8, or of the `other` media type."""
    given = headers.get(b"content-type", b"").decode("latin-1")
    if not (other or _CONTENT_TYPE).fullmatch(given.strip()):
        raise Refused(
            "media_type_unsupported", f"the body must have Content-Type: {named}, in UTF-8"
        )
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Refused("media_type_unsupported", "the body must not be compressed")


def _refusal(error: Exception, what: str, *, misfit: str = "submission_invalid") -> Refused:
    """The problem for bytes that are not JSON, or do not fit."""
    if isinstance(error, msgspec.ValidationError):
        return _misfit(misfit, str(error))
    if isinstance(error, RecursionError):
        return Refused("json_invalid", f"{what} is nested too deeply")
    if not isinstance(error, msgspec.DecodeError | UnicodeDecodeError):
        raise error
    return Refused("json_invalid", f"{what} is not valid JSON: {error}")


def _misfit(code: str, message: str) -> Refused:
    """The problem for JSON that does not fit, with a pointer to the place if it is known."""
    if place := _PLACE.match(message):
        steps = re.sub(r"\[(\d+)\]", r".\1", place["path"]).split(".")
        return Refused(code, place["what"], pointer="/".join(steps))
    if field := _FIELD.match(message):
        name = field["name"].replace("~", "~0").replace("/", "~1")
        return Refused(code, message, pointer=f"/{name[:200]}")
    return Refused(code, message, pointer="")


__all__ = ["JSON", "check_media_type", "decode_item", "decode_json"]
