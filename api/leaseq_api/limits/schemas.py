"""The bodies and answers of the routes of limits."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from leaseq.limits import MOST_CONCURRENCY
from leaseq.model import Moment
from leaseq_api.schemas import Count, Name

Bound = Annotated[int, Meta(ge=1, le=MOST_CONCURRENCY)]


class LimitBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `PUT /api/limits/{name}`: one bound, or both. One that is left out is none."""

    concurrency: Annotated[
        Bound | None, Meta(description="Tasks of the limit that may run at the same time")
    ] = None
    key_concurrency: Annotated[Bound | None, Meta(description="The same for each key")] = None


class LimitView(Struct, frozen=True, kw_only=True):
    """A limit. The numbers are those of the tenant of the key; at most 10,000 are counted."""

    name: Name
    concurrency: Bound | None
    key_concurrency: Bound | None
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
