"""Send the claims of one worker, one statement at a time.

A claim locks the row of its worker in `leaseq.workers`, so that a worker that is being closed
claims nothing. Where the claims of several queues held that lock at the same time, Postgres
recorded the holders as a multixact, once for almost every claim; a few busy workers used up its
members within half a day. So claims that come while another one is on its way wait for it, and go
together in one statement. A claim that comes alone goes straight through. A claim that has waited
for a while goes alone: the one before it may be held up by a row that another transaction has
locked.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from leaseq.dispatch.scripts import SCRIPT_BATCH
from leaseq.errors import ServerUnreachable
from leaseq.ledger.limits import LimitLedger
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import ClaimedTask
from leaseq.observability.telemetry import emit
from leaseq.worker.intake.limited_starts import LimitedStarts

# Longer than a claim takes. The multixact of one that goes alone does no harm.
PATIENCE_SECONDS = 0.25

WaitingClaim = tuple[Sequence[str], "asyncio.Future[list[ClaimedTask]]"]


class Claimer:
    """Claims tasks for one worker."""

    def __init__(self, ledger: TaskLedger, workers: WorkerLedger, *, worker_id: str) -> None:
        self.worker_id = worker_id
        # another transaction has locked the row of this worker, which claims nothing more
        self.is_barred = False
        self.starts = LimitedStarts(LimitLedger(ledger.session))
        self._ledger = ledger
        self._workers = workers
        self._busy = False
        self._waiting: deque[WaitingClaim] = deque()
        self._draining: asyncio.Task[None] | None = None

    async def claim(self, task_ids: Sequence[str]) -> list[ClaimedTask]:
        """Claim these; returns the tasks that were claimed. Raises `ServerUnreachable`: whether
        they are claimed is unknown."""
        if self._busy:
            future: asyncio.Future[list[ClaimedTask]] = asyncio.get_running_loop().create_future()
            call = (task_ids, future)
            self._waiting.append(call)
            await asyncio.wait([future], timeout=PATIENCE_SECONDS)
            if call not in self._waiting:  # it is on its way
                return await future
            self._waiting.remove(call)
            return await self._ledger.claim(task_ids, worker_id=self.worker_id)
        self._busy = True
        try:
            return await self._ledger.claim(task_ids, worker_id=self.worker_id)
        finally:
            if self._waiting:
                self._draining = asyncio.create_task(self._drain())
            else:
                self._busy = False

    async def find_barred(self) -> bool:
        """Find out whether a claim waits for the row of this worker, which cannot end well, and not
        for that of a task."""
        try:
            if await self._workers.find_locked([self.worker_id]) and not self.is_barred:
                self.is_barred = True
                emit("worker.locked", worker_id=self.worker_id, verb="claim")
        except ServerUnreachable:
            return False
        return self.is_barred

    async def _drain(self) -> None:
        try:
            while self._waiting:
                await self._claim_together(self._next())
        finally:
            self._busy = False

    def _next(self) -> list[WaitingClaim]:
        calls = [self._waiting.popleft()]
        count = len(calls[0][0])
        while self._waiting and count + len(self._waiting[0][0]) <= SCRIPT_BATCH:
            count += len(self._waiting[0][0])
            calls.append(self._waiting.popleft())
        return calls

    async def _claim_together(self, calls: list[WaitingClaim]) -> None:
        try:
            claimed = await self._ledger.claim(
                [i for task_ids, _ in calls for i in task_ids], worker_id=self.worker_id
            )
        except BaseException as error:
            for _, future in calls:
                if not future.done():
                    future.set_exception(
                        error if isinstance(error, Exception) else asyncio.CancelledError()
                    )
            if not isinstance(error, Exception):
                raise
            return
        by_id = {task.claim.task_id: task for task in claimed}
        for task_ids, future in calls:
            if not future.done():
                future.set_result([by_id[task_id] for task_id in task_ids if task_id in by_id])


__all__ = ["Claimer"]
