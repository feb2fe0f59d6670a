"""Encode ids, payloads and results, and refuse bytes that cannot be stored.

Everything on the wire and in the ledger is JSON. Nothing is ever unpickled. Values that Postgres
cannot store (`\\u0000`, lone surrogates) and values that would exhaust a parser's stack (deep
nesting) are refused here, before they are stored.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import accumulate
from typing import Any
from uuid import UUID

import msgspec

from leaseq.errors import PayloadInvalid, PayloadTooLarge, ResultInvalid

MAX_DEPTH = 64
PROGRESS_MAX_BYTES = 1_048_576

# Every task id lies between these two, inclusive.
FIRST_ID = "00000000-0000-0000-0000-000000000000"
LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"
# The end of the year 9998, which a datetime can hold in every time zone.
FURTHEST_SECONDS = 253_370_764_800.0

# A smaller difference may be the network latency of the answer.
CLOCK_OFF_MS = 2000

TASK_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_PAIR = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
# Possessive, and it accepts an unterminated string: each byte is read once, for any input.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
# The digit of a UUID that holds two bits of its variant and two random bits.
_VARIANTS = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")

_canonical = msgspec.json.Encoder(order="deterministic")
_encode = msgspec.json.Encoder().encode


class _Clock:
    """How many milliseconds the clock of Postgres is ahead of this machine's clock; 0 if they
    agree."""

    ahead_ms = 0


def id_time_ms() -> int:
    """The Unix time for ids in milliseconds, by the clock of Postgres if this machine's clock is
    wrong."""
    return time.time_ns() // 1_000_000 + _Clock.ahead_ms


def follow_clock(seconds: float) -> None:
    """Take the Unix time that Postgres just reported. Ids follow its clock if ours differs by more
    than CLOCK_OFF_MS."""
    ahead = round(1000 * seconds) - time.time_ns() // 1_000_000
    _Clock.ahead_ms = ahead if abs(ahead) > CLOCK_OFF_MS else 0


def new_task_id() -> str:
    """A UUIDv7 (RFC 9562, 5.7): 48 bits of Unix milliseconds, then 74 random bits. Roughly ordered
    by time across clients."""
    now = f"{id_time_ms() & 0xFFFFFFFFFFFF:012x}"
    random = os.urandom(10).hex()
    return f"{now[:8]}-{now[8:]}-7{random[:3]}-{_VARIANTS[random[3]]}{random[4:7]}-{random[7:19]}"


def is_task_id(text: str) -> bool:
    """Whether the text is a task id in its canonical form (lower-case, hyphens)."""
    return TASK_ID.fullmatch(text) is not None


def next_id(task_id: str) -> str:
    """The id that follows this one in the order of ids."""
    return str(UUID(int=UUID(task_id).int + 1))


def tenant_cursor(cursor: str | None, *, shown: str | None) -> str | None:
    """The cursor of a page for one tenant, from the id that was looked at last and the id that is
    shown last.

    The former may belong to another tenant, so most of its random bits are replaced by ones. The
    next page looks at that id again, and shows it to no tenant but its own.
    """
    return cursor if cursor is None or cursor == shown else cursor[:24] + "f" * 12


def made_at(task_id: str) -> datetime:
    """The time at which an id was made, by the clock of its maker. An id that is not ours can give
    1970 or a distant year."""
    milliseconds = int(task_id[:8] + task_id[9:13], 16)
    return datetime.fromtimestamp(min(milliseconds / 1000, FURTHEST_SECONDS), UTC)


def check_text(raw: bytes, *, max_bytes: int) -> None:
    """Refuse a payload that cannot be stored or parsed, whether it is JSON or not."""
    if len(raw) > max_bytes:
        raise PayloadTooLarge(f"the payload has {len(raw)} bytes; the limit is {max_bytes}")
    check_depth(raw)
    # Not `in`: for bytes it first tries a number, and makes an exception only to drop it.
    if raw.find(b"\\u") < 0:
        return
    if b"\\u0000" in raw and _has_escape(raw, b"\\u0000"):
        raise PayloadInvalid("the payload contains \\u0000, which Postgres cannot store")
    if _SURROGATE.search(raw) and _SURROGATE.search(_PAIR.sub(b"", _unescape(raw))):
        raise PayloadInvalid("the payload contains an unpaired surrogate, which is not a character")


def check_payload(raw: bytes, *, max_bytes: int) -> Any:
    """Decode a payload, or raise an error that explains why it cannot be stored. Returns the
    decoded JSON value."""
    check_text(raw, max_bytes=max_bytes)
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadInvalid(f"the payload is not valid JSON: {error}") from error


def check_depth(raw: bytes) -> None:
    """Refuse JSON nested deeper than `MAX_DEPTH` without parsing it: a parser would recurse on the
    C stack.

    Strings are removed, then everything but brackets. Each bracket is a step up or down. A megabyte
    takes about 50 ms at worst.
    """
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return
    steps = _STRING.sub(b"", raw).translate(_STEPS, _NO_BRACKETS)
    if max(accumulate(memoryview(steps).cast("b")), default=0) > MAX_DEPTH:
        raise PayloadInvalid(f"the payload is nested deeper than {MAX_DEPTH} levels")


def fingerprint(content: Any, digest: Callable[[bytes], bytes] | None = None) -> bytes:
    """A hash of a JSON-like value, the same for any order of object keys: SHA-256, or `digest`."""
    canonical = _canonical.encode(content)
    return hashlib.sha256(canonical).digest() if digest is None else digest(canonical)


def encode_result(value: Any, *, max_bytes: int) -> bytes:
    """Encode a handler's return value as JSON, within the limits of payloads. Raises
    `ResultInvalid`."""
    if value is None:
        return b"null"  # the most common result
    try:
        raw = _encode(value)
        check_finite(value, raw)
        check_depth(raw)
        text_safe = raw.find(b"\\u0000") < 0 or not _has_escape(raw, b"\\u0000")
    except (
        TypeError,
        ValueError,
        OverflowError,
        RecursionError,
        msgspec.MsgspecError,
        PayloadInvalid,
    ) as error:
        raise ResultInvalid(
            f"the result of type {type(value).__name__} cannot be written as JSON: {error}"
        ) from error
    if not text_safe:
        raise ResultInvalid("the result contains a NUL character, which Postgres cannot store")
    if len(raw) > max_bytes:
        raise ResultInvalid(f"the result has {len(raw)} bytes; the limit is {max_bytes}")
    return raw


def encode_progress(value: Any) -> bytes:
    """Encode a progress value as JSON. Raises `ValueError` if it cannot be stored."""
    try:
        return encode_result(value, max_bytes=PROGRESS_MAX_BYTES)
    except ResultInvalid as error:
        raise ValueError(str(error).replace("the result", "the progress", 1)) from None


def check_finite(value: Any, raw: bytes) -> None:
    """Refuse NaN and Infinity, which JSON does not have: msgspec writes `null` for a float and a
    string for a Decimal.

    `raw` is `value` as JSON. The parts of `value` are examined only if `raw` contains one of these
    words. Raises `ValueError`.
    """
    # How a non-finite number appears as a value and as a key. Written out, because every payload
    # and every result passes here. A text is searched in a tenth of the time of bytes, whose `in`
    # makes an exception for each word.
    text = raw.decode("latin-1")
    if not (
        "null" in text or "NaN" in text or "Infinity" in text or '"nan"' in text or 'inf"' in text
    ):
        return
    try:
        # The hook is called for msgspec.Raw only, which is already JSON.
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
        elif (isinstance(part, float) and not math.isfinite(part)) or (
            isinstance(part, Decimal) and not part.is_finite()
        ):
            raise ValueError(f"JSON has no {part}")


def _unescape(raw: bytes) -> bytes:
    r"""Drop escaped backslashes, so that `\\u0000` (a backslash, then text) does not look like an
    escape."""
    return raw.replace(b"\\\\", b"")


def _has_escape(raw: bytes, escape: bytes) -> bool:
    return escape in _unescape(raw)


__all__ = [
    "FIRST_ID",
    "LAST_ID",
    "MAX_DEPTH",
    "TASK_ID",
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
