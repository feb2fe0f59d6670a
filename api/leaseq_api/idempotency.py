"""Which idempotency key does a request carry?

The `Idempotency-Key` header of draft-ietf-httpapi-idempotency-key-header-07 is a Structured Fields string (RFC 8941,
3.3.3: quoted, with `\\"` and `\\\\` as the only escapes). Most clients send the bare text instead, so both are taken, and
`"order-1"` and `order-1` are the same key. How long a key may be and of what it is made is checked where Python
submissions are checked too (leaseq/engine/submission.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from leaseq.errors import IdempotencyKeyInvalid

HEADER = "Idempotency-Key"

_QUOTED = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_ESCAPE = re.compile(r"\\(.)")


def parse_key(values: Sequence[str]) -> str | None:
    """The key, from every value of the header; None if there is none.

    Raises `IdempotencyKeyInvalid` where a quoted string is malformed, or where the values differ.
    """
    keys = {_parse(value) for value in values}
    if len(keys) > 1:
        raise IdempotencyKeyInvalid(f"{HEADER} was sent {len(values)} times with different values")
    return keys.pop() if keys else None


def _parse(value: str) -> str:
    value = value.strip(" \t")
    if not value.startswith('"'):
        return value
    quoted = _QUOTED.fullmatch(value)
    if quoted is None:
        raise IdempotencyKeyInvalid(f"{HEADER} begins with a quotation mark but is not a quoted string (RFC 8941)")
    return _ESCAPE.sub(r"\1", quoted[1])


__all__ = ["HEADER", "parse_key"]
