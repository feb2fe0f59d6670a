"""Limits on how many tasks run at the same time: bounds, keys and their checks."""

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
# Before the name of a queue: the limit of a queue that is fair. No other limit has this character.
MARK = "@"

# The key of a task from the arguments of its handler, or the name of the argument that is the key.
KeyOf = str | Callable[..., Any]


class LimitBounds(Struct, frozen=True, kw_only=True):
    """How many tasks may run at the same time: of a limit, and of each of its keys. None: any
    number."""

    name: str
    concurrency: int | None = None
    key_concurrency: int | None = None


class QueueRule(Struct, frozen=True, kw_only=True):
    """The limit that tasks of a queue take, or whether the queue is fair between tenants. Neither: it
    is plain."""

    queue: str
    limit: str | None = None
    fair: bool = False


def check_rule(rule: QueueRule) -> QueueRule:
    """Raise `LimitInvalid` for a rule that no queue can have. Returns it."""
    for what, name in (("the name of a queue", rule.queue), ("the name of a limit", rule.limit)):
        if name is not None and not NAME.fullmatch(name):
            raise LimitInvalid(
                f"{what} must be 1 to 128 characters of A-Z a-z 0-9 _ . -, not {name[:150]!r}"
            )
    if rule.fair and rule.limit is not None:
        raise LimitInvalid(
            f"queue {rule.queue}: a task has one limit, so a queue that is fair takes no other one"
        )
    return rule


def fair_queue(limit: str | None) -> str | None:
    """The queue whose own limit this is; None for every other limit."""
    return limit[len(MARK) :] if limit is not None and limit.startswith(MARK) else None


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
    "MARK",
    "MOST_CONCURRENCY",
    "KeyOf",
    "LimitBounds",
    "QueueRule",
    "check_bounds",
    "check_key",
    "check_rule",
    "fair_queue",
]
