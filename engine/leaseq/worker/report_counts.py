"""Report the counts of a worker process to its supervisor.

A report holds the counts since the one before, so the supervisor adds it up. A worker process that
is killed takes the counts of the last second with it.
"""

from __future__ import annotations

from time import monotonic

from leaseq.metrics.tally import TALLY, Series
from leaseq.supervisor.protocol import FEW_QUEUES, Channel, FromChild
from leaseq.worker.worker import Worker

REPORT_SECONDS = 1.0
# A line must be shorter than the 64 KiB that the channel reads at a time.
SERIES_IN_A_LINE = 50


class CountsReport:
    """The reports of one worker process. `tick_seconds`: how often `tick` should be called."""

    def __init__(self, worker: Worker, channel: Channel, *, tick_seconds: float) -> None:
        self._worker = worker
        self._channel = channel
        self._tick_seconds = tick_seconds
        self._ticked = self._reported = monotonic()
        self._lag = 0.0

    def tick(self) -> None:
        """Measure how late the loop is, and report when a second is over."""
        now = monotonic()
        self._lag = max(self._lag, now - self._ticked - self._tick_seconds)
        self._ticked = now
        if now - self._reported >= REPORT_SECONDS:
            self.send()

    def send(self) -> None:
        """Report now."""
        self._reported = monotonic()
        counted = TALLY.take()
        levels = self._levels()
        for start in range(0, max(len(counted), 1), SERIES_IN_A_LINE):
            piece = tuple(counted[start : start + SERIES_IN_A_LINE])
            running, taken = self._worker.running, self._worker.attempts.taken
            self._channel.send(
                FromChild(running=running, taken=taken, counted=piece, levels=levels)
            )

    def _levels(self) -> tuple[Series, ...]:
        slots = self._worker.slots
        lag, self._lag = self._lag, 0.0
        running = self._worker.attempts.by_queue()
        shown = [
            queue
            for queue in self._worker.intakes
            if queue in running or len(self._worker.intakes) <= FEW_QUEUES
        ]
        return (
            Series("leaseq_slots", (), slots.concurrency),
            Series("leaseq_slots_busy", (), slots.running),
            Series("leaseq_handlers_overrunning", (), slots.lingering),
            Series("leaseq_unsettled", (), slots.unsettled),
            Series("leaseq_loop_lag_seconds", (), lag),
            *(
                Series(name, (queue,), running.get(queue, (0, 0.0))[index])
                for index, name in enumerate(
                    ("leaseq_attempts_running", "leaseq_running_oldest_seconds")
                )
                for queue in shown
            ),
        )


__all__ = ["CountsReport"]
