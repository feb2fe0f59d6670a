"""The deliveries that this worker holds, from their pull to their release.

An id may arrive several times: twice in one list, through the intake and through the list audit,
and again after its release. Each arrival is an `InFlightDelivery` of its own, and a caller removes
that object and not the id. So a late removal takes nothing away from a newer arrival of the same
id.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct


class InFlightDelivery(Struct, frozen=True, eq=False):
    """One arrival of a delivery. Two of them are never equal."""

    task_id: str
    queue: str


class Arrivals(Struct, frozen=True):
    """The deliveries of a list that were not in flight, and the ids that the list held more than
    once.

    A duplicate has no use: its first occurrence stands for it.
    """

    new: list[InFlightDelivery]
    duplicates: list[str]


class InFlight:
    """The deliveries that the processing lists of this worker should hold, as the worker itself
    remembers them."""

    def __init__(self) -> None:
        self._deliveries: dict[str, InFlightDelivery] = {}

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._deliveries

    def add(self, queue: str, task_ids: Iterable[str]) -> Arrivals:
        """Record arrivals, and return the new ones. Two ways of arrival never add the same id
        twice."""
        new: dict[str, InFlightDelivery] = {}
        duplicates = []
        for task_id in task_ids:
            if task_id in new:
                duplicates.append(task_id)
            elif task_id not in self._deliveries:
                new[task_id] = self._deliveries[task_id] = InFlightDelivery(task_id, queue)
        return Arrivals([*new.values()], duplicates)

    def remove(self, delivery: InFlightDelivery) -> None:
        """Forget this arrival. A newer arrival of the same id stays."""
        if self._deliveries.get(delivery.task_id) is delivery:
            del self._deliveries[delivery.task_id]

    def task_ids(self, queue: str) -> set[str]:
        """The ids of one queue that are in flight."""
        return {
            task_id for task_id, delivery in self._deliveries.items() if delivery.queue == queue
        }

    def queues(self) -> set[str]:
        """The queues with at least one delivery in flight."""
        return {delivery.queue for delivery in self._deliveries.values()}


__all__ = ["Arrivals", "InFlight", "InFlightDelivery"]
