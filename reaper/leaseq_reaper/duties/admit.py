"""Give permits of limits that are free to the tasks that wait for them.

The process that submits a task, and the worker that ends one, ask for an admission themselves. This
duty admits what they did not: a task that a caller's own transaction has recorded, a retry whose time
has come, and everything that a killed process has left. Each pass asks which limits have a line, and
admits as `Admissions` does.

The reaper owns the window "admitted, not pushed" of its own admissions while it lives: `_unsent` is
pushed before any further admission. For every other process, and after its own death, the handoffs in
the ledger tell any reaper which tasks to push (docs/decisions/0073-handoffs.md). A task that had its turn and
could not be promoted is locked by another transaction, or its row was left behind. It is skipped for
SKIP_SECONDS, so that it holds up no other, and its row is repaired if it is wrong.
"""

from __future__ import annotations

import time

from leaseq.dispatch.queue_lists import QueueLane
from leaseq.ledger.limits import AdmittedTasks
from leaseq.metrics.tally import TALLY
from leaseq.observability.telemetry import emit
from leaseq.operations.admissions import Handoffs, report
from leaseq.operations.stores import Stores
from leaseq_reaper.duties.suspicion import Clock
from leaseq_reaper.duty_runner import IdleBackoff
from leaseq_reaper.isolation import FailureIsolation
from leaseq_reaper.redeliver import redeliver_lanes

INTERVAL_SECONDS = 0.1
# If no task waited for ten passes, half as many are made: those that submit and end tasks ask anyway.
IDLE_FACTOR = 2.0
# Statements for one limit in a pass.
ROUNDS = 20
SKIP_SECONDS = 1.0
MOST_SKIPPED = 1_000


class Admit:
    """The duty."""

    def __init__(self, stores: Stores, *, clock: Clock = time.monotonic) -> None:
        self._limits = stores.limits
        self._handoffs = Handoffs(stores.limits)
        self._dispatcher = stores.dispatcher
        self._isolation = FailureIsolation(stores)
        self._clock = clock
        self._unsent: dict[QueueLane, list[str]] = {}  # admitted, not pushed
        self._skipped: dict[str, float] = {}  # task ids, until when
        self.idle = IdleBackoff(IDLE_FACTOR)

    async def run_once(self) -> None:
        """Push what another process has admitted and left, then admit tasks of every limit with a
        line, as far as there are permits."""
        await self._send()
        names, is_late = await self._limits.find_admissible()
        if is_late:
            await self._take_over()
        self.idle.note(found=is_late or bool(names))
        now = self._clock()
        self._skipped = {id_: until for id_, until in self._skipped.items() if until > now}
        await self._isolation.each(names, self._admit)
        await self._handoffs.drop()
        self._isolation.raise_first()

    async def _take_over(self) -> None:
        """Push the tasks of admissions that were not pushed in time, and that no worker has claimed.
        What Redis does not take stays in `_unsent`."""
        found = await self._limits.find_handoffs()
        self._keep(found.lanes)
        await self._send()
        await self._limits.drop_handoffs(found.ids)
        if found.lanes:
            emit("admission.taken", count=sum(len(one.task_ids) for one in found.lanes))

    async def _admit(self, name: str) -> None:
        for _ in range(ROUNDS):
            admission = await self._handoffs.admit(name, skipped=self._skipped)
            self._keep(admission.lanes)
            report(name, admission)
            await self._send()
            self._handoffs.note_pushed(admission)
            await self._note_stuck(admission.stuck)
            if admission.is_last and not admission.stuck:
                break

    def _keep(self, lanes: list[AdmittedTasks]) -> None:
        for one in lanes:
            self._unsent.setdefault((one.queue, one.lane), []).extend(one.task_ids)

    async def _note_stuck(self, task_ids: list[str]) -> None:
        """Skip tasks that cannot be promoted now, after a look at their rows."""
        if not task_ids:
            return
        for repaired in await self._limits.repair(task_ids):
            TALLY.count("leaseq_limit_repairs_total")
            emit("limit.repaired", limit=repaired.limit, task_id=repaired.task_id)
        room = MOST_SKIPPED - len(self._skipped)
        until = self._clock() + SKIP_SECONDS
        self._skipped.update(dict.fromkeys(task_ids[:room], until))

    async def _send(self) -> None:
        # Pushed twice when the answer was lost: legal, the claim is a compare-and-set.
        if self._unsent:
            self._unsent = (
                await redeliver_lanes(self._dispatcher, self._unsent, isolation=self._isolation)
            ).failed


__all__ = ["INTERVAL_SECONDS", "Admit"]
