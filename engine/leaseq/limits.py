"""Limits on tasks that run at the same time, and that start: bounds, keys, checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypedDict

from msgspec import Struct

from leaseq.errors import LimitInvalid, SubmissionInvalid
from leaseq.model import NAME
from leaseq.rates import Bucket, bucket

# The bit of `tasks.traits` of a task with a limit.
LIMITED = 1
# The bit of one that takes a token at its start, because its limit had a rate when it was admitted.
RATED = 2
# The traits that this version knows.
KNOWN_TRAITS = LIMITED | RATED
KEY_MAX_LENGTH = 255
# In place of the name of a field: a function, which the process that submits has or has not.
BY_FUNCTION = "()"
MOST_CONCURRENCY = 1_000_000
MOST_WEIGHT = 1_000
MOST_WEIGHTS = 1_000
# Before the name of a queue: the limit of a queue that is fair. No other limit has this character.
MARK = "@"

# The key of a task from the arguments of its handler, or the name of the argument that is the key.
KeyOf = str | Callable[..., Any]


class LimitBounds(Struct, frozen=True, kw_only=True):
    """How many tasks may run at the same time, and how many may start in a period: of a limit, and of
    each of its keys. None: any number. `strict`: one at a time of each key, in order, through retries.
    `weights`: how many tasks of a key have a turn together; 1 where a key has none."""

    name: str
    concurrency: int | None = None
    key_concurrency: int | None = None
    rate: str | None = None
    burst: int | None = None
    key_rate: str | None = None
    key_burst: int | None = None
    strict: bool = False
    weights: dict[str, int] | None = None

    def buckets(self) -> tuple[Bucket | None, Bucket | None]:
        """The bucket of the rate, and that of each key."""
        where = f"limit {self.name}"
        return (
            None if self.rate is None else bucket(self.rate, self.burst, where=where),
            None
            if self.key_rate is None
            else bucket(self.key_rate, self.key_burst, where=where, what="key_rate"),
        )


class LimitOptions(TypedDict, total=False):
    """The arguments of `app.limit` besides the name."""

    concurrency: int | None
    key_concurrency: int | None
    rate: str | None
    burst: int | None
    key_rate: str | None
    key_burst: int | None
    order: Literal["strict"] | None
    weights: dict[str, int] | None


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
    if all(value is None for value in (*given.values(), bounds.rate, bounds.key_rate)):
        raise LimitInvalid(
            f"limit {bounds.name}: give concurrency, key_concurrency, rate, or key_rate"
        )
    for what, rate, burst in (
        ("burst", bounds.rate, bounds.burst),
        ("key_burst", bounds.key_rate, bounds.key_burst),
    ):
        if rate is None and burst is not None:
            raise LimitInvalid(f"limit {bounds.name}: {what} needs {what.replace('burst', 'rate')}")
    bounds.buckets()
    if bounds.strict and bounds.key_concurrency != 1:
        raise LimitInvalid(
            f"limit {bounds.name}: strict order needs key_concurrency 1, not {bounds.key_concurrency!r}"
        )
    _check_weights(bounds)
    return bounds


def bounds_of(name: str, options: LimitOptions) -> LimitBounds:
    """The limit that these options describe. Raises `LimitInvalid` for an unknown order."""
    fields: dict[str, Any] = dict(options)
    order: object = fields.pop("order", None)
    if order not in (None, "strict"):
        raise LimitInvalid(f'limit {name}: order must be "strict", not {str(order)[:80]!r}')
    return LimitBounds(name=name, strict=order is not None, **fields)


def _check_weights(bounds: LimitBounds) -> None:
    weights: object = bounds.weights
    if weights is None:
        return
    if not isinstance(weights, dict) or len(weights) > MOST_WEIGHTS:
        raise LimitInvalid(
            f"limit {bounds.name}: weights must be at most {MOST_WEIGHTS} keys, each with a number"
        )
    for key, weight in weights.items():
        try:
            check_key(key, whence="a key")
        except SubmissionInvalid as error:
            raise LimitInvalid(f"limit {bounds.name}: weights: {error}") from error
        if (
            not isinstance(weight, int)
            or isinstance(weight, bool)
            or not 1 <= weight <= MOST_WEIGHT
        ):
            raise LimitInvalid(
                f"limit {bounds.name}: the weight of key {key} must be a whole number between 1 and "
                f"{MOST_WEIGHT}, not {weight!r}"
            )


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
    "MOST_WEIGHT",
    "RATED",
    "KeyOf",
    "LimitBounds",
    "LimitOptions",
    "QueueRule",
    "bounds_of",
    "check_bounds",
    "check_key",
    "check_rule",
    "fair_queue",
]
