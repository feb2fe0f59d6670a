"""The overview of the cluster.

`GET /api/overview`, the dashboard and `leaseq top` show it. Where a number is None, the store that
has it does not answer, or a request that is bound to a tenant may not see it. No number is ever a 0
for want of an answer.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct

from leaseq.model import Moment

# The name of the alert with the same meaning in deploy/prometheus/leaseq.rules.yml.
RuleName = Literal[
    "LeaseqDispatchAway",
    "LeaseqNoReaper",
    "LeaseqDuePastDue",
    "LeaseqQueueUnserved",
    "LeaseqQueueWaitsTooLong",
    "LeaseqWorkersSilent",
    "LeaseqSlotsFull",
    "LeaseqQueueForgotten",
]
RULES: tuple[RuleName, ...] = get_args(RuleName)


class Need(Struct, frozen=True, kw_only=True):
    """A sentence about one thing that needs a person."""

    rule: Annotated[RuleName, Meta(description="The alert with the same meaning")]
    sentence: str
    queue: Annotated[str | None, Meta(description="The queue that it is about, if one")] = None
    since: Annotated[Moment | None, Meta(description="Since when, if known")] = None


class LaneCounts(Struct, frozen=True, kw_only=True):
    """Deliveries that wait in dispatch, exactly. If `backlog_since` is not null, a lane is full and
    more tasks wait in the ledger, the first of them since then."""

    waiting: int
    high: int
    normal: int
    low: int
    suspect: int
    parked: int
    backlog_since: Moment | None
    oldest_at: Moment | None


class QueueStanding(Struct, frozen=True, kw_only=True):
    """One queue. `lanes` is null while Redis is away, and for requests that are bound to a tenant.
    `overdue_seconds` is how long its first task has been due that is still SCHEDULED."""

    name: str
    paused: bool
    paused_by: str | None
    paused_reason: str | None
    paused_at: Moment | None
    workers: Annotated[int, Meta(ge=0, description="Open workers that serve it")]
    slots: Annotated[
        int | None, Meta(description="Slots of the supervisors that serve it, if all tell them")
    ]
    overdue_seconds: float | None
    dead: Annotated[
        int | None, Meta(description="Tasks that are FAILED, exactly; null: not counted")
    ]
    lanes: LaneCounts | None


class Fleet(Struct, frozen=True, kw_only=True):
    """The processes. A worker is silent if it was not seen for a lease. The other services are those
    that have announced themselves and are alive."""

    workers: int
    workers_silent: int
    slots: int
    busy: Annotated[
        int | None, Meta(description="Deliveries that workers hold; null: Redis is away")
    ]
    supervisors: int
    reapers: int
    apis: int
    reaper_silent_seconds: Annotated[
        float | None, Meta(description="Since the last beat of any reaper; null: none is known")
    ]


class Overview(Struct, frozen=True, kw_only=True):
    """The cluster at one moment, by the clock of Postgres."""

    at: Moment
    redis: Literal["up", "away"]
    needs: Annotated[
        list[Need], Meta(description="Sentences about things that need a person, the worst first")
    ]
    fleet: Fleet
    dead: Annotated[
        int | None, Meta(description="Tasks of all queues that are FAILED; null: not counted")
    ]
    queues: Annotated[
        list[QueueStanding], Meta(description="Queues in trouble first, then by name")
    ]
    more_queues: Annotated[bool, Meta(description="More queues are known than are listed")]


__all__ = [
    "RULES",
    "Fleet",
    "LaneCounts",
    "Need",
    "Overview",
    "QueueStanding",
    "RuleName",
]
