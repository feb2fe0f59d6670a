"""Read what there is to tell of a task that a client follows.

A stream tells the current version of its task, and every end of an attempt. Versions between two
looks are skipped. Ends of attempts are recorded in rows of their own, so none of them is skipped.
Streams that read in the same moment share the statements, because one worker process may end
hundreds of tasks together.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from leaseq.errors import TaskNotFound
from leaseq.gather import Gatherer
from leaseq.ledger.followed import FollowedTask, FollowedTasks
from leaseq.model import TERMINAL, AttemptRecord, State
from leaseq.operations.wait import Waiter, Watch

# Tasks that are read together, of which each may have a result of a megabyte.
BATCH_SIZE = 50
CAPACITY = 10_000


class Look(Struct, frozen=True):
    """A task, and the ends of its attempts up to this version of it that are news."""

    task: FollowedTask
    ends: list[AttemptRecord]

    @property
    def ended(self) -> bool:
        """Whether the task has ended."""
        return self.task.state in TERMINAL


class _Wanted(Struct, frozen=True):
    """A task to read, and the number of the last attempt whose end is no news."""

    task_id: str
    after: int


class Follower:
    """Reads tasks for the streams of one process."""

    def __init__(self, ledger: FollowedTasks, waiter: Waiter) -> None:
        self.watch = waiter.watch
        self._ledger = ledger
        self._gatherer: Gatherer[_Wanted, Look] = Gatherer(
            self._read, batch_size=BATCH_SIZE, capacity=CAPACITY
        )

    async def look(self, watch: Watch, *, tenant: str | None, after: int) -> Look:
        """Read the task of a watch, in one tenant (in any: None). Raises `TaskNotFound`."""
        found = await self._gatherer.add(_Wanted(watch.task_id, after))
        if tenant not in (None, found.task.tenant):
            raise TaskNotFound(f"there is no task {watch.task_id}")
        watch.version = found.task.version
        return found

    async def _read(self, batch: Sequence[_Wanted]) -> list[Look | BaseException]:
        """The tasks first and their attempts second, so that every attempt that has ended in this
        version of a task is found."""
        tasks = await self._ledger.find_followed([*{wanted.task_id for wanted in batch}])
        after: dict[str, int] = {}
        for wanted in batch:
            task = tasks.get(wanted.task_id)
            if task is not None and _may_have_ends(task, wanted.after):
                after[task.task_id] = min(wanted.after, after.get(task.task_id, wanted.after))
        ends = await self._ledger.list_ends(after) if after else {}
        return [_look(tasks.get(wanted.task_id), ends, wanted) for wanted in batch]


def last_ended(task: FollowedTask) -> int:
    """The number of the last attempt that has ended in this version of a task."""
    return task.attempt - (task.state is State.PROCESSING)


def _may_have_ends(task: FollowedTask, after: int) -> bool:
    """Whether an attempt above `after` may have ended otherwise than in SUCCESS."""
    return last_ended(task) - (task.state is State.SUCCESS) > after


def _look(
    task: FollowedTask | None, ends: dict[str, list[AttemptRecord]], wanted: _Wanted
) -> Look | BaseException:
    if task is None:
        return TaskNotFound(f"there is no task {wanted.task_id}")
    new = [
        attempt
        for attempt in ends.get(task.task_id, ())
        if wanted.after < attempt.last <= last_ended(task)
    ]
    return Look(task, new)


__all__ = ["Follower", "Look", "last_ended"]
