"""Scan dispatch for data that no other duty looks for.

Each pass reads a few slices of the key space, round after round, so the number of queues does not
matter to a pass. It finds
- processing lists whose owner has no lease in dispatch and is closed or missing in the ledger
  (ghost lists): left by a blocked client that received one more id after its worker had been
  recovered, or by a Redis that was restored from an older copy. An owner that is open in the ledger
  is left alone: it reopens its lease, or goes stale and is recovered. The order makes it safe:
  lists are read first, leases second, the ledger last; a worker that came up in between is open
  there;
- leases of workers that are closed or missing in the ledger: the recovery is given those queues;
- pause flags of queues that are not paused in the ledger: they are removed;
- backlogs whose queue the refill does not know, because the process that began them died too early.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from collections.abc import Set as AbstractSet

from leaseq.operations.recover import Death, WorkerRecovery
from leaseq.operations.stores import Stores
from leaseq_reaper.closed_workers import find_closed
from leaseq_reaper.duties.suspicion import Clock
from leaseq_reaper.isolation import FailureIsolation
from leaseq_reaper.reconcile.pause_flags import PauseFlags

# Keys of one slice, and slices of one pass: 10,000 keys take the server a few milliseconds.
SLICE = 2000
SLICES = 5
ROUND_SECONDS = 20.0
# A slice that recovers workers for longer than this leaves the rest to the next round.
RECOVERY_SECONDS = 0.5


class DispatchScan:
    """Scans dispatch, a little in each pass. `on_leases` receives the queues that hold leases of
    closed workers."""

    def __init__(
        self,
        stores: Stores,
        recovery: WorkerRecovery,
        *,
        isolation: FailureIsolation,
        flags: PauseFlags,
        on_leases: Callable[[AbstractSet[str]], None],
        clock: Clock = time.monotonic,
    ) -> None:
        self._isolation = isolation
        self._flags = flags
        self._on_leases = on_leases
        self._clock = clock
        self._lease = recovery.lease_seconds
        self._recover = recovery.recover
        self._stores = stores
        self._cursor = 0
        self._round_at = clock()

    async def scan_on(self) -> None:
        """The next slices."""
        if self._cursor == 0 and self._clock() < self._round_at:
            return
        for _ in range(SLICES):
            if self._cursor == 0:
                self._round_at = self._clock() + ROUND_SECONDS
            self._cursor, keys = await self._stores.lists.scan(self._cursor, count=SLICE)
            await self._sort_out(keys)
            if self._cursor == 0:
                return

    async def _sort_out(self, keys: list[tuple[str, str, str]]) -> None:
        owners: defaultdict[str, set[str]] = defaultdict(set)
        flags, backlogs = [], []
        for queue, what, detail in keys:
            match what:
                case "processing":
                    owners[queue].add(detail)
                case "leases":
                    owners[queue].update(())
                case "paused":
                    flags.append(queue)
                case "backlog":
                    backlogs.append(queue)
                case _:
                    continue
        await self._flags.remove(flags)
        if backlogs:
            await self._stores.lane_backlogs.add(backlogs)
        if owners:
            await self._bring_back(owners)

    async def _bring_back(self, owners: dict[str, set[str]]) -> None:
        views = await self._isolation.sort_out(await self._stores.leases.list_leases_of([*owners]))
        listed = {queue: {view.worker_id for view in found} for queue, found in views.items()}
        # A queue whose leases cannot be read is left alone.
        named = {
            worker_id for queue, leases in listed.items() for worker_id in leases | owners[queue]
        }
        gone = await find_closed(self._stores.workers, named)
        self._on_leases({queue for queue, leases in listed.items() if leases & gone})
        ghosts: defaultdict[str, list[str]] = defaultdict(list)
        for queue, leases in listed.items():
            for owner in (owners[queue] - leases) & gone:
                ghosts[owner].append(queue)

        if ghosts:
            await self._stores.ownership.check()  # the lists that were read were ours

        until = self._clock() + RECOVERY_SECONDS

        async def recover(owner: str) -> None:
            if self._clock() >= until:
                return  # there may be very many; the next round finds the rest
            await self._recover(
                Death(
                    worker_id=owner,
                    queues=ghosts[owner],
                    reason="a list without an owner",
                    # a second safeguard: never closes a worker that still beats
                    stale_after=self._lease,
                    blame=False,
                )
            )

        await self._isolation.each(sorted(ghosts), recover)


__all__ = ["DispatchScan"]
