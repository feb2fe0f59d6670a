"""How do ids, payloads and results become bytes, and which bytes are refused?

Everything on the wire and in the ledger is JSON; nothing is ever unpickled. What Postgres could not store
(`\\u0000`, lone surrogates) or what would exhaust a parser's stack (deep nesting) is refused here, before it is stored.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import time
from datetime import UTC, datetime
from decimal import Decimal
from itertools import accumulate
from typing import Any
from uuid import UUID

import msgspec

from leaseq.errors import PayloadInvalid, PayloadTooLarge, ResultInvalid

MAX_DEPTH = 64
PROGRESS_MAX_BYTES = 1_048_576

# No task id lies below the first or above the last.
FIRST_ID = "00000000-0000-0000-0000-000000000000"
LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"
# The end of the year 9998: a datetime and every time zone of it can hold that.
FURTHEST_SECONDS = 253_370_764_800.0

# Less may be the way of the answer.
CLOCK_OFF_MS = 2000

_TASK_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_PAIR = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
# Possessive, and content with an unterminated string: each byte is looked at once, whatever is sent.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")

_canonical = msgspec.json.Encoder(order="deterministic")
_encode = msgspec.json.Encoder().encode


class _Clock:
    """By how many milliseconds the clock of Postgres is ahead of that of this machine; 0 where they agree."""

    ahead_ms = 0


def id_time_ms() -> int:
    """The time for ids, in Unix milliseconds: by the clock of Postgres where that of this machine is wrong."""
    return time.time_ns() // 1_000_000 + _Clock.ahead_ms


def follow_clock(seconds: float) -> None:
    """Postgres has just said that this is the Unix time: ids follow its clock where ours is wrong by more than CLOCK_OFF_MS."""
    ahead = round(1000 * seconds) - time.time_ns() // 1_000_000
    _Clock.ahead_ms = ahead if abs(ahead) > CLOCK_OFF_MS else 0


def new_task_id() -> str:
    """A UUIDv7 (RFC 9562, 5.7): 48 bits of Unix milliseconds, then 74 random bits. Ordered by time, roughly, across clients."""
    random = int.from_bytes(os.urandom(10))
    high = (id_time_ms() & 0xFFFFFFFFFFFF) << 16 | 0x7000 | random >> 68
    low = 0x8000000000000000 | random & 0x3FFFFFFFFFFFFFFF
    text = f"{high:016x}{low:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_task_id(text: str) -> bool:
    """Is this the canonical form of a task id (lower-case, hyphens)?"""
    return _TASK_ID.fullmatch(text) is not None


def next_id(task_id: str) -> str:
    """The id right after this one, in their order."""
    return str(UUID(int=UUID(task_id).int + 1))


def made_at(task_id: str) -> datetime:
    """When an id was made, by the clock of whoever made it. The year 1970 or a distant one: it is none of ours."""
    milliseconds = int(task_id[:8] + task_id[9:13], 16)
    return datetime.fromtimestamp(min(milliseconds / 1000, FURTHEST_SECONDS), UTC)


def check_text(raw: bytes, *, max_bytes: int) -> None:
    """Refuse a payload that could not be kept or parsed, be it JSON or not."""
    if len(raw) > max_bytes:
        raise PayloadTooLarge(f"the payload has {len(raw)} bytes; the limit is {max_bytes}")
    check_depth(raw)
    if b"\\u0000" in raw and _has_escape(raw, b"\\u0000"):
        raise PayloadInvalid("the payload contains \\u0000, which Postgres cannot store")
    if _SURROGATE.search(raw) and _SURROGATE.search(_PAIR.sub(b"", _unescape(raw))):
        raise PayloadInvalid("the payload contains half of a surrogate pair, which is not a character")


def check_payload(raw: bytes, *, max_bytes: int) -> Any:
    """Decode a payload as sent, or say why it cannot be kept. Returns the decoded JSON value."""
    check_text(raw, max_bytes=max_bytes)
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadInvalid(f"the payload is not valid JSON: {error}") from error


def check_depth(raw: bytes) -> None:
    """Refuse JSON nested deeper than `MAX_DEPTH` without parsing it: a parser would recurse on the C stack.

    Strings go, then everything but brackets; each of those is a step up or down. A megabyte takes some 50 ms at worst.
    """
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return
    steps = _STRING.sub(b"", raw).translate(_STEPS, _NO_BRACKETS)
    if max(accumulate(memoryview(steps).cast("b")), default=0) > MAX_DEPTH:
        raise PayloadInvalid(f"the payload is nested deeper than {MAX_DEPTH} levels")


def fingerprint(content: Any) -> bytes:
    """SHA-256 of a JSON-like value, the same for any order of object keys."""
    return hashlib.sha256(_canonical.encode(content)).digest()


def encode_result(value: Any, *, max_bytes: int) -> bytes:
    """A handler's return value as JSON, no deeper and no larger than a payload may be. Raises `ResultInvalid`."""
    if value is None:
        return b"null"  # most of them
    try:
        raw = _encode(value)
        check_finite(value, raw)
        check_depth(raw)
        text_safe = b"\\u0000" not in raw or not _has_escape(raw, b"\\u0000")
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError, PayloadInvalid) as error:
        raise ResultInvalid(f"the result of type {type(value).__name__} cannot be written as JSON: {error}") from error
    if not text_safe:
        raise ResultInvalid("the result contains a NUL character, which Postgres cannot store")
    if len(raw) > max_bytes:
        raise ResultInvalid(f"the result has {len(raw)} bytes; the limit is {max_bytes}")
    return raw


def encode_progress(value: Any) -> bytes:
    """A progress value as JSON. Raises `ValueError` where it cannot be stored as it is."""
    try:
        return encode_result(value, max_bytes=PROGRESS_MAX_BYTES)
    except ResultInvalid as error:
        raise ValueError(str(error).replace("the result", "the progress", 1)) from None


def check_finite(value: Any, raw: bytes) -> None:
    """Refuse NaN and Infinity, which JSON does not have: msgspec writes `null` for a float and a string for a Decimal.

    `raw` is `value` as JSON. Only where it holds one of these words are the parts of `value` looked at. Raises `ValueError`.
    """
    # How a number that is not finite comes out, as a value and as a key. Written out, since every result comes past here.
    if not (b"null" in raw or b"NaN" in raw or b"Infinity" in raw or b'"nan"' in raw or b'inf"' in raw):
        return
    try:
        # The hook is asked for msgspec.Raw alone, which is JSON already.
        plain = msgspec.to_builtins(value, builtin_types=(Decimal,), enc_hook=lambda _: None)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    waiting = [plain]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting += part.keys()
            waiting += part.values()
        elif isinstance(part, list | tuple | set | frozenset):
            waiting += part
        elif (isinstance(part, float) and not math.isfinite(part)) or (isinstance(part, Decimal) and not part.is_finite()):
            raise ValueError(f"JSON has no {part}")


def _unescape(raw: bytes) -> bytes:
    r"""Drop escaped backslashes, so that in `\\u0000` (a backslash, then text) no escape is seen."""
    return raw.replace(b"\\\\", b"")


def _has_escape(raw: bytes, escape: bytes) -> bool:
    return escape in _unescape(raw)


__all__ = [
    "FIRST_ID",
    "LAST_ID",
    "MAX_DEPTH",
    "check_depth",
    "check_finite",
    "check_payload",
    "check_text",
    "encode_progress",
    "encode_result",
    "fingerprint",
    "follow_clock",
    "id_time_ms",
    "is_task_id",
    "made_at",
    "new_task_id",
    "next_id",
]
