"""The rules of the API that a document cannot state, and lines of JSON.

A key that comes again with another content is refused, so that a key which was sent before is
replaced. A tenant of an API key has to exist, so that keys are created without one, and its burst
is at least a tenth of its rate. An answer is held for as long as the client asks, so that a long
but valid `wait` is shortened. Everything else is sent as it was made.
"""

from __future__ import annotations

import json
import re
from itertools import count
from typing import Any

import schemathesis

KEY = "Idempotency-Key"
LONGEST_WAIT_SECONDS = 0.05
NAME = re.compile("[A-Za-z0-9_.-]{1,128}")

_seen: set[str] = set()
_numbers = count()


@schemathesis.serializer("application/x-ndjson")
def to_lines(_context: Any, value: Any) -> bytes:
    """A batch of one item."""
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@schemathesis.deserializer("application/x-ndjson")
def from_lines(_context: Any, response: Any) -> Any:
    """The first outcome, which has the schema of all."""
    return json.loads(response.content.partition(b"\n")[0] or b"null")


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Change the few values that would make an honest request fail or last."""
    key = (case.headers or {}).get(KEY)
    if isinstance(key, str):
        if key in _seen:
            case.headers[KEY] = f"again-{next(_numbers)}"
        _seen.add(key)
    if case.path.startswith("/api/keys") and isinstance(case.body, dict):
        if _names_a_tenant(case.body):
            case.body = case.body | {"tenant": None}
        if _has_small_burst(case.body):
            case.body = case.body | {"burst": None}
    if case.path.endswith("/events"):
        _shorten(case, "seconds")
    _shorten(case, "wait", longest=60)


def _names_a_tenant(body: dict[str, Any]) -> bool:
    """Whether a key is to be bound to a tenant, which does not exist."""
    tenant = body.get("tenant")
    return isinstance(tenant, str) and NAME.fullmatch(tenant) is not None


def _has_small_burst(body: dict[str, Any]) -> bool:
    """Whether the burst of a limit is less than a tenth of its rate."""
    rate, burst = body.get("rate"), body.get("burst")
    return isinstance(rate, int | float) and isinstance(burst, int) and 1 <= burst < rate / 10


def _shorten(case: Any, name: str, *, longest: float = 86_400) -> None:
    """Shorten a time that is long but valid, and the time of a stream that has none."""
    given = (case.query or {}).get(name, longest if name == "seconds" else None)
    try:
        if LONGEST_WAIT_SECONDS < float(str(given)) <= longest:
            case.query = (case.query or {}) | {name: LONGEST_WAIT_SECONDS}
    except ValueError:
        return
