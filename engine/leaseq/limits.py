"""Limits on how many tasks run at the same time: bounds, keys, and their checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from leaseq.errors import LimitInvalid, SubmissionInvalid
from leaseq.model import NAME

# The bit of `tasks.traits` of a task with a limit.
LIMITED = 1
# The traits that this version knows.
KNOWN_TRAITS = LIMITED
KEY_MAX_LENGTH = 255
# In place of the name of a field: a function, which the process that submits has or has not.
BY_FUNCTION = "()"
MOST_CONCURRENCY = 1_000_000

# The key of a task from the arguments of its handler, or the name of the argument that is the key.
KeyOf = str | Callable[..., Any]


class LimitBounds(Struct, frozen=True, kw_only=True):
    """How many tasks may run at the same time: of a limit, and of each of its keys. None: any
    number."""

    name: str
    concurrency: int | None = None
    key_concurrency: int | None = None


def check_bounds(bounds: LimitBounds) -> LimitBounds:
    """Raise `LimitInvalid` for a limit that cannot be kept. Returns it."""
    if not NAME.fullmatch(bounds.name):
        raise LimitInvalid(
            f"the name of a limit must be 1 to 128 characters of A-Z a-z 0-9 _ . -, not {bounds.name[:150]!r}"
        )
    given: dict[str, object] = {
        "concurrency": bounds.concurrency,
        "key_concurrency": bounds.key_concurrency,
    }
    for what, value in given.items():
        if value is not None and not (
            isinstance(value, int)
            and not isinstance(value, bool)
            and 1 <= value <= MOST_CONCURRENCY
        ):
            raise LimitInvalid(
                f"limit {bounds.name}: {what} must be a whole number between 1 and {MOST_CONCURRENCY}, "
                f"not {value!r}"
            )
    if all(value is None for value in given.values()):
        raise LimitInvalid(f"limit {bounds.name}: give concurrency, key_concurrency, or both")
    return bounds


def check_key(key: object, *, whence: str) -> str:
    """The key as text. Raises `SubmissionInvalid`, whose message begins with `whence`."""
    if isinstance(key, int) and not isinstance(key, bool):
        key = str(key)
    if not isinstance(key, str):
        raise SubmissionInvalid(
            f"{whence} must be a text or a whole number, not {type(key).__name__}",
            field="concurrency_key",
        )
    if not 1 <= len(key) <= KEY_MAX_LENGTH:
        raise SubmissionInvalid(
            f"{whence} must have 1 to {KEY_MAX_LENGTH} characters, not {len(key)}",
            field="concurrency_key",
        )
    if not key.isprintable():
        raise SubmissionInvalid(
            f"{whence} must be made of printable characters", field="concurrency_key"
        )
    return key


__all__ = [
    "BY_FUNCTION",
    "KEY_MAX_LENGTH",
    "KNOWN_TRAITS",
    "LIMITED",
    "MOST_CONCURRENCY",
    "KeyOf",
    "LimitBounds",
    "check_bounds",
    "check_key",
]
