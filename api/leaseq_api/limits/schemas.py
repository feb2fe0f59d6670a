"""The bodies and answers of the routes of limits."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from leaseq.limits import MOST_CONCURRENCY, MOST_WEIGHT
from leaseq.model import Moment
from leaseq.rates import MOST_BURST, RATE
from leaseq_api.schemas import Count, Name

Bound = Annotated[int, Meta(ge=1, le=MOST_CONCURRENCY)]
Burst = Annotated[int, Meta(ge=0, le=MOST_BURST)]
Rate = Annotated[str, Meta(max_length=24, pattern=f"^(?:{RATE.pattern})$")]
Weights = dict[str, Annotated[int, Meta(ge=1, le=MOST_WEIGHT)]]


class LimitBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `PUT /api/limits/{name}`: at least a bound or a rate. One that is left out is none."""

    concurrency: Annotated[
        Bound | None, Meta(description="Tasks of the limit that may run at the same time")
    ] = None
    key_concurrency: Annotated[Bound | None, Meta(description="The same for each key")] = None
    rate: Annotated[
        Rate | None, Meta(description="Tasks that may start in a period: 100/1s, 90/10s, 1000/h")
    ] = None
    burst: Annotated[
        Burst | None, Meta(description="How many more may start in one period; null: none")
    ] = None
    key_rate: Annotated[Rate | None, Meta(description="The rate of each key")] = None
    key_burst: Annotated[Burst | None, Meta(description="The burst of each key")] = None
    order: Annotated[
        Literal["strict"] | None,
        Meta(description="strict: one task of a key after the other, through retries"),
    ] = None
    weights: Annotated[
        Weights | None, Meta(description="Tasks of a key that have a turn together; else 1")
    ] = None


class LimitView(Struct, frozen=True, kw_only=True):
    """A limit. The numbers are those of the tenant of the key; at most 10,000 are counted."""

    name: Name
    concurrency: Bound | None
    key_concurrency: Bound | None
    rate: str | None
    burst: Burst | None
    key_rate: str | None
    key_burst: Burst | None
    order: Literal["strict"] | None
    weights: Weights
    updated_at: Moment
    admitted: Annotated[Count, Meta(description="Tasks with a permit")]
    waiting: Annotated[Count, Meta(description="Tasks that wait for a permit")]
    oldest_at: Annotated[
        Moment | None, Meta(description="The time since which the oldest of them has the limit")
    ]


class LimitKeyView(Struct, frozen=True, kw_only=True):
    """The line of one key of a limit. The key of tasks without one is empty."""

    tenant: str
    key: str
    admitted: Count
    waiting: Count


class LimitDetail(Struct, frozen=True, kw_only=True):
    """A limit, and those of its keys with the longest lines."""

    limit: LimitView
    keys: list[LimitKeyView]


class LimitList(Struct, frozen=True, kw_only=True):
    """Some limits by name."""

    limits: list[LimitView]
    next_cursor: Name | None


class DeletedLimit(Struct, frozen=True, kw_only=True):
    """A limit that was deleted."""

    name: Name


class QueueBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `PUT /api/queues/{queue}`: a limit, or `fair`. With neither the queue is plain."""

    limit: Annotated[
        Name | None, Meta(description="The limit that tasks of the queue take; null: none")
    ] = None
    fair: Annotated[bool, Meta(description="Whether tenants have turns in this queue")] = False


class QueueLineView(Struct, frozen=True, kw_only=True):
    """The limit of a queue, or of its tenants where it is fair. The numbers are those of the limit, so
    where it has other queues, too, their tasks count; at most 10,000 are counted."""

    name: Name
    limit: Name | None
    fair: bool
    permits: Annotated[
        Count | None,
        Meta(description="Tasks that may be PENDING or PROCESSING; null: any number"),
    ]
    admitted: Annotated[Count, Meta(description="Tasks with a permit")]
    waiting: Annotated[Count, Meta(description="Tasks that wait for a permit, or for their turn")]
    oldest_at: Annotated[
        Moment | None, Meta(description="The time since which the oldest of them has the limit")
    ]
    lines: list[LimitKeyView]


WIRE = [
    DeletedLimit,
    LimitBody,
    LimitDetail,
    LimitKeyView,
    LimitList,
    LimitView,
    QueueBody,
    QueueLineView,
]

__all__ = [
    "DeletedLimit",
    "LimitBody",
    "LimitDetail",
    "LimitKeyView",
    "LimitList",
    "LimitView",
    "QueueBody",
    "QueueLineView",
]
