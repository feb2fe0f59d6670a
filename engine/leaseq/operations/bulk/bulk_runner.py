"""Work on bulk operations, step by step.

Every API process runs a `BulkRunner`; `leaseq redrive` and `leaseq cancel` with a filter run one,
too. An operation is worked on by one process, which renews its lease with each step. Another one
takes it over when the lease has run out. Both may believe that they have it: the step locks the row
of the operation, so only one of them works at a time, and the other finds the position moved.

Invariants: the changes of a step, its position and its counts are one transaction, so that a crash
repeats nothing. The rate is kept in the ledger, so it holds for all processes together. After a
stop no step begins.
"""

from __future__ import annotations

import asyncio
import os
import socket
from uuid import uuid4

from leaseq.failpoints import reach
from leaseq.ledger.bulk_operations import BulkOperationLedger, Step
from leaseq.ledger.session import Connection, Locked
from leaseq.ledger.tasks import BulkStep, TaskLedger
from leaseq.loop import pause, run_forever
from leaseq.observability.telemetry import emit

# Tasks that one step changes at most.
STEP_TASKS = 500
# From one step to the next, and from one look for operations to the next.
TICK_SECONDS = 0.1
LOOK_SECONDS = 1.0
# A process that has not made a step for so long has lost its operation to the next one.
LEASE_SECONDS = 3.0
# Steps of one operation in a row, where few of the tasks that a step looks at match.
STEPS_AT_ONCE = 5


class BulkRunner:
    """The work of one process on bulk operations."""

    def __init__(self, ledger: BulkOperationLedger, tasks: TaskLedger) -> None:
        self.process = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        self._ledger = ledger
        self._tasks = tasks
        # Operations whose last step met a task that another transaction has locked.
        self._wary: set[str] = set()

    async def keep_working(self, *, stop: asyncio.Event) -> None:
        """Work on operations until `stop` is set."""

        async def work() -> None:
            while not stop.is_set() and await self.work_once():
                await pause(TICK_SECONDS, stop=stop)

        await run_forever(work, name="bulk operations", interval_seconds=LOOK_SECONDS, stop=stop)

    async def work_once(self) -> bool:
        """Make steps of each operation that is for this process. False: there is none."""
        found = await self._ledger.list_work(self.process, lease_seconds=LEASE_SECONDS)
        for operation_id in found:
            await self.advance(operation_id)
        return bool(found)

    async def advance(self, operation_id: str) -> None:
        """Make the steps of one operation that its rate allows now."""
        for _ in range(STEPS_AT_ONCE):
            try:
                more = await self._step(operation_id)
            except Locked:
                # Nothing was done. The next step leaves out the tasks that are locked then.
                self._wary.add(operation_id)
                return
            reach("bulk.moved")
            if not more:
                return

    async def _step(self, operation_id: str) -> bool:
        """Make one step. False: the rate allows no further one now, or there is none."""
        async with self._ledger.transaction() as conn:
            step = await self._ledger.take(
                operation_id, self.process, lease_seconds=LEASE_SECONDS, conn=conn
            )
            if step is None:
                return False
            limit = min(step.due, STEP_TASKS)
            if limit < 1:
                return False
            found = await self._ledger.find_next(step, limit=limit, conn=conn)
            done = await self._act(step, found.task_ids, conn=conn)
            refused = len(found.task_ids) - done
            if found.ended:
                refused += _count_gone(step, done + refused)
            reach("bulk.acted")
            await self._ledger.move(
                step, found, done=done, refused=refused, process=self.process, conn=conn
            )
        self._wary.discard(operation_id)
        if found.ended:
            emit(
                "operation.ended",
                operation_id=operation_id,
                done=step.done + done,
                refused=step.refused + refused,
            )
        return not found.ended and len(found.task_ids) < step.due

    async def _act(self, step: Step, task_ids: list[str], *, conn: Connection) -> int:
        """Change tasks, and count why others were refused. Returns the number of changed ones."""
        if not task_ids:
            return 0
        locked: set[str] = set()
        if step.operation_id in self._wary:
            locked = set(await self._tasks.find_locked(task_ids))
            _count(step, "locked", len(locked))
        free = [task_id for task_id in task_ids if task_id not in locked]
        changed = await self._change(step, free, conn=conn)
        left = [task_id for task_id in free if task_id not in changed]
        if left:
            reasons = await self._ledger.judge_refused(step, left, conn=conn)
            for task_id in left:
                _count(step, reasons[task_id], 1)
        return len(changed)

    async def _change(self, step: Step, task_ids: list[str], *, conn: Connection) -> set[str]:
        part = BulkStep(conn, step.as_of, step.filter.running)
        if step.action == "redrive":
            redriven = await self._tasks.redrive(task_ids, tenant=step.tenant, step=part)
            return {snapshot.task_id for snapshot in redriven}
        return set(await self._tasks.cancel(task_ids, tenant=step.tenant, step=part))


def _count_gone(step: Step, acted: int) -> int:
    """Count the dead letters that were there at the start, and that no step has met: others have
    redriven or pruned them."""
    if step.listed or step.action != "redrive" or not step.total_exact:
        return 0
    gone = max(step.total - step.done - step.refused - acted, 0)
    _count(step, "gone", gone)
    return gone


def _count(step: Step, reason: str, number: int) -> None:
    if number:
        step.refusals[reason] = step.refusals.get(reason, 0) + number


__all__ = ["LEASE_SECONDS", "LOOK_SECONDS", "TICK_SECONDS", "BulkRunner"]
