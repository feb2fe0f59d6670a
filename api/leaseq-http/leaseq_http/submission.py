"""Submissions: a task type, a payload, options, and a key.

Every submission has an idempotency key. Where none is given one is made, so that the client can
repeat a request whose answer was lost. A key that follows from the work ("charge-order-7") also
protects from a program that submits twice.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, Literal, TypedDict, Unpack
from uuid import uuid4

import msgspec

KEY_MAX_LENGTH = 255


class SubmitOptions(TypedDict, total=False):
    """Options of one submission, as on the wire. Left out: the default of the task type, else that
    of the service."""

    queue: str
    priority: Literal["high", "normal", "low"]
    delay_seconds: float  # before the task is due; at most one year
    run_at: datetime  # with a time zone; in place of delay_seconds
    max_attempts: int  # in total
    timeout_seconds: float  # of one attempt
    expires_at: datetime  # with a time zone; do not start it after this
    labels: dict[str, str]  # to find the task by; at most 16
    concurrency_key: str  # of the limit of the task type
    unique_key: str  # one task with it is enough
    unique: Literal["while_unfinished", "while_waiting", "while_running"]
    unique_seconds: float  # the key is held for so long at least
    debounce_seconds: float  # run once, so long after the last one, with the newest payload
    max_wait_seconds: float  # of debounce_seconds; by default ten times as long
    throttle_seconds: float  # one task in so long, the first
    on_conflict: Literal["return", "refuse", "replace"]


OPTIONS = frozenset(SubmitOptions.__annotations__)


class Submission:
    """One submission, for `submit_many`. It is encoded when it is made.

    `payload` is anything that msgspec encodes to JSON: dicts, lists, structs, dataclasses, datetimes.
    A `msgspec.Raw` is JSON already, and is sent byte for byte. Raises `TypeError` for an unknown
    option or a payload of another type, `ValueError` for a payload that JSON cannot hold (NaN, a
    malformed `Raw`), a malformed key, or a time without a time zone. The service checks everything
    else.
    """

    __slots__ = ("body", "idempotency_key", "type")

    def __init__(
        self,
        type: str,  # noqa: A002 (the name on the wire)
        payload: Any,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[SubmitOptions],
    ) -> None:
        self.type = type
        self.idempotency_key = (
            str(uuid4()) if idempotency_key is None else _checked_key(idempotency_key)
        )
        fields = {"type": type, "payload": _encoded(payload), **_checked_options({**options})}
        # The body of `POST /api/tasks`.
        self.body = msgspec.json.encode(fields)

    def __repr__(self) -> str:
        return f"<Submission {self.type} {self.idempotency_key}>"

    @property
    def item(self) -> bytes:
        """One item of a batch: the same with the key in it."""
        return self.body[:-1] + b',"idempotency_key":%b}' % msgspec.json.encode(
            self.idempotency_key
        )

    @property
    def key_header(self) -> str:
        """The value of `Idempotency-Key`: a string as structured fields write it (RFC 8941)."""
        escaped = self.idempotency_key.replace("\\", r"\\").replace('"', r"\"")
        return f'"{escaped}"'


def _encoded(payload: Any) -> msgspec.Raw:
    """The payload as JSON. A `Raw` is checked, because a malformed one would spoil a whole batch."""
    if isinstance(payload, msgspec.Raw):
        msgspec.json.decode(payload, type=msgspec.Raw)
        return payload
    raw = msgspec.json.encode(payload)
    if b"null" in raw:
        _check_finite(payload)
    return msgspec.Raw(raw)


def _check_finite(payload: Any) -> None:
    """Refuse NaN and Infinity, which msgspec writes as null."""
    waiting = [msgspec.to_builtins(payload, enc_hook=lambda _: None)]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting.extend(part.values())
        elif isinstance(part, list | tuple):
            waiting.extend(part)
        elif isinstance(part, float) and not math.isfinite(part):
            raise ValueError(f"the payload has the number {part}, which JSON does not have")


def _checked_key(key: str) -> str:
    if not (1 <= len(key) <= KEY_MAX_LENGTH and key.isascii() and key.isprintable()):
        raise ValueError(
            f"an idempotency key is 1 to {KEY_MAX_LENGTH} printable ASCII characters, not {key[:300]!r}"
        )
    return key


def _checked_options(options: dict[str, Any]) -> dict[str, Any]:
    if unknown := options.keys() - OPTIONS:
        raise TypeError(
            f"there is no option {min(unknown)!r}: the options are {', '.join(sorted(OPTIONS))}"
        )
    for name, value in options.items():
        if isinstance(value, datetime) and value.tzinfo is None:
            raise ValueError(f"{name} needs a time zone, such as datetime.now(UTC) has")
    return options


__all__ = ["KEY_MAX_LENGTH", "OPTIONS", "Submission", "SubmitOptions"]
