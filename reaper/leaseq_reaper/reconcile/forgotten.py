"""Return attempts that an open worker has forgotten to that worker.

These are PROCESSING under an open worker whose processing list does not name the task. There
are two causes. A settle was committed and acknowledged, and a failover of Postgres lost it: the
worker has finished the task. Or a claim arrived after its sender had abandoned it and the task had
continued meanwhile: the worker never learned of this attempt.

Nothing is taken from the worker. The id goes back into the worker's own list, where its audit finds
an unknown delivery. Its claim fails, it learns that the attempt is its own, and it runs the
attempt. A worker that holds the attempt after all (Redis has lost the entry) loses nothing by an
entry that it would restore itself. To settle the attempt as lost from here would take live attempts
from workers that cannot reach Redis.

Invariants: an id is put back after two reads, PATIENCE_SECONDS apart, under the same attempt and
worker. The second read asks the ledger and the list again. In between, the worker's own audit
restores the entries that it holds.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence

from leaseq.model import Claim, State, TaskSnapshot
from leaseq.observability.telemetry import emit
from leaseq.operations.stores import Stores
from leaseq_reaper.duties.suspicion import Clock
from leaseq_reaper.isolation import AT_ONCE, FailureIsolation

# Longer than the time between two audits of a worker's own lists.
PATIENCE_SECONDS = 5.0
BATCH = 500
# A later scan finds further ones.
CAPACITY = 20_000
SHOWN = 20

Owner = tuple[str, str]  # the queue, the worker


class ForgottenAttempts:
    """Finds forgotten attempts and gives them back to their workers."""

    def __init__(
        self, stores: Stores, *, isolation: FailureIsolation, clock: Clock = time.monotonic
    ) -> None:
        self._ledger = stores.tasks
        self._workers = stores.workers
        self._dispatcher = stores.dispatcher
        self._lists = stores.lists
        self._isolation = isolation
        self._clock = clock
        self._found: dict[Claim, tuple[str, float]] = {}  # the queue, and when it was first seen

    async def look(self, running: Sequence[tuple[TaskSnapshot, Claim]]) -> None:
        """The first read: remember which of these are in no list of their owner."""
        claims = {claim: snapshot.queue for snapshot, claim in running}
        missing = await self._missing(claims)
        for claim, queue in claims.items():
            if claim not in missing:
                self._found.pop(claim, None)
            elif len(self._found) < CAPACITY:
                self._found.setdefault(claim, (queue, self._clock()))

    async def give_back(self) -> int:
        """The second read, for those found a while ago. Returns how many were put back."""
        due = self._clock() - PATIENCE_SECONDS
        ready = {claim: queue for claim, (queue, since) in self._found.items() if since <= due}
        count = 0
        for start in range(0, len(ready), BATCH):
            some = [*ready][start : start + BATCH]
            snapshots = await self._ledger.find_snapshots([claim.task_id for claim in some])
            open_ones = await self._workers.find_open(sorted({claim.worker_id for claim in some}))
            still = {
                claim: ready[claim] for claim in some if _runs(snapshots.get(claim.task_id), claim)
            }
            missing = await self._missing(
                {claim: queue for claim, queue in still.items() if claim.worker_id in open_ones}
            )
            for claim in some:
                del self._found[claim]
            count += await self._restore({claim: ready[claim] for claim in missing})
        return count

    async def _missing(self, claims: dict[Claim, str]) -> set[Claim]:
        """Those that the list of their owner does not name."""
        missing: set[Claim] = set()

        async def read(owner: Owner) -> None:
            queue, worker_id = owner
            ids = {claim.task_id for claim in owners[owner]}
            named = await self._lists.processing(queue, [worker_id], among=ids)
            missing.update(claim for claim in owners[owner] if claim.task_id not in named)

        owners = _by_owner(claims)
        await self._isolation.each(owners, read, at_once=min(AT_ONCE, len(owners)))
        return missing

    async def _restore(self, claims: dict[Claim, str]) -> int:
        count = 0

        async def restore(owner: Owner) -> None:
            nonlocal count
            queue, worker_id = owner
            ids = sorted(claim.task_id for claim in owners[owner])
            restored = await self._dispatcher.restore(queue, ids, worker_id=worker_id)
            if restored:
                emit(
                    "attempt.forgotten",
                    worker_id=worker_id,
                    queue=queue,
                    count=restored,
                    task_ids=ids[:SHOWN],
                )
            count += restored

        owners = _by_owner(claims)
        await self._isolation.each(owners, restore, at_once=min(AT_ONCE, len(owners)))
        return count


def _by_owner(claims: dict[Claim, str]) -> dict[Owner, list[Claim]]:
    owners: defaultdict[Owner, list[Claim]] = defaultdict(list)
    for claim, queue in claims.items():
        owners[queue, claim.worker_id].append(claim)
    return owners


def _runs(snapshot: TaskSnapshot | None, claim: Claim) -> bool:
    """Whether the task is still PROCESSING under this attempt and worker."""
    return (
        snapshot is not None
        and snapshot.state is State.PROCESSING
        and (snapshot.attempt, snapshot.worker_id) == (claim.attempt, claim.worker_id)
    )


__all__ = ["ForgottenAttempts"]
