"""The cells of the sweep: an action, at a point, for a kind of task.

Invariant: every failpoint of leaseq has an entry here (tested), and a cell that is left out has its
reason in the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from random import Random

from msgspec import Struct

__all__ = ["PLACES", "Action", "Cell", "Effects", "Place", "Provocation", "cells"]


class Action(StrEnum):
    """The action at a point."""

    KILL = "kill"  # SIGKILL
    STOP = "stop"  # SIGSTOP for two leases (a child together with its supervisor), then SIGCONT
    ERROR = "error"  # an unexpected error
    LOST = "lost"  # the connection breaks: the request was carried out, the answer is lost
    # Postgres is restarted without a checkpoint while the process stands there
    POSTGRES = "postgres"
    VALKEY = "valkey"  # Valkey is killed and started again meanwhile
    FLUSHALL = "flushall"  # Valkey loses everything meanwhile


class Effects(StrEnum):
    """How the tasks of a cell take effect."""

    TRANSACTIONAL = "transactional"
    PLAIN = "plain"


class Provocation(StrEnum):
    """A precondition for reaching a point. Without one, every task passes the point."""

    NOTHING = "nothing"
    DELAY = "delay"  # the tasks are submitted for a little later
    UNIQUE = "unique"  # the tasks have unique keys, each its own
    CHILD = "child"  # a child is killed with claimed tasks
    WORKER = "worker"  # a whole worker is killed with claimed tasks
    ORPHANS = "orphans"  # the same, and Valkey loses the lists that would tell of them
    FLUSH = "flush"  # Valkey loses the deliveries of tasks that wait
    OPERATION = "operation"  # a queue that is not paused is resumed
    BULK = "bulk"  # an operation on many tasks, whose list names a task that does not exist
    SCHEDULE = "schedule"  # a schedule that is due each second until the action is done
    LIMIT = "limit"  # every task has a limit
    FAILURE = "failure"  # a task fails
    CROWD = "crowd"  # more tasks wait than their lane holds, and workers then take them


class Place(Struct, frozen=True):
    """How the sweep comes to a point."""

    provocation: Provocation = Provocation.NOTHING
    only: Effects | None = None  # tasks of the other kind do not pass here


_TRANSACTION = Place(only=Effects.TRANSACTIONAL)
_DEATH = Place(Provocation.WORKER)
_LOSS = Place(Provocation.FLUSH)
_CROWD = Place(Provocation.CROWD)
_HIRE = Place(Provocation.CHILD)
# the ending of a transactional task is written in its transaction
_SETTLE = Place(only=Effects.PLAIN)

PLACES: Mapping[str, Place] = {
    "submit.sending": Place(),
    "submit.sent": Place(),
    "unique.judged": Place(Provocation.UNIQUE),
    "unique.sent": Place(Provocation.UNIQUE),
    "submit.committed": Place(),
    "submit.answering": Place(),
    "push.sent": Place(),
    "doorbell.moved": Place(),
    "pull.moved": Place(),
    "claim.sending": Place(),
    "claim.sent": Place(),
    "attempt.starting": Place(),
    "transaction.open": _TRANSACTION,
    "attempt.ending": Place(),
    "transaction.settled": _TRANSACTION,
    "commit.sent": _TRANSACTION,
    "settle.sending": _SETTLE,
    "settle.sent": _SETTLE,
    "settle.committed": Place(),
    "release.sent": Place(),
    "worker.recorded": _HIRE,
    "lease.opened": _HIRE,
    "beat.renewed": Place(),
    "reap.closing": _DEATH,
    "reap.closed": _DEATH,
    "reap.settled": _DEATH,
    "reap.moved": _DEATH,
    "promote.committed": Place(Provocation.DELAY),
    "promote.sent": Place(Provocation.DELAY),
    "admit.committed": Place(Provocation.LIMIT),
    "admit.sent": Place(Provocation.LIMIT),
    "fire.read": Place(Provocation.SCHEDULE),
    "fire.committed": Place(Provocation.SCHEDULE),
    "fire.sent": Place(Provocation.SCHEDULE),
    "refill.announced": _CROWD,
    "refill.read": _CROWD,
    "refill.pushed": _CROWD,
    "reconcile.found": _LOSS,
    "redeliver.sending": _LOSS,
    "reconcile.pushed": _LOSS,
    "epoch.beginning": _LOSS,
    "operation.recorded": Place(Provocation.OPERATION),
    "operation.done": Place(Provocation.OPERATION),
    "bulk.acted": Place(Provocation.BULK),
    "bulk.moved": Place(Provocation.BULK),
    "failures.counted": Place(Provocation.FAILURE),
    "orphans.settled": Place(Provocation.ORPHANS),
}


class Cell(Struct, frozen=True, kw_only=True):
    """One experiment."""

    point: str
    action: Action
    effects: Effects

    @property
    def place(self) -> Place:
        return PLACES[self.point]

    @property
    def name(self) -> str:
        return f"{self.point} {self.action} {self.effects}"


def cells(*, seed: int, points: tuple[str, ...] = (), actions: tuple[str, ...] = ()) -> list[Cell]:
    """All of them, or those of some points and actions, in an order that the seed decides."""
    chosen = [
        Cell(point=point, action=action, effects=effects)
        for point, place in PLACES.items()
        for action in Action
        for effects in Effects
        if (not points or point in points)
        and (not actions or action in actions)
        and place.only in (None, effects)
    ]
    Random(seed).shuffle(chosen)
    return chosen
