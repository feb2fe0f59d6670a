"""The rules of the API that a document cannot state, and lines of JSON.

A key that comes again with another content is refused, so that a key which was sent before is
replaced. A tenant of an API key has to exist, so that keys are created without one, and its burst
is at least a tenth of its rate. Its name has printable characters, which no pattern of the document
can list. A cursor of failures comes from a page, so that one that was made up is left out. A list of
tasks takes an error or a key, and a schedule has an expression or an interval, and a limit has a bound.
No type has a limit, so that no task has a key for one. The options of a unique task belong together, so
that no task is. An operation on many tasks names some of them. An answer is held for as long as the
client asks, so that a long but valid `wait` is shortened. Everything else is sent as it was made.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from itertools import count
from typing import Any

import schemathesis

KEY = "Idempotency-Key"
KEY_FIELD = "idempotency_key"
LONGEST_WAIT_SECONDS = 0.05
LONGEST_CRON = 200
LONGEST_ZONE = 64
NAME = re.compile("[A-Za-z0-9_.-]{1,128}")

LONGEST_SECONDS = 31_622_400


def _is_key(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 255


def _is_time_span(value: Any) -> bool:
    return isinstance(value, int | float) and 0 < value <= LONGEST_SECONDS


# The options of a task that belong to others.
TOGETHER = {
    "concurrency_key": _is_key,
    "unique_key": _is_key,
    "unique": ("while_unfinished", "while_waiting", "while_running").__contains__,
    "on_conflict": ("return", "refuse", "replace").__contains__,
    "unique_seconds": _is_time_span,
    "throttle_seconds": _is_time_span,
    "debounce_seconds": _is_time_span,
    "max_wait_seconds": _is_time_span,
}

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
    _change_keys(case)
    _change_bodies(case)
    if case.path == "/api/failures" and "cursor" in (case.query or {}):
        case.query = {name: value for name, value in case.query.items() if name != "cursor"}
    if case.path == "/api/tasks" and {"error", KEY_FIELD} <= set(case.query or {}):
        case.query = {name: value for name, value in case.query.items() if name != KEY_FIELD}
    if case.path.endswith("/events"):
        _shorten(case, "seconds")
    _shorten(case, "wait", longest=60)


def _change_keys(case: Any) -> None:
    """Send each idempotency key once."""
    if KEY in (case.headers or {}):
        case.headers[KEY] = _fresh(case.headers[KEY])
    if case.path.endswith("/batch"):
        items = case.body if isinstance(case.body, list) else [case.body]
        _seen.update(str(item.get(KEY_FIELD)) for item in items if isinstance(item, dict))
    if case.path.endswith("/replay") and isinstance(case.body, dict):
        # without a key it would have that of the replay before
        key = case.body.get(KEY_FIELD)
        case.body = case.body | {KEY_FIELD: _fresh("again" if key is None else key)}


def _change_bodies(case: Any) -> None:
    """Change the bodies of the routes whose rules a document cannot state."""
    if not isinstance(case.body, dict):
        return
    if case.path.startswith("/api/keys"):
        if _names_a_tenant(case.body):
            case.body = case.body | {"tenant": None}
        if _has_small_burst(case.body):
            case.body = case.body | {"burst": None}
        if _has_odd_name(case.body):
            case.body = case.body | {"name": "printable"}
    if case.path.startswith("/api/operations"):
        _name_tasks(case)
    if case.path.startswith("/api/schedules/") and case.method == "PUT":
        _choose_times(case)
    if case.path.startswith("/api/limits/"):
        case.body = case.body | _bounds_together(case.body)
    case.body = case.body | _options_together(case.body)


def _names_a_tenant(body: dict[str, Any]) -> bool:
    """Whether a key is to be bound to a tenant, which does not exist."""
    tenant = body.get("tenant")
    return isinstance(tenant, str) and NAME.fullmatch(tenant) is not None


def _has_odd_name(body: dict[str, Any]) -> bool:
    """Whether the name of a key has a valid length, and characters that are not printable."""
    name = body.get("name")
    return isinstance(name, str) and 1 <= len(name) <= 128 and not name.isprintable()


def _name_tasks(case: Any) -> None:
    """Select tasks in the filter of an operation that selects none. A cancel takes no error."""
    chosen = case.body.get("filter")
    if not isinstance(chosen, dict):
        return
    if case.body.get("action") == "cancel" and isinstance(chosen.get("error"), str):
        chosen = chosen | {"error": None}
    if all(chosen.get(name) is None for name in ("error", "ids", "queue", "type")):
        chosen = chosen | {"queue": "default"}
    case.body = case.body | {"filter": chosen}


def _options_together(body: dict[str, Any]) -> dict[str, Any]:
    """The values that make the options of a task fit together: each is valid alone."""
    return {
        name: None
        for name, is_valid in TOGETHER.items()
        if name in body and not isinstance(body[name], bool) and is_valid(body[name])
    }


def _choose_times(case: Any) -> None:
    """Give a schedule one of an expression and an interval, a zone that exists, and no end."""
    expression, zone = case.body.get("cron"), case.body.get("tz")
    has_interval = case.body.get("every_seconds") is not None
    if expression is None or (isinstance(expression, str) and len(expression) <= LONGEST_CRON):
        case.body = case.body | {"cron": None if has_interval else "0 6 * * *"}
    if isinstance(zone, str) and len(zone) <= LONGEST_ZONE:
        case.body = case.body | {"tz": None}
    if _is_time(case.body.get("end_at")):
        case.body = case.body | {"end_at": None}


def _is_time(value: Any) -> bool:
    """Whether a schedule has a valid end, which may lie in the past."""
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


def _fresh(key: Any) -> Any:
    """A key that was not sent before."""
    if not isinstance(key, str):
        return key
    if key in _seen:
        key = f"again-{next(_numbers)}"
    _seen.add(key)
    return key


def _bounds_together(body: dict[str, Any]) -> dict[str, Any]:
    """The values that make the fields of a limit fit together; each is valid alone."""
    names = ("rate", "burst", "key_rate", "key_burst", "order", "weights")
    fixed: dict[str, Any] = dict.fromkeys(names)
    if all(body.get(name) is None for name in ("concurrency", "key_concurrency")):
        fixed["concurrency"] = 1
    return fixed


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
