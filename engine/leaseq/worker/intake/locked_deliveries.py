"""Keep the deliveries whose tasks another transaction has locked.

A claim of such a task waits for its row, and every other task of that claim with it. So the
delivery stays in the processing list of this worker, without a slot, until the row is free. The
list audit looks once a second and takes it in again. While any delivery is here, each claim first
looks for locked rows, so that no second claim waits for one.

Invariants: every delivery here is in flight, so that the list audit does not find it unknown. If
the worker ends, its recovery moves the delivery back to its lane, as each that was not claimed. The
number is bounded: a delivery beyond it goes back to its lane, and the intake of that queue pauses.
"""

from __future__ import annotations

from collections import defaultdict

from leaseq.ledger.locked_tasks import LockedTaskFinder
from leaseq.ledger.tasks import TaskLedger
from leaseq.worker.in_flight import InFlight, InFlightDelivery

CAPACITY = 500


class LockedDeliveries:
    """The deliveries of one worker that wait for a row."""

    def __init__(self, ledger: TaskLedger, in_flight: InFlight) -> None:
        self.tasks = LockedTaskFinder(ledger, verb="claim")
        self._in_flight = in_flight
        self._deliveries: dict[str, InFlightDelivery] = {}

    def __bool__(self) -> bool:
        return bool(self._deliveries)

    def add(self, delivery: InFlightDelivery) -> bool:
        """Keep this delivery until its row is free. False: there are too many."""
        if len(self._deliveries) >= CAPACITY:
            return False
        self._in_flight.remove(delivery)
        (self._deliveries[delivery.task_id],) = self._in_flight.add(
            delivery.queue, [delivery.task_id]
        ).new
        return True

    async def take_free(self) -> dict[str, list[str]]:
        """Stop keeping the deliveries whose rows are free, and return their ids, by queue. Raises
        `ServerUnreachable`."""
        asked = [*self._deliveries]  # an intake adds others meanwhile
        locked = await self.tasks.find_and_report(asked)
        freed: defaultdict[str, list[str]] = defaultdict(list)
        for task_id in [task_id for task_id in asked if task_id not in locked]:
            delivery = self._deliveries.pop(task_id)
            self._in_flight.remove(delivery)
            freed[delivery.queue].append(task_id)
        return freed


__all__ = ["LockedDeliveries"]
