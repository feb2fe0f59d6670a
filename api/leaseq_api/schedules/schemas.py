"""Schedules, as HTTP and `--json` show them, and the bodies that change them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from leaseq.labels import MAX_LABELS, NAME_PATTERN, VALUE_MAX_LENGTH
from leaseq.limits import KEY_MAX_LENGTH
from leaseq.model import MAX_ATTEMPTS, YEAR_SECONDS
from leaseq.operations.submission import Request
from leaseq.options import NAME_KEYWORDS, PriorityName, SubmitOptions, described
from leaseq.schedules.plan import MOST_CAUGHT_UP, MOST_JITTER_SECONDS, CatchUp, Overlap
from leaseq.schedules.read_timing import LEAST_SECONDS, MAX_LENGTH, MOST_SECONDS
from leaseq.schedules.schedule import ScheduleRun
from leaseq_api.schemas import Count, Id, Json, Moment, Name

_TIME: dict[str, Any] = {"format": "date-time"}
Labels = Annotated[
    dict[
        Annotated[str, described(pattern=f"^{NAME_PATTERN}$")],
        Annotated[str, described(minLength=1, maxLength=VALUE_MAX_LENGTH)],
    ],
    described("Of each task", maxProperties=MAX_LABELS),
]


class ScheduleBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `PUT /api/schedules/{name}`: `cron` or `every_seconds`, and the task."""

    type: Annotated[str, described("The name that selects the handler", **NAME_KEYWORDS)]
    payload: (
        Annotated[Json, Meta(description="JSON for the handler; by default an empty object")]
        | UnsetType
    ) = UNSET
    cron: (
        Annotated[
            str,
            described(
                "Minute, hour, day of the month, month, day of the week; or `@daily` and the like",
                maxLength=MAX_LENGTH,
            ),
        ]
        | None
    ) = None
    tz: (
        Annotated[
            str, described("The time zone of `cron`, as Europe/Zurich. Default: UTC", maxLength=64)
        ]
        | None
    ) = None
    every_seconds: (
        Annotated[
            float,
            described(
                "An interval in place of `cron`", minimum=LEAST_SECONDS, maximum=MOST_SECONDS
            ),
        ]
        | None
    ) = None
    start_at: Annotated[datetime, described("No occurrence before", **_TIME)] | None = None
    end_at: Annotated[datetime, described("No occurrence after", **_TIME)] | None = None
    catch_up: Annotated[
        CatchUp, Meta(description="How occurrences are treated that no reaper saw in time")
    ] = "once"
    max_catch_up: Annotated[
        int,
        Meta(ge=1, le=MOST_CAUGHT_UP, description="With `catch_up` all: at most so many at a time"),
    ] = 10
    overlap: Annotated[
        Overlap, Meta(description="How an occurrence is treated while the last task has not ended")
    ] = "allow"
    jitter_seconds: Annotated[
        int,
        Meta(
            ge=0,
            le=MOST_JITTER_SECONDS,
            description="Fire later by less than this, always the same",
        ),
    ] = 0
    queue: (
        Annotated[str, described("Default: the queue of the task type", **NAME_KEYWORDS)] | None
    ) = None
    priority: Annotated[PriorityName, Meta(description="Default: normal")] | None = None
    max_attempts: (
        Annotated[
            float,
            described(
                "Default: that of the handler", type="integer", minimum=1, maximum=MAX_ATTEMPTS
            ),
        ]
        | None
    ) = None
    timeout_seconds: (
        Annotated[
            float,
            described("Default: that of the handler", exclusiveMinimum=0, maximum=YEAR_SECONDS),
        ]
        | None
    ) = None
    labels: Labels | None = None
    concurrency_key: (
        Annotated[
            str,
            described(
                "Of each task; default: from the payload", minLength=1, maxLength=KEY_MAX_LENGTH
            ),
        ]
        | None
    ) = None

    def to_request(self) -> Request:
        """The submission of each of its tasks."""
        return Request(
            type=self.type,
            payload=bytes(self.payload or b"{}"),
            options=SubmitOptions(
                queue=self.queue,
                priority=self.priority,
                max_attempts=self.max_attempts,
                timeout_seconds=self.timeout_seconds,
                labels=self.labels,
                concurrency_key=self.concurrency_key,
            ),
        )


class RunBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /api/schedules/{name}/run`, which may be left out."""

    operation_id: Annotated[
        str | None,
        Meta(description="A UUID of the request: sent again, it returns the same task"),
    ] = None


class ScheduleView(Struct, frozen=True, kw_only=True):
    """A schedule. `fired`, `missed` and `skipped` count its occurrences. In lists `payload`,
    `next_times` and `runs` are omitted; `payload` also for keys without the scope `payloads`."""

    tenant: str
    name: Name
    description: Annotated[str, Meta(description="Its times in English")]
    cron: str | None
    tz: str
    every_seconds: float | None
    start_at: Moment | None
    end_at: Moment | None
    type: Name
    queue: Name
    priority: PriorityName
    max_attempts: Annotated[int, Meta(ge=1, le=MAX_ATTEMPTS)]
    timeout_seconds: Annotated[float, Meta(gt=0, le=YEAR_SECONDS)]
    labels: dict[str, str]
    limit: Annotated[Name | None, Meta(description="The limit whose permits its tasks wait for")]
    concurrency_key: str | None
    catch_up: CatchUp
    max_catch_up: Annotated[int, Meta(ge=1)]
    overlap: Overlap
    jitter_seconds: Count
    source: Annotated[str, Meta(description="`api`, or `code:` and the module that declares it")]
    created_at: Moment
    changed_at: Moment
    paused_at: Moment | None
    paused_by: str | None
    next_at: Annotated[Moment | None, Meta(description="Null: it occurs no more")]
    last_at: Moment | None
    last_task_id: Id | None
    fired: Count
    missed: Count
    skipped: Count
    payload: Json | UnsetType = UNSET
    next_times: list[Moment] | UnsetType = UNSET
    runs: (
        Annotated[list[ScheduleRun], Meta(description="The last ones, newest first")] | UnsetType
    ) = UNSET


class SchedulePage(Struct, frozen=True, kw_only=True):
    """Schedules by tenant and name. If there are more, `next_cursor` is not null."""

    schedules: list[ScheduleView]
    next_cursor: str | None


class RunView(Struct, frozen=True, kw_only=True):
    """A task that was submitted by a run. `created` is false where the request came before."""

    task_id: Id
    created: bool


WIRE: list[type[Struct]] = [
    RunBody,
    RunView,
    ScheduleBody,
    SchedulePage,
    ScheduleRun,
    ScheduleView,
]

__all__ = [
    "WIRE",
    "RunBody",
    "RunView",
    "ScheduleBody",
    "SchedulePage",
    "ScheduleRun",
    "ScheduleView",
]
