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


WIRE = [DeletedLimit, LimitBody, LimitDetail, LimitKeyView, LimitList, LimitView]

__all__ = [
    "DeletedLimit",
    "LimitBody",
    "LimitDetail",
    "LimitKeyView",
    "LimitList",
    "LimitView",
]
