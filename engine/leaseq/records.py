"""Records of the ledger about attempts, workers and queues."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from leaseq.model import Outcome, State

Moment = Annotated[datetime, Meta(tz=True)]


class Attempt(Struct, frozen=True, kw_only=True):
    """One attempt that did not end in SUCCESS, as recorded."""

    task_id: str
    attempt: int
    outcome: Outcome
    worker_id: str
    started_at: datetime
    finished_at: datetime
    next_state: State
    error: bytes | None
    # the number of attempts that a row of hand-backs stands for, from `attempt` on; otherwise None
    hand_backs: int | None = None

    @property
    def last(self) -> int:
        """The number of the last attempt that this row stands for."""
        return self.attempt + (self.hand_backs or 1) - 1


class WorkerRecord(Struct, frozen=True, kw_only=True):
    """One incarnation of a worker, as the ledger has it."""

    worker_id: str
    host: str
    pid: int
    queues: list[str]
    version: str
    started_at: Moment
    last_seen: Moment
    closed_at: Moment | None
    close_reason: str | None


class QueueRecord(Struct, frozen=True, kw_only=True):
    """One queue and whether it is paused."""

    name: str
    paused: bool


__all__ = ["Attempt", "QueueRecord", "WorkerRecord"]
