"""Copy the pause flags of the ledger to dispatch, where workers read them.

The ledger decides, and the claim reads it. A flag in dispatch saves workers that read (decision
12). Clients can invent any number of names, so a pass reads a share of the paused queues, in the
order of their names, and the next pass continues. If fewer queues are paused than a share, each
pass reads all of them.

A flag that the ledger does not know stops the workers of its queue, so the queues of open workers
are read in each pass. The scan of dispatch finds other queues with such a flag (dispatch_scan.py).

Invariant: a flag is removed only after the ledger was read again. An operator writes to the ledger
first.
"""

from __future__ import annotations

from leaseq.operations.stores import Stores
from leaseq_reaper.isolation import FailureIsolation

# Paused queues of one pass: two statements, and four round trips to dispatch.
SHARE = 1000


class PauseFlags:
    """Compares a share of the flags in each pass."""

    def __init__(self, stores: Stores, *, isolation: FailureIsolation) -> None:
        self._stores = stores
        self._isolation = isolation
        self._after = ""
        self._seen: set[str] = set()  # paused, in this round
        self._before: set[str] = set()  # paused, in the round before

    async def restore(self) -> None:
        """Set the flags of this share that dispatch lacks. At the end of a round, remove those of
        queues that were resumed."""
        share = await self._stores.queues.list_paused(after=self._after, limit=SHARE)
        flags = await self._isolation.sort_out(await self._stores.pause_flags.read_many(share))
        await self._write([queue for queue in share if not flags.get(queue, True)], paused=True)
        self._seen.update(share)
        self._after = share[-1] if len(share) == SHARE else ""
        if not self._after:
            # the scan of dispatch finds the rest (dispatch_scan.py)
            resumed = sorted(self._before - self._seen)[:SHARE]
            self._before, self._seen = self._seen, set()
            await self.remove(resumed)

    async def remove_unknown(self) -> None:
        """Remove the flags of queues that workers serve and that the ledger does not have
        paused."""
        await self.remove(
            await self._stores.dispatcher.flagged(await self._stores.queues.list_served())
        )

    async def remove(self, queues: list[str]) -> None:
        """Remove the flags of those queues that the ledger does not have paused."""
        if queues:
            paused = await self._stores.queues.find_paused(queues)
            await self._write([queue for queue in queues if queue not in paused], paused=False)

    async def _write(self, queues: list[str], *, paused: bool) -> None:
        await self._isolation.sort_out(
            await self._stores.pause_flags.set_many(queues, paused=paused)
        )


__all__ = ["PauseFlags"]
