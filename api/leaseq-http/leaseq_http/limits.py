"""Limits and their lines, as the service answers them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypedDict

from msgspec import Struct


class LimitBounds(TypedDict, total=False):
    """The bounds and rates of a limit, at least one. One that is left out is none."""

    concurrency: int | None  # tasks that may run at the same time
    key_concurrency: int | None  # the same for each key
    rate: str | None  # tasks that may start in a period, such as "100/1s"
    burst: int | None  # how many more may start in one period
    key_rate: str | None  # the rate of each key
    key_burst: int | None
    order: Literal["strict"] | None  # one task of a key after the other, through retries
    weights: dict[str, int] | None  # tasks of a key that have a turn together


class Limit(Struct, frozen=True, kw_only=True):
    """A limit. The numbers are those of the tenant of the key; at most 10,000 are counted."""

    name: str
    concurrency: int | None
    key_concurrency: int | None
    rate: str | None
    burst: int | None
    key_rate: str | None
    key_burst: int | None
    order: Literal["strict"] | None
    weights: dict[str, int]
    updated_at: datetime
    admitted: int  # tasks with a permit
    waiting: int  # tasks that wait for a permit
    oldest_at: datetime | None  # since which the oldest of them waits


class LimitKey(Struct, frozen=True, kw_only=True):
    """The line of one key of a limit. The key of tasks without one is empty."""

    tenant: str
    key: str
    admitted: int
    waiting: int


class LimitDetail(Struct, frozen=True, kw_only=True):
    """A limit, and those of its keys with the longest lines."""

    limit: Limit
    keys: list[LimitKey]


class LimitList(Struct, frozen=True, kw_only=True):
    """One page of limits."""

    limits: list[Limit]
    next_cursor: str | None


class DeletedLimit(Struct, frozen=True, kw_only=True):
    """A limit that was deleted."""

    name: str


__all__ = ["DeletedLimit", "Limit", "LimitBounds", "LimitDetail", "LimitKey", "LimitList"]
