"""The attempts that this worker has started and that are not done."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

from leaseq.model import ClaimedTask
from leaseq.worker.attempt.attempt import Attempt
from leaseq.worker.attempt.outcome import Stop
from leaseq.worker.attempt.services import AttemptServices
from leaseq.worker.in_flight import InFlightDelivery


class RunningAttempts:
    """Starts attempts, and knows them until they are done."""

    def __init__(self, services: AttemptServices) -> None:
        self.slots = services.slots
        self.taken = 0  # attempts that were started here so far
        self._services = services
        self._attempts: dict[str, Attempt] = {}
        self._emptied = asyncio.Event()
        self._last_busy = monotonic()
        self._refusal: Stop | None = None

    def __len__(self) -> int:
        return len(self._attempts)

    @property
    def idle_seconds(self) -> float:
        """For how long nothing has run."""
        return 0.0 if self._attempts else monotonic() - self._last_busy

    def start(self, claimed: ClaimedTask, delivery: InFlightDelivery) -> None:
        """Start the attempt of a claimed task."""
        attempt = Attempt(claimed, delivery, self._services, self._attempt_done)
        if self._refusal is not None:
            attempt.stop(self._refusal)
        self._attempts[claimed.claim.task_id] = attempt
        self.taken += 1
        attempt.start()

    def task_ids(self) -> list[str]:
        return list(self._attempts)

    def by_queue(self) -> dict[str, tuple[int, float]]:
        """How many there are in each queue, and for how long the oldest of them has run, in
        seconds."""
        now, found = monotonic(), dict[str, tuple[int, float]]()
        for attempt in self._attempts.values():  # the oldest first
            queue = attempt.claimed.queue
            count, oldest = found.get(queue) or (0, now - attempt.began)
            found[queue] = count + 1, oldest
        return found

    def stop(self, task_id: str, reason: Stop) -> None:
        """Stop the attempt of one task, if it is still here."""
        if task_id in self._attempts:
            self._attempts[task_id].stop(reason)

    def stop_all(self, reason: Stop) -> None:
        """Stop every attempt, and each that a claim on its way still brings."""
        self._refusal = reason
        for attempt in list(self._attempts.values()):
            attempt.stop(reason)

    async def until_empty(self, seconds: float, *others: asyncio.Task[Any]) -> None:
        """Wait until nothing runs, or one of the others is done, or the time is over."""
        self._emptied.clear()
        emptied = asyncio.create_task(self._emptied.wait())
        await asyncio.wait([emptied, *others], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        emptied.cancel()

    def _attempt_done(self, attempt: Attempt) -> None:
        self._attempts.pop(attempt.claimed.claim.task_id, None)
        if not self._attempts:
            self._last_busy = monotonic()
            self._emptied.set()


__all__ = ["RunningAttempts"]
