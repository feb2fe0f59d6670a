"""Options of a submission, the same for Python, HTTP and the command line.

`SubmitOptions` is the one list of them. The body of `POST /api/tasks` extends it, `leaseq submit`
fills it from its flags, and `TypedTask.options` converts its keywords (`OptionFields`) to it.
`operations/submission.py` checks it, whichever way it came. The annotations describe a field for
the OpenAPI document and do not check it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, TypedDict

from msgspec import Meta, Struct

from leaseq.connections.postgres_connection import Connection
from leaseq.context import BlockingConnection
from leaseq.labels import MAX_LABELS, NAME_PATTERN, VALUE_MAX_LENGTH
from leaseq.limits import KEY_MAX_LENGTH
from leaseq.model import MAX_ATTEMPTS, YEAR_SECONDS
from leaseq.uniqueness import KEY_MAX_LENGTH as UNIQUE_KEY_MAX_LENGTH
from leaseq.uniqueness import KEYWORDS, ConflictName, UniqueName, UniqueOptions, to_fields

PriorityName = Literal["high", "normal", "low"]

NAME_KEYWORDS: dict[str, Any] = {"minLength": 1, "maxLength": 128, "pattern": "^[A-Za-z0-9_.-]+$"}
# The years that a datetime can hold in every time zone, and no leap second.
_YEARS = "19[7-9][0-9]|[2-8][0-9]{3}|9[0-8][0-9]{2}|99[0-8][0-9]|999[0-8]"
_TIME: dict[str, Any] = {
    "format": "date-time",
    "pattern": f"^(?:{_YEARS})-[0-9]{{2}}-[0-9]{{2}}[Tt][0-9]{{2}}:[0-9]{{2}}:[0-5][0-9]",
}
_SECONDS: dict[str, Any] = {"maximum": YEAR_SECONDS}


def described(description: str | None = None, **keywords: Any) -> Meta:
    """Keywords of JSON Schema for the document, without a check by msgspec."""
    return Meta(description=description, extra_json_schema=keywords)


class SubmitOptions(Struct, frozen=True, kw_only=True):
    """Options of one submission. None: the default of the task type, else that of the
    configuration."""

    queue: (
        Annotated[
            str, described("Default: the queue of the task type, else `default`", **NAME_KEYWORDS)
        ]
        | None
    ) = None
    priority: Annotated[PriorityName, Meta(description="Default: normal")] | None = None
    delay_seconds: (
        Annotated[
            float,
            described("Delay before the task is due; at most one year", minimum=0, **_SECONDS),
        ]
        | None
    ) = None
    run_at: (
        Annotated[
            datetime, described("Time at which the task is due, in place of delay_seconds", **_TIME)
        ]
        | None
    ) = None
    # A float, because 3.0 is an integer to JSON Schema.
    max_attempts: (
        Annotated[
            float,
            described(
                "Total number of attempts. Default: that of the handler",
                type="integer",
                minimum=1,
                maximum=MAX_ATTEMPTS,
            ),
        ]
        | None
    ) = None
    timeout_seconds: (
        Annotated[
            float,
            described(
                "Limit on one attempt. Default: that of the handler", exclusiveMinimum=0, **_SECONDS
            ),
        ]
        | None
    ) = None
    expires_at: (
        Annotated[datetime, described("Do not start it after this time", **_TIME)] | None
    ) = None
    labels: (
        Annotated[
            dict[
                Annotated[str, described(pattern=f"^{NAME_PATTERN}$")],
                Annotated[str, described(minLength=1, maxLength=VALUE_MAX_LENGTH)],
            ],
            described(
                "Names and values to find the task by, not for secrets; stored until it is erased or pruned",
                maxProperties=MAX_LABELS,
            ),
        ]
        | None
    ) = None
    concurrency_key: (
        Annotated[
            str,
            described(
                "The key of the limit of the task type, in place of the one from the payload",
                minLength=1,
                maxLength=KEY_MAX_LENGTH,
            ),
        ]
        | None
    ) = None
    unique_key: (
        Annotated[
            str,
            described(
                "One task with this key is enough, as unique, debounce_seconds or throttle_seconds says",
                minLength=1,
                maxLength=UNIQUE_KEY_MAX_LENGTH,
            ),
        ]
        | None
    ) = None
    unique: (
        Annotated[
            UniqueName,
            Meta(
                description="As long as which another task has the key, this one is not made. Default: while_unfinished"
            ),
        ]
        | None
    ) = None
    unique_seconds: (
        Annotated[
            float,
            described(
                "The key is held at least for so long, unless the task fails or is cancelled",
                exclusiveMinimum=0,
                **_SECONDS,
            ),
        ]
        | None
    ) = None
    debounce_seconds: (
        Annotated[
            float,
            described(
                "Run the task once, so long after the last submission with the key, with the newest payload",
                exclusiveMinimum=0,
                **_SECONDS,
            ),
        ]
        | None
    ) = None
    max_wait_seconds: (
        Annotated[
            float,
            described(
                "Do not put a debounced task off for longer. Default: ten times debounce_seconds",
                exclusiveMinimum=0,
                **_SECONDS,
            ),
        ]
        | None
    ) = None
    throttle_seconds: (
        Annotated[
            float,
            described(
                "Make one task with the key in so long, the first", exclusiveMinimum=0, **_SECONDS
            ),
        ]
        | None
    ) = None
    on_conflict: (
        Annotated[
            ConflictName,
            Meta(
                description="If another task has the key: return it, refuse with 409, or replace it if it waits. Default: return"
            ),
        ]
        | None
    ) = None


NO_OPTIONS = SubmitOptions()


class OptionFields(TypedDict, total=False):
    """The keywords of `TypedTask.options`, for type checkers. Delays and time-outs are in
    seconds."""

    queue: str | None
    priority: str | None
    delay: float | None
    run_at: datetime | None
    max_attempts: int | None
    timeout: float | None
    expires_at: datetime | None
    labels: Mapping[str, str] | None
    concurrency_key: str | None
    unique_key: str | None
    # while_unfinished, while_waiting or while_running; or a period
    unique: str | float | timedelta | None
    debounce: float | timedelta | None
    max_wait: float | timedelta | None
    throttle: float | timedelta | None
    on_conflict: str | None
    # Which submission this is, and whose transaction it belongs to: no options of the task.
    idempotency_key: str | None
    connection: Connection | BlockingConnection | None


# Python says `delay=5`, as it says `timeout=5` everywhere. The names of fields carry their unit.
_FIELD_NAMES = {"delay": "delay_seconds", "timeout": "timeout_seconds"}


def from_keywords(chosen: dict[str, Any]) -> SubmitOptions:
    """Convert the keywords of `OptionFields` that are options of the task. Raises TypeError for an
    unknown keyword."""
    if not chosen:
        return NO_OPTIONS
    named = {_FIELD_NAMES.get(name, name): value for name, value in chosen.items()}
    if not named.keys().isdisjoint(KEYWORDS):
        named = to_fields(named)
    return SubmitOptions(**named)


def unique_options(options: SubmitOptions) -> UniqueOptions:
    """Those options of which the rule of a unique key is made."""
    return UniqueOptions(
        **{name: getattr(options, name) for name in UniqueOptions.__struct_fields__}
    )


__all__ = [
    "NAME_KEYWORDS",
    "NO_OPTIONS",
    "OptionFields",
    "PriorityName",
    "SubmitOptions",
    "described",
    "from_keywords",
    "unique_options",
]
