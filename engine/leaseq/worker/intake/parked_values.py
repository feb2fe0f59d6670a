"""Report parked values, at most once a second for each reason.

A queue in Redis may hold a hundred thousand values that are no deliveries. One event for each pull
of them would still be hundreds of lines. The first event comes immediately. Later ones are added
up, and reported when a second has passed or nothing is left.
"""

from __future__ import annotations

from time import monotonic

from leaseq.observability.telemetry import emit

EVERY_SECONDS = 1.0


class ParkedValues:
    """Counts the parked values of one queue."""

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._counts: dict[str, tuple[int, str]] = {}  # by reason: how many, and the last of them
        self._reported = -EVERY_SECONDS

    def add(self, count: int, delivery: str, *, reason: str) -> None:
        """Count so many more, one of them `delivery` (printable)."""
        if count:
            self._counts[reason] = (self._counts.get(reason, (0, ""))[0] + count, delivery)
            if monotonic() - self._reported >= EVERY_SECONDS:
                self.report()

    def report(self) -> None:
        """Report the values since the last report."""
        if self._counts:
            self._reported = monotonic()
            counts, self._counts = self._counts, {}
            for reason, (count, delivery) in counts.items():
                emit(
                    "delivery.parked",
                    count=count,
                    delivery=delivery,
                    reason=reason,
                    queue=self._queue,
                )


__all__ = ["ParkedValues"]
