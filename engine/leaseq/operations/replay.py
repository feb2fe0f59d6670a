"""A task submitted again as a new task, perhaps with another payload.

The original does not change. The new task is checked and completed by `accept`, as any submission
is. It carries the id of the original in its headers, and the row of the operation names the new
task (docs/replay.md). The new task has a key, so that a request that is repeated makes one task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.errors import TaskConflict
from leaseq.model import Submission, Task
from leaseq.operations.known_types import KnownTypes
from leaseq.operations.submission import PRIORITIES, Request, accept
from leaseq.options import NO_OPTIONS, SubmitOptions

REPLAY_OF = "leaseq-replay-of"
T = TypeVar("T")
_NAMES = {priority: name for name, priority in PRIORITIES.items()}


class Replay(Struct, frozen=True, kw_only=True):
    """The differences from the original. None: as there."""

    payload: bytes | None = None
    options: SubmitOptions = NO_OPTIONS
    idempotency_key: str | None = None
    trace_context: Mapping[str, str] | None = None


def default_key(task_id: str, number: int = 1) -> str:
    """The key of a replay that names none. It has the whole id, since tasks that were submitted in
    the same minute share its first eight digits."""
    return f"replay-{task_id}-{number}"


async def accept_replay(
    original: Task, wanted: Replay, *, config: Config, types: KnownTypes
) -> Submission:
    """Check a replay, and complete it with the queue, priority, limits and labels of the
    original.

    Times of the original are not copied: the new task is due immediately, and expires only if that
    is asked for. Raises `TaskConflict` for an erased task, and what `accept` raises.
    """
    payload = original.payload if wanted.payload is None else wanted.payload
    if payload is None:
        raise TaskConflict(
            f"task {original.task_id} was erased: there is no payload any more to replay; submit a "
            "task with a payload of its own"
        )
    options = wanted.options
    known = await types.look_again(original.type)
    has_limit = known is not None and known.defaults.limit is not None
    key = original.concurrency_key if has_limit else None
    is_unique = known is not None and known.defaults.unique is not None
    unique_key = original.unique_key if is_unique else None
    request = Request(
        type=original.type,
        payload=payload,
        options=replace(
            options,
            queue=_or(options.queue, original.queue),
            priority=_or(options.priority, _NAMES[original.priority]),
            max_attempts=_or(options.max_attempts, original.max_attempts),
            timeout_seconds=_or(options.timeout_seconds, original.timeout_seconds),
            labels=_or(options.labels, original.labels),
            concurrency_key=_or(options.concurrency_key, key),
            unique_key=_or(options.unique_key, unique_key),
        ),
        idempotency_key=_or(wanted.idempotency_key, default_key(original.task_id)),
        trace_context=wanted.trace_context,
    )
    submission = accept(request, config, tenant=original.tenant, known=known)
    headers = msgspec.json.decode(submission.headers) if submission.headers else {}
    return replace(submission, headers=msgspec.json.encode(headers | {REPLAY_OF: original.task_id}))


def _or(given: T | None, default: T) -> T:
    """A value that was given, even an empty one, so that it is checked."""
    return default if given is None else given


__all__ = ["REPLAY_OF", "Replay", "accept_replay", "default_key"]
