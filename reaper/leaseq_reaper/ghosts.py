"""Which processing lists have an owner that nobody will ever ask about again?

A list whose owner has no lease in dispatch (so the reaping of leases does not see it) and is closed or missing in the
ledger: left by a blocked client that was handed one more id after its worker had been reaped, or by a Redis that came
back from an older copy. An owner that is open in the ledger is left alone: it opens its lease again, or goes stale
and is reaped. The order makes it safe: lists are read first, leases second, the ledger last; a worker that came up in
between is open there.
"""

from __future__ import annotations

from leaseq.engine.engine import Engine
from leaseq.engine.reap import Death
from leaseq_reaper.apart import Apart
from leaseq_reaper.owners import ended


class Ghosts:
    """Brings ghost lists back through the same door as a dead worker's."""

    def __init__(self, engine: Engine, *, apart: Apart) -> None:
        self._apart = apart
        self._lease = engine.config.lease_seconds
        self._reap = engine.reaper.reap
        self._stores = engine.stores

    async def bring_back(self, queue: str) -> int:
        """Reap the owners of ghost lists of a queue; returns how many."""
        owners = await self._stores.survey.processing_owners(queue)
        owners -= {view.worker_id for view in await self._stores.dispatcher.list_leases(queue)}
        ghosts = sorted(await ended(self._stores.fleet, owners))
        if ghosts:
            await self._stores.ownership.check()  # the lists that were read were ours

        async def reap(owner: str) -> None:
            await self._reap(
                Death(
                    worker_id=owner,
                    queues=[queue],
                    reason="a list without an owner",
                    stale_after=self._lease,  # a second lock on the door: never closes a worker that is heard of
                    blame=False,
                )
            )

        await self._apart.each(ghosts, reap)
        return len(ghosts)


__all__ = ["Ghosts"]
