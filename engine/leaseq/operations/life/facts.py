"""The facts about the past of one task, for its history and its picture.

All times are those of Postgres, and they are compared only with each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from leaseq.ledger.notices import NoticeRecord
from leaseq.ledger.operation_log import OperationOutcome, OperationRecord
from leaseq.model import AttemptRecord, Outcome, Task, WorkerRecord

REFUSED = "attempt.fenced"


class Act(Struct, frozen=True, kw_only=True):
    """A change that a person asked for. `detail`: the part of its row that tells more."""

    at: datetime
    action: str
    actor: str
    outcome: str
    detail: dict[str, Any]


class Refusal(Struct, frozen=True, kw_only=True):
    """An ending that a stale worker wrote, and that its fence refused. `attempt`: which it was of."""

    at: datetime
    attempt: int
    worker_id: str | None


class LifeFacts(Struct, frozen=True, kw_only=True):
    """The known facts. Workers that are pruned are missing, and so are notices and acts past their
    retention."""

    now: datetime
    task: Task
    attempts: Sequence[AttemptRecord] = ()
    workers: Mapping[str, WorkerRecord] = {}
    acts: Sequence[Act] = ()
    refusals: Sequence[Refusal] = ()
    replay_of: str | None = None

    @property
    def is_recorded(self) -> bool:
        """Whether the last attempt is among the attempts: it did not succeed."""
        return any(attempt.last == self.task.attempt for attempt in self.attempts)

    @property
    def replayed_as(self) -> list[str]:
        """The tasks that were made from this one, in the order in which they were."""
        found = [act.detail.get("task_id") for act in self.acts if act.action == "replay"]
        return list(dict.fromkeys(each for each in found if isinstance(each, str)))

    def heard_of(self, attempt: AttemptRecord) -> datetime | None:
        """When the worker of a lost attempt was last seen. None: that is not known."""
        worker = self.workers.get(attempt.worker_id)
        if attempt.outcome is not Outcome.LOST or worker is None:
            return None
        return min(max(worker.last_seen, attempt.started_at), attempt.finished_at)


def act_of(record: OperationRecord) -> Act:
    """An act, from its row."""
    detail = msgspec.json.decode(record.detail) if record.detail else {}
    return Act(
        at=record.began_at,
        action=record.action,
        actor=record.actor,
        outcome=record.outcome,
        detail=detail if isinstance(detail, dict) else {},
    )


def refusals_of(notices: Sequence[NoticeRecord]) -> list[Refusal]:
    """The refused endings among the notices about a task, oldest first."""
    found = []
    for notice in notices:
        fields = msgspec.json.decode(notice.fields)
        if notice.name == REFUSED and isinstance(fields.get("attempt"), int):
            found.append(
                Refusal(at=notice.at, attempt=fields["attempt"], worker_id=notice.worker_id)
            )
    return sorted(found, key=lambda refusal: refusal.at)


def of_one_tenant(facts: LifeFacts) -> LifeFacts:
    """The facts without hosts and names of people, for a key that is bound to a tenant."""
    workers = {name: replace(each, host="", pid=0) for name, each in facts.workers.items()}
    return replace(facts, workers=workers, acts=[replace(act, actor="") for act in facts.acts])


def without_contents(facts: LifeFacts) -> LifeFacts:
    """The facts without texts of errors, payload and result."""
    task = replace(facts.task, error=None, payload=None, result=None, progress=None)
    return replace(
        facts, task=task, attempts=[replace(each, error=None) for each in facts.attempts]
    )


def is_done(act: Act) -> bool:
    """Whether the change was made."""
    return act.outcome == OperationOutcome.DONE


__all__ = [
    "Act",
    "LifeFacts",
    "Refusal",
    "act_of",
    "is_done",
    "of_one_tenant",
    "refusals_of",
    "without_contents",
]
