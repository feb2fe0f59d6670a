"""Unique tasks, debounce and throttle: rules, keys, and their checks.

A key belongs to a tenant, a task type and a hold. The hold says as long as what the task with the
key is in the way of the next one (docs/unique.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from string import Formatter
from typing import Any, Literal, get_args

from msgspec import Struct

from leaseq.errors import SubmissionInvalid

UniqueName = Literal["while_unfinished", "while_waiting", "while_running"]
HoldName = Literal["while_unfinished", "while_waiting", "while_running", "debounce", "throttle"]
ConflictName = Literal["return", "refuse", "replace"]
# The key of a task: a template such as "sync:{account}", or a function of the arguments.
UniqueKeyOf = str | Callable[..., Any]

KEY_MAX_LENGTH = 255
MAX_SECONDS = 366 * 86_400.0
# The longest wait of a debounced task, as a multiple of its delay, where none is given.
MAX_WAIT_FACTOR = 10
# In place of a template: a function, which the process that submits has or has not.
BY_FUNCTION = "()"

UNIQUE_NAMES: tuple[str, ...] = get_args(UniqueName)
CONFLICT_NAMES: tuple[str, ...] = get_args(ConflictName)


# Python says `debounce=5`, and for a period `unique=300`. The names of fields carry their unit.
KEYWORDS = {
    "unique": "unique",
    "debounce": "debounce_seconds",
    "max_wait": "max_wait_seconds",
    "throttle": "throttle_seconds",
    "on_conflict": "on_conflict",
}


class UniqueRule(Struct, frozen=True, omit_defaults=True):
    """Which task is in the way of another one with its key, and what happens to the latter."""

    hold: HoldName = "while_unfinished"
    # the time for which a key is held at least, or from which on a throttle takes the next
    period_seconds: float | None = None
    on_conflict: ConflictName = "return"
    delay_seconds: float | None = None  # of a debounce
    max_wait_seconds: float | None = None  # of a debounce


class UniqueKey(Struct, frozen=True):
    """The key of one submission, and its rule."""

    key: str
    rule: UniqueRule


class UniqueOptions(Struct, frozen=True, kw_only=True):
    """The options of which a rule is made, as a client or an app gives them."""

    unique: str | None = None
    unique_seconds: float | None = None
    debounce_seconds: float | None = None
    max_wait_seconds: float | None = None
    throttle_seconds: float | None = None
    on_conflict: str | None = None


def to_fields(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of Python as fields of `UniqueOptions`; other keywords as they are."""
    fields: dict[str, Any] = {}
    for name, value in chosen.items():
        field = KEYWORDS.get(name, name)
        if field == "unique" and not isinstance(value, str | None):
            field = "unique_seconds"
        fields[field] = value.total_seconds() if isinstance(value, timedelta) else value
    return fields


def rule_of(given: UniqueOptions, default: UniqueRule | None = None) -> UniqueRule | None:
    """The rule of these options, else the default. Raises `SubmissionInvalid`."""
    kinds = {
        "unique": given.unique is not None or given.unique_seconds is not None,
        "debounce_seconds": given.debounce_seconds is not None,
        "throttle_seconds": given.throttle_seconds is not None,
    }
    chosen = [name for name, is_given in kinds.items() if is_given]
    if len(chosen) > 1:
        raise _invalid(chosen[1], f"give {' or '.join(chosen)}, not both")
    if given.on_conflict is not None and given.on_conflict not in CONFLICT_NAMES:
        raise _invalid("on_conflict", f"on_conflict must be {_or(CONFLICT_NAMES)}")
    kind = chosen[0] if chosen else None
    if given.max_wait_seconds is not None and kind != "debounce_seconds":
        raise _invalid("max_wait_seconds", "max_wait_seconds belongs to debounce_seconds")
    if kind is None:
        return _changed(default, given)
    if kind == "debounce_seconds":
        return _debounce(given)
    return _throttle(given) if kind == "throttle_seconds" else _unique(given)


def _throttle(given: UniqueOptions) -> UniqueRule:
    on_conflict: Any = given.on_conflict or "return"
    if on_conflict == "replace":
        raise _invalid("on_conflict", "a throttled task is not replaced, because the first wins")
    seconds = _seconds("throttle_seconds", given.throttle_seconds)
    return UniqueRule("throttle", seconds, on_conflict)


def _unique(given: UniqueOptions) -> UniqueRule:
    on_conflict: Any = given.on_conflict or "return"
    hold: Any = given.unique or "while_unfinished"
    if hold not in UNIQUE_NAMES:
        raise _invalid("unique", f"unique must be {_or(UNIQUE_NAMES)}")
    period = given.unique_seconds
    if period is not None:
        if hold != "while_unfinished":
            raise _invalid("unique_seconds", f"a period cannot be combined with {hold}")
        period = _seconds("unique_seconds", period)
    return UniqueRule(hold, period, on_conflict)


def _changed(default: UniqueRule | None, given: UniqueOptions) -> UniqueRule | None:
    """The rule of a type, with another answer to a conflict if one is given."""
    if default is None or given.on_conflict is None:
        if given.on_conflict is not None:
            raise _invalid("on_conflict", "on_conflict belongs to unique or throttle_seconds")
        return default
    if default.hold == "debounce" or (default.hold, given.on_conflict) == ("throttle", "replace"):
        raise _invalid("on_conflict", f"a task with {default.hold} has no such answer")
    on_conflict: Any = given.on_conflict
    return UniqueRule(default.hold, default.period_seconds, on_conflict)


def _debounce(given: UniqueOptions) -> UniqueRule:
    seconds = _seconds("debounce_seconds", given.debounce_seconds)
    longest = given.max_wait_seconds
    if longest is None:
        longest = min(MAX_WAIT_FACTOR * seconds, MAX_SECONDS)
    longest = _seconds("max_wait_seconds", longest)
    if longest < seconds:
        raise _invalid(
            "max_wait_seconds", "max_wait_seconds must not be less than debounce_seconds"
        )
    if given.on_conflict is not None:
        raise _invalid("on_conflict", "a debounced task takes the newest payload: omit on_conflict")
    return UniqueRule("debounce", None, "return", seconds, longest)


def check_unique_key(key: object, *, whence: str) -> str:
    """The key as text. Raises `SubmissionInvalid`, whose message begins with `whence`."""
    if isinstance(key, int) and not isinstance(key, bool):
        key = str(key)
    if not isinstance(key, str):
        raise _invalid(
            "unique_key", f"{whence} must be a text or a whole number, not {type(key).__name__}"
        )
    if not 1 <= len(key) <= KEY_MAX_LENGTH:
        raise _invalid(
            "unique_key", f"{whence} must have 1 to {KEY_MAX_LENGTH} characters, not {len(key)}"
        )
    if not key.isprintable():
        raise _invalid("unique_key", f"{whence} must be made of printable characters")
    return key


def check_template(template: str, *, parameters: set[str]) -> None:
    """Raise `ValueError` for a template that no submission can fill in."""
    for field in _fields(template):
        if field not in parameters:
            raise ValueError(f"unique_key={template!r} has the unknown parameter {field!r}")
    if not template:
        raise ValueError("unique_key= must not be empty")


def fill_template(template: str, values: Mapping[str, Any]) -> str:
    """The key of these arguments. Raises `SubmissionInvalid`, and `KeyError` for one that is
    missing."""
    made = []
    for text, field, _, _ in Formatter().parse(template):
        made.append(text)
        if field is not None:
            value = values[field]
            whence = f"the parameter {field!r} of the unique key"
            # may be empty where the rest of the key is not
            made.append(value if value == "" else check_unique_key(value, whence=whence))
    return check_unique_key("".join(made), whence="the unique key")


def _fields(template: str) -> list[str]:
    try:
        parts = [*Formatter().parse(template)]
    except ValueError as error:
        raise ValueError(f"unique_key={template!r} is no template: {error}") from None
    for _, field, form, conversion in parts:
        if field is not None and (form or conversion or not field.isidentifier()):
            raise ValueError(
                f"unique_key={template!r} may have names of parameters in braces, and nothing else there"
            )
    return [field for _, field, _, _ in parts if field is not None]


def _seconds(field: str, value: float | None) -> float:
    if value is None or not 0 < value <= MAX_SECONDS:
        raise _invalid(field, f"{field} must be more than 0 and at most one year")
    return float(value)


def _or(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _invalid(field: str, message: str) -> SubmissionInvalid:
    return SubmissionInvalid(message, field=field)


__all__ = [
    "BY_FUNCTION",
    "CONFLICT_NAMES",
    "KEYWORDS",
    "KEY_MAX_LENGTH",
    "MAX_SECONDS",
    "UNIQUE_NAMES",
    "ConflictName",
    "HoldName",
    "UniqueKey",
    "UniqueKeyOf",
    "UniqueName",
    "UniqueOptions",
    "UniqueRule",
    "check_template",
    "check_unique_key",
    "fill_template",
    "rule_of",
    "to_fields",
]
