"""Admit tasks of limits in the background, after a submission and after an ending.

A submission and an ending wait for no admission. An admission that fails, or dies with this process,
is made by the next pass of a reaper (`reaper/leaseq_reaper/duties/admit.py`), at most 0.1 s later.

The statement that admits tasks writes a handoff, which is deleted after the push. If this process dies
between the two, or Redis does not take the push, a reaper finds the handoff and pushes the tasks
(docs/decisions/0073-handoffs.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from contextlib import suppress

from leaseq.errors import ServerUnreachable
from leaseq.failpoints import reach
from leaseq.ledger.limits import Admission, LimitLedger
from leaseq.ledger.tasks import TaskLedger
from leaseq.observability.telemetry import emit, listening
from leaseq.operations.push import Pusher

# Statements for one limit in a row. A reaper does the rest.
TRIES = 4
# Handoffs wait so long for the next admission, which deletes them at the cost of no statement.
LINGER_SECONDS = 0.03


class Handoffs:
    """Admits, and deletes the handoffs of admissions whose tasks are pushed."""

    def __init__(self, ledger: LimitLedger) -> None:
        self._ledger = ledger
        self._pushed: list[int] = []

    @property
    def waiting(self) -> bool:
        """Whether a handoff is to be deleted."""
        return bool(self._pushed)

    async def admit(self, name: str, *, skipped: Collection[str] = ()) -> Admission:
        """As `LimitLedger.admit`. Deletes the handoffs whose tasks are pushed."""
        pushed, self._pushed = self._pushed, []
        try:
            return await self._ledger.admit(name, skipped=skipped, pushed=pushed)
        except ServerUnreachable:
            self._pushed += pushed
            raise

    def note_pushed(self, admission: Admission) -> None:
        """All tasks of an admission are pushed."""
        if admission.handoff is not None:
            reach("admit.sent")
            self._pushed.append(admission.handoff)

    async def drop(self) -> None:
        """Delete the handoffs that no admission has deleted. One that stays after an error is left to a
        reaper."""
        pushed, self._pushed = self._pushed, []
        if pushed:
            await self._ledger.drop_handoffs(pushed)


class Admissions:
    """Admits in one asyncio task, which exists only while there is something to do."""

    def __init__(self, ledger: LimitLedger, tasks: TaskLedger, pusher: Pusher) -> None:
        self._handoffs = Handoffs(ledger)
        tasks.on_freed = self.ask
        self._pusher = pusher
        self._asked: dict[str, None] = {}
        self._woken = asyncio.Event()
        self._closing = False
        self._worker: asyncio.Task[None] | None = None

    def ask(self, names: Iterable[str]) -> None:
        """Admit tasks of these limits soon."""
        self._asked.update(dict.fromkeys(names))
        self._woken.set()
        if self._asked and (self._worker is None or self._worker.done()):
            self._worker = asyncio.create_task(self._work())

    async def aclose(self) -> None:
        """Wait until everything that was asked for is done."""
        self._closing = True
        self._woken.set()
        if self._worker is not None:
            await asyncio.wait([self._worker])

    async def _work(self) -> None:
        while self._asked or self._handoffs.waiting:
            if self._asked:
                await self._admit_next()
            else:
                await self._linger()

    async def _admit_next(self) -> None:
        name = next(iter(self._asked))
        del self._asked[name]
        try:
            await self._admit(name)
        except ServerUnreachable as error:
            emit("admission.failed", limit=name, error=str(error))

    async def _admit(self, name: str) -> None:
        for _ in range(TRIES):
            admission = await self._handoffs.admit(name)
            report(name, admission)
            if await self._pusher.push(
                (one.queue, one.lane, id_) for one in admission.lanes for id_ in one.task_ids
            ):
                self._handoffs.note_pushed(admission)
            if admission.is_last:
                break

    async def _linger(self) -> None:
        """Delete handoffs, unless an admission that does so is asked for soon."""
        self._woken.clear()
        if not self._closing:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), LINGER_SECONDS)
        if not self._asked:
            with suppress(ServerUnreachable):
                await self._handoffs.drop()


def report(name: str, admission: Admission) -> None:
    """Report the tasks that were admitted."""
    if listening("task.admitted"):
        for one in admission.lanes:
            for task_id in one.task_ids:
                emit("task.admitted", task_id=task_id, queue=one.queue, lane=one.lane, limit=name)


__all__ = ["Admissions", "Handoffs", "report"]
