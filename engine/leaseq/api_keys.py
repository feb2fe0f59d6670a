"""API keys: their text, their scopes, and their records in the ledger.

The text is `lq_`, the public id, `_`, 256 random bits and a checksum. The prefix and the checksum
let scanners recognize a key in a file. The id finds the record. The ledger has the SHA-256 of the
text and never the text: the bits are random, so a slow hash would add nothing.
"""

from __future__ import annotations

import re
import secrets
from binascii import crc32
from hashlib import sha256
from typing import Literal, get_args

from msgspec import Struct

from leaseq.model import Moment

ScopeName = Literal["submit", "read", "payloads", "operate", "admin", "metrics"]
SCOPES: tuple[ScopeName, ...] = get_args(ScopeName)
# They concern all tenants, so a key of one tenant cannot have them.
UNBOUND_SCOPES: frozenset[ScopeName] = frozenset({"admin", "metrics"})

PREFIX = "lq_"
KEY_ID = re.compile(r"[a-z0-9]{12}")
KEY_TEXT = re.compile(r"lq_([a-z0-9]{12})_[A-Za-z0-9]{49}")
# The length of a key, and of its part that the checksum covers.
KEY_LENGTH = 65
_CHECKED = KEY_LENGTH - 6

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class RequestLimit(Struct, frozen=True):
    """A limit on the requests of a key: a bucket of at most `burst` tokens, which gets `rate` of
    them each second. Each request takes one."""

    rate: float
    burst: int


class ApiKey(Struct, frozen=True, kw_only=True):
    """A key as the ledger has it, without its text. Times are by the clock of Postgres."""

    id: str
    name: str
    scopes: list[ScopeName]
    tenant: str | None
    created_at: Moment
    expires_at: Moment | None
    revoked_at: Moment | None
    replaced_by: str | None  # the id of the key that a rotation made in its place
    last_used_at: Moment | None  # to within a few minutes
    rate: float | None  # requests in a second; None: no limit
    burst: int | None  # requests at one time, after a pause


class IssuedKey(Struct, frozen=True, kw_only=True):
    """A new key, with its text, which is shown once."""

    text: str
    key: ApiKey


class StoredKey(Struct, frozen=True, kw_only=True):
    """The part of a record that a request is judged by."""

    id: str
    name: str
    digest: bytes
    scopes: frozenset[ScopeName]
    tenant: str | None
    is_revoked: bool
    limit: RequestLimit | None
    seconds_left: float | None  # when it was read, by the clock of Postgres; None: no expiry


def new_key() -> tuple[str, str]:
    """A new key: its public id, and its text."""
    key_id = "".join(secrets.choice(_ID_DIGITS) for _ in range(12))
    checked = f"{PREFIX}{key_id}_{_base62(secrets.randbits(256), 43)}"
    return key_id, checked + _checksum(checked)


def key_id_of(text: str) -> str | None:
    """The public id in the text of a key. None: this is no key, by its form or its checksum."""
    found = KEY_TEXT.fullmatch(text)
    if found is None or _checksum(text[:_CHECKED]) != text[_CHECKED:]:
        return None
    return found[1]


def digest_of(text: str) -> bytes:
    """The hash of a key that the ledger has."""
    return sha256(text.encode()).digest()


def _checksum(text: str) -> str:
    return _base62(crc32(text.encode()), 6)


def _base62(number: int, width: int) -> str:
    digits: list[str] = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


__all__ = [
    "KEY_ID",
    "KEY_LENGTH",
    "PREFIX",
    "SCOPES",
    "UNBOUND_SCOPES",
    "ApiKey",
    "IssuedKey",
    "RequestLimit",
    "ScopeName",
    "StoredKey",
    "digest_of",
    "key_id_of",
    "new_key",
]
