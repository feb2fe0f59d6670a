"""Find tasks whose rows another transaction has locked, and report them.

A statement over many tasks waits for each of their rows. One open transaction that has locked one
of them (an `update` by a person, without its commit) would hold up all the others. So the locked
ones are found first, and left for later.

Invariants: no plain task comes here, only a task that has met a lock, and the attempts of a dead
worker. A task is reported once for as long as it is found locked. A table that is locked as a whole
remains an outage of Postgres: `find_and_report` raises `ServerUnreachable`, or finds no task.
"""

from __future__ import annotations

from collections.abc import Collection

from leaseq.ledger.tasks import TaskLedger
from leaseq.observability.telemetry import emit

# From one look at a locked row to the next.
LOCK_RECHECK_SECONDS = 1.0
SHOWN = 20
# Tasks beyond this number are reported a second time.
CAPACITY = 10_000


class LockedTaskFinder:
    """Finds and reports the locked tasks that one verb meets."""

    def __init__(self, ledger: TaskLedger, *, verb: str) -> None:
        self._ledger = ledger
        self._verb = verb
        self._known: set[str] = set()

    async def find_and_report(self, task_ids: Collection[str]) -> set[str]:
        """Find the tasks among these that are locked now, and report those that were not before.

        Raises `ServerUnreachable`.
        """
        locked = await self.find(task_ids)
        await self.report(task_ids, locked)
        return locked

    async def find(self, task_ids: Collection[str]) -> set[str]:
        """Find the tasks among these that are locked now."""
        return set(await self._ledger.find_locked(task_ids)) if task_ids else set()

    async def report(self, task_ids: Collection[str], locked: set[str]) -> None:
        """Log those of `locked` that are new, with the sessions that hold them. The others of
        `task_ids` are free again."""
        news = sorted(locked - self._known)
        self._known = (
            self._known.difference(task_ids) if len(self._known) < CAPACITY else set()
        ) | locked
        if news:
            holders = await self._ledger.find_lockers(news)
            emit(
                "task.locked",
                verb=self._verb,
                count=len(news),
                task_ids=news[:SHOWN],
                held_by=holders,
            )

    def knows(self, task_id: str) -> bool:
        """Whether this task was locked when it was last looked at."""
        return task_id in self._known


__all__ = ["LOCK_RECHECK_SECONDS", "LockedTaskFinder"]
