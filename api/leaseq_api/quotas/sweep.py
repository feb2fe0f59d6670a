"""Remove unfinished tasks that have ended from their list.

Tasks of one queue mostly end in the order in which they came. So a sweep looks at the oldest ones of
each queue, and goes on as long as most of them have ended. One more part of each queue is looked at
behind the place where the last sweep of this process stopped, so that no task is missed behind
others that wait for a long time. The work of one sweep is bounded by `MOST_ROUNDS` and `ROUND_ROWS`.
One process sweeps a tenant for all; two at the same time would do no harm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from leaseq.operations.quotas import ListedQueue, Quotas

# A tenant is swept at most once in so long.
SWEEP_SECONDS = 0.9
# Rows that one statement looks at, in all queues together. A queue has at least a few of them.
ROUND_ROWS = 2_000
LEAST_ROWS = 20
MOST_QUEUES = 200
MOST_ROUNDS = 20


class Sweep:
    """The sweeps of one process."""

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas
        self._listed: Mapping[str, Counter[str]] = {}
        self._places: dict[tuple[str, str], str] = {}

    def see_listed(self, listed: Mapping[str, Counter[str]]) -> None:
        """Learn which queues of which tenants have rows."""
        self._listed = listed

    async def run(self, limited: Collection[str]) -> None:
        """Sweep once. Of tenants that are not limited any more, every row goes."""
        if not self._listed:
            return
        listed = self._listed
        mine = await self._quotas.begin_sweeps(list(listed), seconds=SWEEP_SECONDS)
        if mine:
            await self._quotas.fold_counts()
        keys = [(tenant, queue) for tenant in mine for queue in listed[tenant]]
        # Those of tenants that another process sweeps this time are kept: the next time goes on there.
        self._places = {
            key: place for key, place in self._places.items() if key[1] in listed.get(key[0], ())
        }
        for start in range(0, len(keys), MOST_QUEUES):
            await self._sweep_fronts(keys[start : start + MOST_QUEUES], limited)

    async def _sweep_fronts(
        self, keys: Collection[tuple[str, str]], limited: Collection[str]
    ) -> None:
        chunk = max(LEAST_ROWS, ROUND_ROWS // len(keys))
        fronts = [ListedQueue(*key, removed=key[0] not in limited) for key in keys]
        behind: list[ListedQueue] = []
        for _ in range(MOST_ROUNDS):
            found = await self._quotas.sweep_unfinished(fronts, chunk=chunk)
            again = []
            for front in fronts:
                key = (front.tenant, front.queue)
                swept = found.get(key)
                if swept is None or swept.looked < chunk:
                    continue
                if 2 * swept.ended >= swept.looked:
                    again.append(front)
                else:
                    place = max(self._places.get(key, ""), swept.last)
                    behind.append(ListedQueue(*key, after=place))
            fronts = again
            if not fronts:
                break
        if behind:
            await self._sweep_behind(behind, chunk)

    async def _sweep_behind(self, behind: Collection[ListedQueue], chunk: int) -> None:
        found = await self._quotas.sweep_unfinished(list(behind), chunk=chunk)
        for each in behind:
            key = (each.tenant, each.queue)
            swept = found.get(key)
            if swept is None or swept.looked < chunk:
                self._places.pop(key, None)
            else:
                self._places[key] = swept.last


__all__ = ["Sweep"]
