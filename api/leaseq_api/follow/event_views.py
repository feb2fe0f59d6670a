"""The data of events, as JSON."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from leaseq.model import State
from leaseq_api.schemas import Count, Id, Json, Moment, Name


class FollowedTaskView(Struct, frozen=True, kw_only=True):
    """The data of an event `state`: the part of a task that changes after its submission. `result`
    and `error` are omitted for keys without the scope `payloads`, and for an erased task."""

    task_id: Id
    tenant: Name
    queue: Name
    type: Name
    state: State
    attempt: Count
    retry_count: Count
    created_at: Moment
    run_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    cancel_requested_at: Moment | None
    erased_at: Moment | None
    worker_id: str | None
    error: Json | UnsetType | None = UNSET
    result: Json | UnsetType | None = UNSET


class ProgressView(Struct, frozen=True, kw_only=True):
    """The data of an event `progress`, which only keys with the scope `payloads` get."""

    attempt: Count
    progress: Json


class ListedTaskView(Struct, frozen=True, kw_only=True):
    """The data of an event `state` of the stream of all tasks, without anything that a client or a
    handler wrote."""

    task_id: Id
    tenant: Name
    queue: Name
    type: Name
    state: State
    attempt: Count
    created_at: Moment
    run_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    cancel_requested_at: Moment | None


class MissedView(Struct, frozen=True, kw_only=True):
    """The data of an event `missed`: how many changes were left out, because the client was slow or
    too many came together."""

    count: Count


EVENT_VIEWS = [FollowedTaskView, ListedTaskView, MissedView, ProgressView]

__all__ = ["EVENT_VIEWS", "FollowedTaskView", "ListedTaskView", "MissedView", "ProgressView"]
