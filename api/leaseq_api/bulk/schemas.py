"""The bodies and the answers of the routes of operations on many tasks."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from leaseq.labels import MAX_ASKED, NAME_PATTERN, VALUE_MAX_LENGTH
from leaseq.ledger.bulk_operations import BulkFilter, BulkRecord, BulkRequest, Preview
from leaseq.operations.bulk.bulk_operations import (
    DEFAULT_RATE,
    LEAST_RATE,
    MOST_IDS,
    MOST_RATE,
    REASON_LENGTH,
)
from leaseq.options import NAME_KEYWORDS, described
from leaseq_api.schemas import Count, Id, Moment, Name, StateName

ActionOnMany = Literal["cancel", "redrive"]
Rate = Annotated[
    float,
    Meta(ge=LEAST_RATE, le=MOST_RATE, description="Tasks a second, over all API processes"),
]
_NAME = described(**NAME_KEYWORDS)
Error = Annotated[
    str,
    described(
        "The fingerprint of a failure; for a redrive",
        minLength=1,
        maxLength=64,
        pattern="^[A-Za-z0-9_.:-]+$",
    ),
]


class FilterBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The tasks of an operation: a list of ids, or those that match every field that is given."""

    ids: (
        Annotated[
            list[Id], described("Stands alone", minItems=1, maxItems=MOST_IDS, uniqueItems=False)
        ]
        | None
    ) = None
    queue: Annotated[str, _NAME] | None = None
    type: Annotated[str, _NAME] | None = None
    error: Error | None = None
    running: Annotated[
        bool, Meta(description="For a cancel: ask for the end of tasks that run, too")
    ] = False
    labels: Annotated[
        dict[
            Annotated[str, described(minLength=1, maxLength=64, pattern=f"^{NAME_PATTERN}$")],
            Annotated[str, described(minLength=1, maxLength=VALUE_MAX_LENGTH)],
        ],
        described("A task has all of them", maxProperties=MAX_ASKED),
    ] = {}

    def to_filter(self) -> BulkFilter:
        """The same for the engine."""
        return BulkFilter(
            ids=self.ids,
            queue=self.queue,
            type=self.type,
            error=self.error,
            running=self.running,
            labels=self.labels,
        )


class PreviewBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a preview."""

    action: ActionOnMany
    filter: FilterBody


class SampleView(Struct, frozen=True, kw_only=True):
    """A task that an operation would change. `at` is when it ended, for a redrive, and when it was
    submitted, for a cancel."""

    task_id: Id
    queue: Name
    type: Name
    state: StateName
    at: Moment


class PreviewView(Struct, frozen=True, kw_only=True):
    """The tasks that an operation would change. `operation_id` and `as_of` are for the body that starts it."""

    operation_id: Id
    as_of: Moment
    count: Count
    exact: Annotated[bool, Meta(description="If false, there are at least `count`")]
    oldest_at: Moment | None
    newest_at: Moment | None
    samples: list[SampleView]


class StartBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body that starts an operation. The same body starts one operation, however often it is
    sent."""

    operation_id: Annotated[str, described("A UUIDv7, such as that of a preview", format="uuid")]
    action: ActionOnMany
    filter: FilterBody
    rate: Rate = DEFAULT_RATE
    reason: (
        Annotated[
            str,
            described("Shown with the operation; one line", minLength=1, maxLength=REASON_LENGTH),
        ]
        | None
    ) = None
    as_of: (
        Annotated[
            datetime,
            Meta(
                tz=True,
                description="That of the preview: tasks that were submitted (cancel) or have "
                "ended (redrive) later stay as they are. Default: now",
            ),
        ]
        | None
    ) = None

    def to_request(self, wanted: BulkFilter) -> BulkRequest:
        """The same for the engine, with a filter that was checked."""
        return BulkRequest(
            operation_id=self.operation_id.lower(),
            action=self.action,
            filter=wanted,
            rate=self.rate,
            reason=self.reason,
            as_of=self.as_of,
        )


class FilterView(Struct, frozen=True, kw_only=True):
    """The filter of an operation. `ids` is the number of ids in its list."""

    ids: Count | None
    queue: Name | None
    type: Name | None
    error: Error | None
    running: bool
    labels: dict[str, str]


class RefusalCount(Struct, frozen=True, kw_only=True):
    """How many tasks were left as they were, and why."""

    reason: Annotated[
        str,
        Meta(
            description="The state in which the task was, in lower case, or `not_found`, `erased`, "
            "`key_freed`, `after_preview`, `locked`, `gone`"
        ),
    ]
    count: Count


class BulkOperationView(Struct, frozen=True, kw_only=True):
    """An operation on many tasks. If `total_exact` is false, `total` is the least number of tasks
    that it has to change; `looked` is the number of rows that it has looked at."""

    operation_id: Id
    action: ActionOnMany
    filter: FilterView
    tenant: str | None
    actor: str
    key_id: str | None
    reason: str | None
    as_of: Moment
    rate: Rate
    state: Literal["running", "stopped", "done"]
    total: Count
    total_exact: bool
    looked: Count
    done: Count
    refused: Count
    refusals: list[RefusalCount]
    worked_at: Annotated[Moment | None, Meta(description="The last step")]
    began_at: Moment
    ended_at: Moment | None


def preview_view(operation_id: str, preview: Preview) -> PreviewView:
    """A preview, with the id for its operation."""
    return msgspec.convert(
        msgspec.to_builtins(preview) | {"operation_id": operation_id}, PreviewView
    )


def bulk_view(record: BulkRecord) -> BulkOperationView:
    """An operation, as the ledger has it."""
    stored = msgspec.json.decode(record.filter, type=BulkFilter)
    refusals = msgspec.json.decode(record.refusals, type=dict[str, int])
    return BulkOperationView(
        operation_id=record.operation_id,
        action=record.action,
        filter=FilterView(
            ids=record.id_count,
            queue=stored.queue,
            type=stored.type,
            error=stored.error,
            running=stored.running,
            labels=stored.labels,
        ),
        tenant=record.tenant,
        actor=record.actor,
        key_id=record.key_id,
        reason=record.reason,
        as_of=record.as_of,
        rate=record.rate,
        state=record.state.value,
        total=record.total,
        total_exact=record.total_exact,
        looked=record.looked,
        done=record.done,
        refused=record.refused,
        refusals=[
            RefusalCount(reason=reason, count=count) for reason, count in sorted(refusals.items())
        ],
        worked_at=record.touched_at,
        began_at=record.began_at,
        ended_at=record.ended_at,
    )


__all__ = [
    "BulkOperationView",
    "FilterBody",
    "FilterView",
    "PreviewBody",
    "PreviewView",
    "RefusalCount",
    "SampleView",
    "StartBody",
    "bulk_view",
    "preview_view",
]
