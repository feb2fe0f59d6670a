"""The deliveries of one queue that this worker holds and has not started.

They are recorded here, and released where they cannot start. The ledger alone tells where a
delivery goes. A value that is no task id, or that the ledger does not know, is parked. A delivery
of a task that is not PENDING in this queue is done. A PENDING task that this worker may not claim,
or has no slot for, goes back to the head of its lane.

Invariant: a delivery that is no longer in flight here and is still in the processing list is
unknown to this worker, so the list audit finds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from leaseq.dispatch.deliveries import Destination, Release
from leaseq.dispatch.ownership import Ownership
from leaseq.errors import ServerUnreachable
from leaseq.ledger.tasks import TaskLedger
from leaseq.model import State, TaskSnapshot
from leaseq.observability.telemetry import emit
from leaseq.worker.in_flight import Arrivals, InFlight, InFlightDelivery
from leaseq.worker.intake.parked_values import ParkedValues
from leaseq.worker.release import Releaser


class QueueDeliveries:
    """The deliveries of one queue."""

    def __init__(
        self,
        queue: str,
        *,
        worker_id: str,
        ledger: TaskLedger,
        ownership: Ownership,
        releaser: Releaser,
        in_flight: InFlight,
    ) -> None:
        self.queue = queue
        self.parked_values = ParkedValues(queue)
        self._worker_id = worker_id
        self._ledger = ledger
        self._ownership = ownership
        self._releaser = releaser
        self._in_flight = in_flight

    def add(self, task_ids: Iterable[str]) -> Arrivals:
        """Record arrivals, and return the new ones."""
        return self._in_flight.add(self.queue, task_ids)

    def forget(self, deliveries: Iterable[InFlightDelivery]) -> None:
        """Record that these were not started here. Those still in the list are unknown now, and the
        list audit finds them."""
        for delivery in deliveries:
            self._in_flight.remove(delivery)

    def audit_soon(self) -> None:
        """Have the list audit look at the processing lists now."""
        self._releaser.failed.set()

    async def sift(self, deliveries: Sequence[InFlightDelivery]) -> Sequence[InFlightDelivery]:
        """Release what cannot be claimed here, and return the rest."""
        try:
            snapshots = await self._ledger.find_snapshots(
                [delivery.task_id for delivery in deliveries]
            )
            wanted = {
                snapshot.task_id
                for snapshot in snapshots.values()
                if self.is_pending_here(snapshot) or snapshot.worker_id == self._worker_id
            }
            await self.release(
                [delivery for delivery in deliveries if delivery.task_id not in wanted], snapshots
            )
        except BaseException:
            self.forget(deliveries)
            raise
        return [delivery for delivery in deliveries if delivery.task_id in wanted]

    async def hand_back(self, deliveries: Sequence[InFlightDelivery]) -> None:
        """Release deliveries for which there is no slot: they would wait here while another worker
        may have one."""
        try:
            snapshots = await self._ledger.find_snapshots(
                [delivery.task_id for delivery in deliveries]
            )
            await self.release(deliveries, snapshots)
        finally:
            self.forget(deliveries)

    async def release(
        self, deliveries: Sequence[InFlightDelivery], snapshots: Mapping[str, TaskSnapshot]
    ) -> None:
        """Release each of these to where the ledger's answer says. `snapshots`: that answer, by
        task id."""
        if any(delivery.task_id not in snapshots for delivery in deliveries):
            try:
                await self._ownership.check()
            except ServerUnreachable:
                # Ids of another ledger are not ours to park. They stay in the list, unknown, for
                # the list audit.
                self.forget(
                    delivery for delivery in deliveries if delivery.task_id not in snapshots
                )
                deliveries = [delivery for delivery in deliveries if delivery.task_id in snapshots]
        if deliveries:
            await self._releaser.release_all(self.queue, self._releases(deliveries, snapshots))
            self.forget(deliveries)

    def _releases(
        self, deliveries: Sequence[InFlightDelivery], snapshots: Mapping[str, TaskSnapshot]
    ) -> list[Release]:
        """The destination of each, in the order in which they are to be released. One event for
        each kind of them."""
        releases: list[Release] = []
        unknown: list[str] = []
        skipped: list[TaskSnapshot] = []
        # each goes to the head of its lane: the last one first
        for delivery in reversed(deliveries):
            snapshot = snapshots.get(delivery.task_id)
            if snapshot is None:
                unknown.append(delivery.task_id)
                releases.append(Release(delivery.task_id, Destination.PARKED))
            elif self.is_pending_here(snapshot):
                # It cannot be claimed: its queue is paused (the doorbell does not know that), or
                # this worker is closed.
                releases.append(Release(delivery.task_id, snapshot.lane))
            else:
                # In the lane of a wrong queue it would come back here again and again. It gets a
                # new delivery, in its own queue.
                releases.append(Release(delivery.task_id, Destination.DONE))
                skipped.append(snapshot)
        if unknown:
            self.parked_values.add(
                len(unknown), unknown[0], reason="the ledger does not know this id"
            )
        for snapshot in skipped[:1]:
            about = {
                "task_id": snapshot.task_id,
                "state": snapshot.state,
                "attempt": snapshot.attempt,
            }
            emit("delivery.skipped", count=len(skipped), **about, queue=snapshot.queue)
        return releases

    async def clear(
        self, duplicates: Sequence[str], garbage: Sequence[bytes], *, parked: int
    ) -> None:
        """Release duplicates, and park values that are no task ids. `parked`: so many left the list
        already."""
        odd = [value for value in garbage if value]
        if duplicates or odd:
            releases = [
                *(Release(task_id) for task_id in duplicates),
                *(Release(value, Destination.PARKED) for value in odd),
            ]
            await self._releaser.release_all(self.queue, releases)
        self.parked_values.add(
            len(odd) + parked, repr(odd[0]) if odd else "", reason="not a task id"
        )
        for value in garbage:
            # a token: there is work in another lane, and the token need not be gone before the next
            # look
            if not value:
                self._releaser.put(self.queue, Release(value), _ignore)

    def is_pending_here(self, snapshot: TaskSnapshot | None) -> bool:
        """Whether a task of this queue waits to be claimed."""
        return (
            snapshot is not None
            and snapshot.state is State.PENDING
            and snapshot.queue == self.queue
        )


def _ignore(_: object) -> None:
    """The result of this release has no use."""


__all__ = ["QueueDeliveries"]
