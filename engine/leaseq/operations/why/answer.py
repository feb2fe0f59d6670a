"""The explanation of a task, and the catalogue of cases."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct

from leaseq.model import Moment, State

CaseName = Literal[
    "pruned",
    "succeeded",
    "failed",
    "cancelled",
    "expired",
    "backing_off",
    "handed_back",
    "delayed",
    "due_no_reaper",
    "due_failing",
    "due_lane_full",
    "due",
    "limit_reached",
    "limit_next",
    "rate_reached",
    "fair_turn",
    "queue_paused",
    "dispatch_away",
    "row_locked",
    "queue_unserved",
    "servers_silent",
    "type_unknown",
    "suspect",
    "taken",
    "in_lane",
    "backlogged",
    "undelivered",
    "orphaned",
    "worker_silent",
    "reaper_held_back",
    "cancel_asked",
    "unlisted",
    "overrunning",
    "running",
    "running_long",
]
CASES: tuple[CaseName, ...] = get_args(CaseName)

Source = Literal["ledger", "failures", "dispatch", "workers", "services", "statistics"]


class Evidence(Struct, frozen=True):
    """One fact behind the sentence, and where it was read."""

    source: Source
    text: str


class FailureOfTask(Struct, frozen=True, kw_only=True):
    """The group of failures that the last failure of a task belongs to."""

    type: str
    fingerprint: str
    in_day: Annotated[int, Meta(ge=0, description="Attempts of the group in the last 24 hours")]
    first_seen: Moment
    versions: Annotated[
        list[str], Meta(description="The versions of the application in which it has occurred")
    ]


class Verdict(Struct, frozen=True, kw_only=True):
    """The case that fits the facts."""

    case: CaseName
    sentence: str
    next: str
    next_at: Moment | None = None
    since: Moment | None = None
    actions: list[str] = []
    needs_person: bool = False


class Why(Struct, frozen=True, kw_only=True):
    """Why a task is where it is. The sentence has no numbers that move, so that it changes only when
    the case does."""

    task_id: str
    state: State | None  # None: it was pruned, and its end is not known
    case: Annotated[CaseName, Meta(description="A stable name of the case")]
    sentence: str
    next: Annotated[str, Meta(description="The next event: `nothing, until ...` if none will come")]
    next_at: Annotated[Moment | None, Meta(description="When it is expected; null: not known")]
    since: Annotated[Moment | None, Meta(description="Since when this is so; null: not known")]
    actions: Annotated[list[str], Meta(description="Actions that a person can take")]
    evidence: list[Evidence]
    failure: FailureOfTask | None
    needs_person: Annotated[
        bool,
        Meta(description="Whether the task will not go on, or not go on well, without a person"),
    ]
    at: Annotated[Moment, Meta(description="The time of the facts, by the clock of Postgres")]


__all__ = ["CASES", "CaseName", "Evidence", "FailureOfTask", "Verdict", "Why"]
