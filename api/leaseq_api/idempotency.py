"""The idempotency key of a request.

The `Idempotency-Key` header of draft-ietf-httpapi-idempotency-key-header-07 is a Structured Fields
string (RFC 8941, 3.3.3: quoted, with `\\"` and `\\\\` as the only escapes). Most clients send the
bare text instead, so both are accepted, and `"order-1"` and `order-1` are the same key. A proxy may
join two lines of a header with a comma (RFC 9110, 5.3), so a comma in a bare text is refused: it
could be two keys, or one key sent twice. A key with a comma has to be quoted. Quoted keys that were
joined are one key if they are equal. The length and the characters of a key are checked where
Python submissions are checked too (leaseq/operations/submission.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from leaseq.errors import IdempotencyKeyInvalid

HEADER = "Idempotency-Key"
RAW_HEADER = HEADER.lower().encode()

_STRING = r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"'
_QUOTED = re.compile(_STRING)
_JOINED = re.compile(rf"{_STRING}(?:[ \t]*,[ \t]*{_STRING})*")
_ESCAPE = re.compile(r"\\(.)")


def parse_key(values: Sequence[str]) -> str | None:
    """The key, from every value of the header; None if there is none.

    Raises `IdempotencyKeyInvalid` where a quoted string is malformed, where the values differ, and
    for a bare text with a comma.
    """
    if not values:
        return None
    keys = {key for value in values for key in _parse(value.strip(" \t"))}
    if len(keys) > 1:
        raise IdempotencyKeyInvalid(f"{HEADER} was sent more than once, with different values")
    return keys.pop()


def _parse(value: str) -> list[str]:
    if not value.startswith('"'):
        if "," in value:
            raise IdempotencyKeyInvalid(
                f"{HEADER} looks like two keys: put a key that has a comma in quotation marks"
            )
        return [value]
    if not _JOINED.fullmatch(value):
        raise IdempotencyKeyInvalid(
            f"{HEADER} begins with a quotation mark but is not a quoted string (RFC 8941)"
        )
    return [_ESCAPE.sub(r"\1", text) for text in _QUOTED.findall(value)]


__all__ = ["HEADER", "RAW_HEADER", "parse_key"]
