"""Claims of one incarnation, one statement at a time.

A claim locks the row of its worker in `leaseq.workers`, so that an incarnation that is being closed
claims nothing. Where the claims of several queues held that lock at the same time, Postgres
recorded the holders as a multixact, once for almost every claim; a few busy workers used up its
members within half a day. So claims that come while another one is on its way wait for it, and go
together in one statement. A claim that comes alone goes straight through, and one that has waited
for a while goes alone: the one before it may be held up by a row that another transaction has
locked.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from leaseq.dispatch.dispatcher import BITE
from leaseq.ledger.ledger import Ledger
from leaseq.model import ClaimedTask

# Longer than a claim takes. The multixact of one that goes alone is no harm.
PATIENCE_SECONDS = 0.25

Call = tuple[Sequence[str], "asyncio.Future[list[ClaimedTask]]"]


class Claimer:
    """Claims tasks for one incarnation."""

    def __init__(self, ledger: Ledger, *, worker_id: str) -> None:
        self._ledger = ledger
        self._worker_id = worker_id
        self.is_barred = False  # has another transaction locked the row of this incarnation? It claims nothing more then.
        self._busy = False
        self._waiting: deque[Call] = deque()
        self._draining: asyncio.Task[None] | None = None

    async def claim(self, task_ids: Sequence[str]) -> list[ClaimedTask]:
        """What is claimed of these. Raises `ServerUnreachable`: whether they are claimed is not known."""
        if self._busy:
            future: asyncio.Future[list[ClaimedTask]] = asyncio.get_running_loop().create_future()
            call = (task_ids, future)
            self._waiting.append(call)
            await asyncio.wait([future], timeout=PATIENCE_SECONDS)
            if call not in self._waiting:  # it is on its way
                return await future
            self._waiting.remove(call)
            return await self._ledger.claim(task_ids, worker_id=self._worker_id)
        self._busy = True
        try:
            return await self._ledger.claim(task_ids, worker_id=self._worker_id)
        finally:
            if self._waiting:
                self._draining = asyncio.create_task(self._drain())
            else:
                self._busy = False

    async def _drain(self) -> None:
        try:
            while self._waiting:
                await self._claim_together(self._take())
        finally:
            self._busy = False

    def _take(self) -> list[Call]:
        calls = [self._waiting.popleft()]
        count = len(calls[0][0])
        while self._waiting and count + len(self._waiting[0][0]) <= BITE:
            count += len(self._waiting[0][0])
            calls.append(self._waiting.popleft())
        return calls

    async def _claim_together(self, calls: list[Call]) -> None:
        try:
            claimed = await self._ledger.claim([i for task_ids, _ in calls for i in task_ids], worker_id=self._worker_id)
        except BaseException as error:
            for _, future in calls:
                if not future.done():
                    future.set_exception(error if isinstance(error, Exception) else asyncio.CancelledError())
            if not isinstance(error, Exception):
                raise
            return
        by_id = {task.claim.task_id: task for task in claimed}
        for task_ids, future in calls:
            if not future.done():
                future.set_result([by_id[task_id] for task_id in task_ids if task_id in by_id])


__all__ = ["Claimer"]
