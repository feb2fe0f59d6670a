"""Groups of failures, as HTTP and `--json` show them."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from leaseq.ledger.failures import MOST_DEAD, GroupState, SeenVersion
from leaseq.model import Outcome, State
from leaseq.options import NAME_KEYWORDS, described
from leaseq_api.schemas import Count, Id, Json, Moment, Name

LONGEST_WINDOW = 30 * 86_400.0


class FailureQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of `GET /api/failures`. A filter that is not given does not filter."""

    type: Annotated[str, described("Only failures of this type", **NAME_KEYWORDS)] | UnsetType = (
        UNSET
    )
    queue: Annotated[str, described("Only failures in this queue", **NAME_KEYWORDS)] | UnsetType = (
        UNSET
    )
    state: Annotated[GroupState, Meta(description="Only groups in this state")] | UnsetType = UNSET
    window: Annotated[
        float,
        Meta(
            gt=0,
            le=LONGEST_WINDOW,
            description="Only groups that have occurred within so many seconds",
        ),
    ] = 7 * 86_400.0
    limit: Annotated[int, Meta(ge=1, le=200, description="Maximum number of items")] = 50
    cursor: (
        Annotated[
            str,
            described(
                "`next_cursor` of the previous page",
                minLength=1,
                maxLength=400,
                pattern="^[A-Za-z0-9_-]+$",
            ),
        ]
        | UnsetType
    ) = UNSET


class FailureView(Struct, frozen=True, kw_only=True):
    """A group of failures of one type that have one cause. `message` is that of the newest attempt;
    it is omitted for keys without the scope `payloads`, and null once the attempt was erased or
    pruned."""

    type: Name
    fingerprint: Annotated[str, Meta(description="`many`: further failures of a type with many")]
    state: Annotated[
        GroupState,
        Meta(description="`new`: first seen, or back in a new version, within the last 24 hours"),
    ]
    code: str
    exception: Annotated[str, Meta(description="The class of the exception, or empty")]
    frame: Annotated[
        str, Meta(description="`module:function` of the application where it was raised, or empty")
    ]
    message: str | UnsetType | None = UNSET
    in_hour: Annotated[int, Meta(ge=0, description="Attempts that failed in the last hour")]
    in_day: Annotated[int, Meta(ge=0, description="In the last 24 hours")]
    in_week: Annotated[int, Meta(ge=0, description="In the last 7 days")]
    hours: Annotated[
        list[int], Meta(description="In each of the last 24 hours by the clock, this one last")
    ]
    dead: Annotated[
        int,
        Meta(
            ge=0, description=f"Tasks that are FAILED with it now; {MOST_DEAD} in a list: or more"
        ),
    ]
    first_seen: Moment
    last_seen: Moment
    queues: list[Name]
    versions: Annotated[
        list[SeenVersion], Meta(description="Of the application, the oldest first, if known")
    ]
    hosts: list[str]
    acknowledged_at: Moment | None
    acknowledged_by: str | None
    returned_at: Annotated[
        Moment | None,
        Meta(description="It was acknowledged, and occurred in a new version then"),
    ]
    task_id: Annotated[Id, Meta(description="The task of the newest attempt")]
    attempt: Count


class FailurePage(Struct, frozen=True, kw_only=True):
    """Groups of failures, the one that occurred last first. If there are more, `next_cursor` is not
    null."""

    failures: list[FailureView]
    next_cursor: str | None


class FailedAttemptView(Struct, frozen=True, kw_only=True):
    """A recent attempt of a group. `state` is that of its task now."""

    task_id: Id
    attempt: Count
    tenant: str
    queue: Name
    state: State
    outcome: Outcome
    worker_id: str
    host: str | None
    version: Annotated[str | None, Meta(description="Of the application, if it is known")]
    finished_at: Moment


class ErrorVariant(Struct, frozen=True, kw_only=True):
    """Messages of recent attempts that differ only in numbers, ids and the like: how many there
    are, and the error of the newest one."""

    count: Count
    task_id: Id
    attempt: Count
    error: Json


class FailureDetail(Struct, frozen=True, kw_only=True):
    """A group of failures with its recent attempts that are still recorded. `messages` is omitted
    for keys without the scope `payloads`."""

    failure: FailureView
    recent: list[FailedAttemptView]
    messages: list[ErrorVariant] | UnsetType = UNSET


WIRE: list[type[Struct]] = [
    SeenVersion,
    FailureView,
    FailurePage,
    FailedAttemptView,
    ErrorVariant,
    FailureDetail,
]

__all__ = [
    "WIRE",
    "ErrorVariant",
    "FailedAttemptView",
    "FailureDetail",
    "FailurePage",
    "FailureQuery",
    "FailureView",
    "SeenVersion",
]
