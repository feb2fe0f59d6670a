"""The work of one worker process, and how it stops.

An intake for each queue, the audit of the processing lists, and a watch for cancel requests. The
worker stops by draining: no new work, running attempts may finish within the grace, and the rest is
handed back immediately, which does not count as an attempt. Then the process closes its own worker
(`child.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Protocol

from leaseq.observability.telemetry import emit
from leaseq.worker.attempt.outcome import Stop
from leaseq.worker.cancel_watch import CancelWatch
from leaseq.worker.intake.claimer import Claimer
from leaseq.worker.intake.intake import Intake
from leaseq.worker.intake.list_audit import ListAudit
from leaseq.worker.running_attempts import RunningAttempts

LAST_WORDS_SECONDS = 5.0


class Duty(Protocol):
    """Work in the background."""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set."""


class Worker:
    """The parts of one worker process at work. `duties`: what else runs beside the intakes."""

    def __init__(
        self,
        attempts: RunningAttempts,
        claimer: Claimer,
        *,
        intakes: Mapping[str, Intake],
        list_audit: ListAudit,
        cancel_watch: CancelWatch,
        duties: Sequence[Duty] = (),
    ) -> None:
        self.worker_id = claimer.worker_id
        self.attempts = attempts
        self.slots = attempts.slots
        self.intakes = intakes
        self.list_audit = list_audit
        self.cancel_watch = cancel_watch
        self._claimer = claimer
        self._duties: list[Duty] = [*intakes.values(), *duties, list_audit, cancel_watch]
        self._stop = asyncio.Event()

    @property
    def is_barred(self) -> bool:
        """Whether this worker claims nothing more, because another transaction has locked its
        row."""
        return self._claimer.is_barred

    @property
    def running(self) -> int:
        return len(self.attempts)

    async def run(self) -> None:
        """Work until `drain` or `stop_intake`."""
        async with asyncio.TaskGroup() as group:
            for duty in self._duties:
                group.create_task(duty.run(self._stop))

    def stop_intake(self) -> None:
        """Take nothing new."""
        self._stop.set()
        self.slots.wake()
        self.list_audit.wake()  # it sees that it is to stop

    async def drain(
        self, grace_seconds: float, *, hurry: asyncio.Event, reason: Stop = Stop.DRAIN
    ) -> None:
        """Wait for running attempts, at most `grace_seconds` or until `hurry`; then hand the rest
        back."""
        self.stop_intake()
        emit(
            "worker.draining",
            worker_id=self.worker_id,
            grace_seconds=grace_seconds,
            running=self.running,
        )
        deadline = monotonic() + grace_seconds
        hurried = asyncio.create_task(hurry.wait())
        while self.attempts and not hurry.is_set() and (left := deadline - monotonic()) > 0:
            await self.attempts.until_empty(left, hurried)
        hurried.cancel()
        handed_back = self.running
        self.attempts.stop_all(reason)
        await self.finish()
        emit("worker.drained", worker_id=self.worker_id, handed_back=handed_back, left=self.running)

    async def finish(self) -> None:
        """Wait, for a bounded time, until the endings of stopped attempts are written."""
        if self.attempts:
            await self.attempts.until_empty(LAST_WORDS_SECONDS)


__all__ = ["Worker"]
