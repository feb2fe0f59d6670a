"""The items of a batch and their outcomes, on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from leaseq.model import State
from leaseq_api.problems import Problem
from leaseq_api.schemas import Id, Key, Name, SubmitBody

MAX_ITEMS = 10_000
MAX_BYTES = 16_777_216


class BatchItem(SubmitBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One item of a batch: the body of `POST /api/tasks`, and its own idempotency key."""

    idempotency_key: (
        Annotated[Key, Meta(description="Submitting again with it returns the same task")] | None
    ) = None


class BatchTask(Struct, frozen=True, kw_only=True):
    """A task in the answer to a batch. `GET /api/tasks/{task_id}` shows the rest of it."""

    task_id: Id
    type: Name
    queue: Name
    state: State
    idempotency_key: Key | None
    created_at: Annotated[datetime, Meta(tz=True)]


class BatchOutcome(Struct, frozen=True, kw_only=True):
    """The outcome of one item. With status 202 it has `task`, which is recorded, and `replayed`:
    whether its idempotency key was seen before. `deduplicated`: another submission made the task,
    which has the unique key. With any other status it has `problem`."""

    status: Annotated[int, Meta(ge=202, le=599)]
    replayed: bool | UnsetType = UNSET
    deduplicated: bool | UnsetType = UNSET
    task: BatchTask | UnsetType = UNSET
    problem: Problem | UnsetType = UNSET


class BatchAnswer(Struct, frozen=True, kw_only=True):
    """The outcomes of all items, in their order. If the rest of a body could not be read, the last
    outcome says why, and stands for all items from its place on. None of those is recorded."""

    items: Annotated[list[BatchOutcome], Meta(max_length=MAX_ITEMS + 1)]


__all__ = ["MAX_BYTES", "MAX_ITEMS", "BatchAnswer", "BatchItem", "BatchOutcome", "BatchTask"]
