"""The bodies of actions on one task."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from leaseq.operations.seen import PATTERN
from leaseq.options import SubmitOptions, described
from leaseq_api.schemas import Json, Key


class ActionBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a cancellation or a redrive, which may be left out."""

    seen: (
        Annotated[
            str,
            described(
                "The state and the attempt of the task when it was looked at, as in FAILED/3. If it is "
                "another one now, nothing is changed, and the answer is `task_moved`",
                pattern=PATTERN,
            ),
        ]
        | None
    ) = None
    operation_id: (
        Annotated[
            str,
            described(
                "A UUID for this action. If it comes twice for one action on one task, it is done once",
                format="uuid",
            ),
        ]
        | None
    ) = None


class ReplayBody(SubmitOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a replay, which may be left out. The rest is as in the original."""

    payload: (
        Annotated[Json, Meta(description="In place of the payload of the original")] | UnsetType
    ) = UNSET
    idempotency_key: (
        Annotated[
            Key,
            Meta(description="Default: `replay-{task_id}-1`, so that a task is replayed once"),
        ]
        | None
    ) = None


__all__ = ["ActionBody", "ReplayBody"]
