"""Admit tasks of limits in the background, after a submission and after an ending.

A submission and an ending wait for no admission. An admission that fails, or dies with this process,
is made by the next pass of a reaper (`reaper/leaseq_reaper/duties/admit.py`), at most 0.1 s later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from leaseq.errors import ServerUnreachable
from leaseq.ledger.limits import Admission, LimitLedger
from leaseq.ledger.tasks import TaskLedger
from leaseq.observability.telemetry import emit, listening
from leaseq.operations.push import Pusher

# Statements for one limit in a row. A reaper does the rest.
TRIES = 4


class Admissions:
    """Admits in one asyncio task, which exists only while there is something to do."""

    def __init__(self, ledger: LimitLedger, tasks: TaskLedger, pusher: Pusher) -> None:
        self._ledger = ledger
        tasks.on_freed = self.ask
        self._pusher = pusher
        self._asked: dict[str, None] = {}
        self._worker: asyncio.Task[None] | None = None

    def ask(self, names: Iterable[str]) -> None:
        """Admit tasks of these limits soon."""
        self._asked.update(dict.fromkeys(names))
        if self._asked and (self._worker is None or self._worker.done()):
            self._worker = asyncio.create_task(self._work())

    async def aclose(self) -> None:
        """Wait until everything that was asked for is done."""
        if self._worker is not None:
            await asyncio.wait([self._worker])

    async def _work(self) -> None:
        while self._asked:
            name = next(iter(self._asked))
            del self._asked[name]
            try:
                await self._admit(name)
            except ServerUnreachable as error:
                emit("admission.failed", limit=name, error=str(error))

    async def _admit(self, name: str) -> None:
        for _ in range(TRIES):
            admission = await self._ledger.admit(name)
            report(name, admission)
            self._pusher.offer(
                [(one.queue, one.lane, id_) for one in admission.lanes for id_ in one.task_ids],
                redelivery=True,
            )
            if admission.is_last:
                break


def report(name: str, admission: Admission) -> None:
    """Report the tasks that were admitted."""
    if listening("task.admitted"):
        for one in admission.lanes:
            for task_id in one.task_ids:
                emit("task.admitted", task_id=task_id, queue=one.queue, lane=one.lane, limit=name)


__all__ = ["Admissions", "report"]
