"""What does one worker process run, and how does it stop?

Intake for each queue, the sweep of its own lists, a watch for cancel requests. It stops by draining: no new work, what runs may
finish within the grace, the rest is handed back at once and free of charge, and the incarnation is closed by its own hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Any

from leaseq.dispatch.dispatcher import OPEN_LANES
from leaseq.dispatch.doorbell import Doorbell
from leaseq.errors import ServerUnreachable
from leaseq.ledger.fleet import TaskType
from leaseq.loop import pause, run_forever
from leaseq.model import ClaimedTask, Lane
from leaseq.registry import Registry
from leaseq.supervisor.protocol import FEW_QUEUES
from leaseq.telemetry import emit
from leaseq.worker.attempt.attempt import Attempt
from leaseq.worker.attempt.outcome import Stop
from leaseq.worker.in_flight import InFlightDelivery
from leaseq.worker.intake import Intake
from leaseq.worker.lane_watch import LaneWatch
from leaseq.worker.list_audit import ListAudit
from leaseq.worker.slots import Slots
from leaseq.worker.tools import Tools

AUDIT_SECONDS = 3.0
CANCEL_WATCH_SECONDS = 1.0
LAST_WORDS_SECONDS = 5.0
EXPEDITE_BATCH = 500
EXPEDITE_AGAIN_SECONDS = 10.0


class Worker:
    """One incarnation at work."""

    def __init__(self, tools: Tools, doorbells: Mapping[str, Doorbell]) -> None:
        self._tools = tools
        self._running: dict[str, Attempt] = {}
        self.taken = 0  # attempts that were begun here
        self._emptied = asyncio.Event()  # for whoever waits until nothing runs
        self._stop = asyncio.Event()
        self._last_busy = monotonic()
        self._refusal: Stop | None = None
        lanes = (Lane.SUSPECT,) if tools.isolated else OPEN_LANES
        bell = Lane.SUSPECT if tools.isolated else Lane.NORMAL
        self._watch = LaneWatch(tools.dispatcher, lanes=lanes, bell=bell) if len(doorbells) > FEW_QUEUES else None
        self._intakes = {
            queue: Intake(tools, queue=queue, lanes=lanes, doorbell=doorbell, start=self._start, watch=self._watch)
            for queue, doorbell in doorbells.items()
        }
        self.list_audit = ListAudit(tools, self._intakes)

    @property
    def slots(self) -> Slots:
        return self._tools.slots

    @property
    def is_barred(self) -> bool:
        """Whether this incarnation claims nothing more, because another transaction has locked its row."""
        return self._tools.claimer.is_barred

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def idle_seconds(self) -> float:
        """Since when has nothing run?"""
        return 0.0 if self._running else monotonic() - self._last_busy

    async def run(self) -> None:
        """Work until `drain` or `abandon`."""
        async with asyncio.TaskGroup() as group:
            for intake in self._intakes.values():
                group.create_task(intake.run(self._stop))
            if self._watch is not None:
                group.create_task(self._watch.run(self._stop))
            group.create_task(self._audit_lists())
            if not self._tools.isolated:
                group.create_task(self._expedite())
            group.create_task(
                run_forever(self._watch_cancels, name="cancel", interval_seconds=CANCEL_WATCH_SECONDS, stop=self._stop)
            )

    def stop_intake(self) -> None:
        """Take nothing new."""
        self._stop.set()
        self._tools.slots.nudge()
        self._tools.releaser.failed.set()  # wakes the sweep, to see that it is over

    async def drain(self, grace_seconds: float, *, hurry: asyncio.Event, reason: Stop = Stop.DRAIN) -> None:
        """Wait for what runs, at most `grace_seconds` or until `hurry`; hand the rest back; close the incarnation."""
        self.stop_intake()
        emit("worker.draining", worker_id=self._tools.worker_id, grace_seconds=grace_seconds, running=self.running)
        deadline = monotonic() + grace_seconds
        hurried = asyncio.create_task(hurry.wait())
        while self._running and not hurry.is_set() and (left := deadline - monotonic()) > 0:
            await self._until_empty(left, hurried)
        hurried.cancel()
        handed_back = len(self._running)
        self._refusal = reason  # what a claim that is still on its way brings is handed back too
        for attempt in list(self._running.values()):
            attempt.stop(reason)
        await self.finish()
        emit("worker.drained", worker_id=self._tools.worker_id, handed_back=handed_back, left=len(self._running))

    async def finish(self) -> None:
        """Wait, not for ever, until what was stopped has been written."""
        if self._running:
            await self._until_empty(LAST_WORDS_SECONDS)

    async def _until_empty(self, seconds: float, *others: asyncio.Task[Any]) -> None:
        """Until nothing runs, or one of the others is done, or time is up."""
        self._emptied.clear()
        emptied = asyncio.create_task(self._emptied.wait())
        await asyncio.wait([emptied, *others], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        emptied.cancel()

    async def _audit_lists(self) -> None:
        while not self._stop.is_set():
            await self.list_audit.wait(AUDIT_SECONDS)
            if self._stop.is_set():
                return  # what arrived since is brought back by the closing of the incarnation
            try:
                await self.list_audit.run_once()
            except ServerUnreachable as error:
                emit("dispatch.unreachable", error=str(error))
                await asyncio.sleep(CANCEL_WATCH_SECONDS)

    async def _expedite(self) -> None:
        """Make due what waits for a worker that knows its type. A second time for what was being handed back at the first."""
        registered, queues = task_types(self._tools.registry), [*self._intakes]
        for wait in (0.0, EXPEDITE_AGAIN_SECONDS):
            await pause(wait, stop=self._stop)
            count, more = 0, bool(registered)
            while more and not self._stop.is_set():
                try:
                    # Tasks that wait for another version of their handler wait for the newest one.
                    outdated = await self._tools.fleet.find_outdated(registered)
                    types = [t.type for t in registered] + [f"{t.type}#" for t in registered if t.type not in outdated]
                    made_due = await self._tools.fleet.expedite(types, queues, limit=EXPEDITE_BATCH)
                    count, more = count + made_due, made_due > 0
                except ServerUnreachable as error:
                    emit("ledger.unreachable", error=str(error), waiting=0)
                    await pause(CANCEL_WATCH_SECONDS, stop=self._stop)
            if count:
                emit("task.expedited", count=count, queues=queues)

    async def _watch_cancels(self) -> None:
        running = list(self._running)
        if not running:
            return
        self._tools.outages.look()
        for task_id in await self._tools.ledger.find_cancel_requests(running):
            if task_id in self._running:
                self._running[task_id].stop(Stop.CANCEL)

    def _start(self, claimed: ClaimedTask, delivery: InFlightDelivery) -> None:
        attempt = Attempt(claimed, delivery, self._tools.attempts, done=self._attempt_done)
        if self._refusal is not None:
            attempt.stop(self._refusal)
        self._running[claimed.claim.task_id] = attempt
        self.taken += 1
        attempt.start()

    def _attempt_done(self, attempt: Attempt) -> None:
        self._running.pop(attempt.claimed.claim.task_id, None)
        if not self._running:
            self._last_busy = monotonic()
            self._emptied.set()


def task_types(registry: Registry) -> list[TaskType]:
    """What an app can run, as workers register it."""
    return [TaskType(h.type, h.queue, h.shape, h.max_attempts, h.timeout_seconds, h.schema()) for h in registry.handlers.values()]


__all__ = ["Worker", "task_types"]
