"""Claim the deliveries of one queue, and account for those that are not claimed.

A claim whose answer was lost may have been committed. The account finds what this worker claimed by
it: the ledger says PROCESSING under this worker. Every other delivery is released, except those
whose rows another transaction has locked: these are kept until the row is free.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from leaseq.errors import ServerUnreachable
from leaseq.failpoints import reach
from leaseq.ledger.session import Locked
from leaseq.ledger.tasks import TaskLedger
from leaseq.loop import Pauses, Retries
from leaseq.model import ClaimedTask, TaskSnapshot
from leaseq.observability.telemetry import emit, listening
from leaseq.worker.in_flight import InFlightDelivery
from leaseq.worker.intake.claimer import Claimer
from leaseq.worker.intake.locked_deliveries import LockedDeliveries
from leaseq.worker.intake.queue_deliveries import QueueDeliveries

PAUSES = Pauses(0.2, growth=2.0, cap=1.0)


class QueueClaims:
    """The claims of one queue."""

    def __init__(
        self,
        claimer: Claimer,
        *,
        ledger: TaskLedger,
        locked: LockedDeliveries,
        deliveries: QueueDeliveries,
    ) -> None:
        self.refused = False  # the ledger refused PENDING tasks, and would again
        self._claimer = claimer
        self._ledger = ledger
        self._locked = locked
        self._deliveries = deliveries

    @property
    def is_barred(self) -> bool:
        """Whether this worker claims nothing more."""
        return self._claimer.is_barred

    async def claim(self, deliveries: Sequence[InFlightDelivery]) -> list[ClaimedTask]:
        """Claim, wait for a ledger that is away, and account for every id."""
        claimed: list[ClaimedTask] = []
        retries, unclaimed = None, list(deliveries)
        locked: set[str] = set()
        is_careful = bool(self._locked)  # rows are locked, so that a claim may have to wait for one
        while True:
            try:
                if self._claimer.is_barred:
                    claimed += await self._account(unclaimed, locked)
                    break
                if is_careful:
                    locked = await self._locked.tasks.find_and_report(
                        [delivery.task_id for delivery in unclaimed]
                    )
                reach("claim.sending")
                free = [
                    delivery.task_id for delivery in unclaimed if delivery.task_id not in locked
                ]
                claimed += await self._claimer.claim(free) if free else []
                done = {task.claim.task_id for task in claimed}
                unclaimed = [delivery for delivery in deliveries if delivery.task_id not in done]
                if unclaimed:
                    claimed += await self._account(unclaimed, locked)
                break
            except ServerUnreachable as error:
                if isinstance(error, Locked) and not is_careful:
                    is_careful = True
                    continue
                if isinstance(error, Locked) and await self._claimer.find_barred():
                    continue
                # The claim may have been committed: the account of the next round finds our tasks.
                emit("ledger.unreachable", error=str(error), waiting=len(unclaimed))
                retries = retries or Retries(PAUSES)
                await retries.wait(error)
        if any(task.claim.traits for task in claimed):
            claimed = await self._claimer.starts.take_tokens(claimed)
        if listening("task.claimed"):
            _report(claimed)
        return claimed

    async def _account(
        self, deliveries: Sequence[InFlightDelivery], locked: AbstractSet[str]
    ) -> list[ClaimedTask]:
        """The tasks among the unclaimed that are ours by an earlier claim whose answer was lost.

        The other deliveries are released, except those that are `locked`, which are kept.
        """
        snapshots = await self._ledger.find_snapshots([delivery.task_id for delivery in deliveries])
        ours, others = [], []
        for delivery in deliveries:
            snapshot = snapshots.get(delivery.task_id)
            if snapshot is not None and snapshot.worker_id == self._claimer.worker_id:
                emit(
                    "attempt.ambiguous",
                    task_id=delivery.task_id,
                    attempt=snapshot.attempt,
                    state=snapshot.state,
                )
                ours.append(delivery.task_id)
            else:
                others.append(delivery)
        claimed = (
            await self._ledger.find_claimed(ours, worker_id=self._claimer.worker_id) if ours else []
        )
        # Last, since it cannot fail: a claim that is tried again would claim the released tasks,
        # too.
        others = [
            delivery
            for delivery in others
            if not (
                delivery.task_id in locked and self._keep(delivery, snapshots.get(delivery.task_id))
            )
        ]
        await self._deliveries.release(others, snapshots)
        self.refused = any(
            self._deliveries.is_pending_here(snapshots.get(delivery.task_id)) for delivery in others
        )
        return claimed

    def _keep(self, delivery: InFlightDelivery, snapshot: TaskSnapshot | None) -> bool:
        """Keep a delivery of this queue until the row of its task is free."""
        if not self._deliveries.is_pending_here(snapshot) or not self._locked.add(delivery):
            return False
        self._deliveries.audit_soon()  # while rows are locked, the list audit waits for shorter
        return True


def _report(claimed: Sequence[ClaimedTask]) -> None:
    for task in claimed:
        emit(
            "task.claimed",
            task_id=task.claim.task_id,
            attempt=task.claim.attempt,
            type=task.type,
        )


__all__ = ["QueueClaims"]
