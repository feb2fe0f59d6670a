"""The trace context of W3C in the headers of a task.

`traceparent` and `tracestate` (https://www.w3.org/TR/trace-context/) name the span in which a task
was submitted. A task carries them beside the stamp of its shape, and `attempt`, which is the
traceparent of its last attempt that did not succeed. They come from a client and are trusted for
nothing: a worker links its spans to that span, and no more. Nothing here needs OpenTelemetry.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from leaseq.model import Moment

PARENT, STATE, ATTEMPT = "traceparent", "tracestate", "attempt"
RAW_PARENT = PARENT.encode()
# The specification asks for so many characters, and allows to drop a longer one.
STATE_MAX_LENGTH = 512

# A later version may have more fields, and its first four are read as those of version 00.
_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})(-.*)?")
_STATE = re.compile(rf"[\x20-\x7e]{{1,{STATE_MAX_LENGTH}}}")
_RAW_STATE = STATE.encode()


class TracedAttempt(Struct, frozen=True, kw_only=True):
    """The data that the span of an attempt needs."""

    task_id: str
    attempt: int
    worker_id: str
    queue: str
    type: str
    headers: bytes | None


class HeldAttempt(TracedAttempt, frozen=True, kw_only=True):
    """The same of an attempt whose worker is gone. `read_at`: when it was read."""

    started_at: Moment
    read_at: Moment


def read_context(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str] | None:
    """The trace context in the headers of a request, with names in lower case. None: there is none,
    or it is not valid, which is no reason to refuse a request."""
    parents, states = [], []
    for name, value in headers:
        if name == RAW_PARENT:
            parents.append(value.decode("latin-1").strip(" \t"))
        elif name == _RAW_STATE:
            states.append(value.decode("latin-1").strip(" \t"))
    parent = _valid(parents[0]) if len(parents) == 1 else None
    if parent is None:
        return None
    state = ",".join(states)
    return {PARENT: parent, STATE: state} if _STATE.fullmatch(state) else {PARENT: parent}


def _valid(parent: str) -> str | None:
    """The same as a traceparent of version 00."""
    found = _PARENT.fullmatch(parent)
    if found is None:
        return None
    version, fields, more = found.groups()
    trace_id, span_id, _ = fields.split("-")
    if version == "ff" or (version == "00" and more) or not int(trace_id, 16) * int(span_id, 16):
        return None
    return f"00-{fields}"


def with_context(headers: bytes | None, context: Mapping[str, str]) -> bytes:
    """The headers of a task with this context, in place of the one that they have."""
    others = {name: value for name, value in _read(headers).items() if name not in (PARENT, STATE)}
    return msgspec.json.encode(others | dict(context))


def with_attempt(headers: bytes | None, context: Mapping[str, str]) -> bytes:
    """The headers of a task with this context, as that of its last attempt."""
    return msgspec.json.encode(_read(headers) | {ATTEMPT: context[PARENT]})


def context_in(headers: bytes | str | None) -> dict[str, str]:
    """The context that a task carries. Empty: none."""
    found = _read(headers)
    return {name: found[name] for name in (PARENT, STATE) if isinstance(found.get(name), str)}


def attempt_in(headers: bytes | None) -> dict[str, str]:
    """The context of the last attempt that did not succeed. Empty: none is known."""
    found = _read(headers).get(ATTEMPT)
    return {PARENT: found} if isinstance(found, str) else {}


def _read(headers: bytes | str | None) -> dict[str, Any]:
    found = msgspec.json.decode(headers) if headers else None
    return found if isinstance(found, dict) else {}


__all__ = [
    "RAW_PARENT",
    "HeldAttempt",
    "TracedAttempt",
    "attempt_in",
    "context_in",
    "read_context",
    "with_attempt",
    "with_context",
]
