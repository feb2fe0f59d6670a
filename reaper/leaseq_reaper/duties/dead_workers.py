"""Recover dead workers, and finish what another reaper left half done.

A pass looks at workers, not at queues: clients can make up queue names, and recovery must not
depend on how many there are. A worker renews its lease with every beat in its home queue, the first
of its queues, and that lease says whether it lives. The leases of a worker that was closed a moment
ago are looked for in all of its queues until they are gone; remains of an older one are found
by the scan of dispatch (dispatch_scan.py).

Two pieces of evidence are necessary, from both stores: the ledger has received no beat of the
worker for a lease (by its own clock), and in dispatch its beats have not moved for a lease (by
ours, see suspicion.py) or are gone. Either store alone may have lost touch with a healthy worker.
The closing itself reads the ledger again, in the same statement (close_worker.sql): a worker that
beats between our judgement and the closing lives on. Half-done recoveries need no evidence, because
the ledger has closed the worker.

Silence is no evidence against a task. A worker that fell silent may have been preempted, cut off or
taken down with its host, so what it held is settled as a loss; only a supervisor that saw the exit
of its own child charges a crash.

A host that dies is noticed at most a lease, one interval to see the last beat and one to judge
after it: within lease + 2 s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

from leaseq.dispatch.leases import LeaseView
from leaseq.errors import ServerUnreachable
from leaseq.ledger.workers import Watched
from leaseq.metrics.tally import TALLY
from leaseq.observability.telemetry import emit
from leaseq.operations.recover import Death, WorkerRecovery
from leaseq.operations.stores import Stores
from leaseq_reaper.closed_workers import find_closed
from leaseq_reaper.duties.suspicion import Clock, MassFailureBrake, Suspicion, is_mass_failure
from leaseq_reaper.isolation import AT_ONCE, FailureIsolation

# The process that closed a worker is about to recover its tasks, and knows best which task to
# charge: leave it time for that.
PATIENCE_SECONDS = 1.0
# After the first few, a pass that recovers for longer than this leaves the rest to the next, so that
# beats go on being watched.
PASS_SECONDS = 1.0
FIRST = 4
# Workers that are recovered together: a lost host has as many workers as it has processors, and each
# takes a dozen round trips. One connection of the reaper's pool stays free for its other duties.
TOGETHER = 4
# For this long after its closing a worker's leases are looked for, until they are gone.
CLOSED_SECONDS = 600.0
MANY = 10_000

Leases = dict[str, Sequence[LeaseView]]


class DeadWorkers:
    """The duty. `on_lost_list` is called when a dead worker's list may have been lost with the data
    of Redis."""

    def __init__(
        self,
        stores: Stores,
        recovery: WorkerRecovery,
        suspicion: Suspicion,
        *,
        on_lost_list: Callable[[], None] = lambda: None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._lease = recovery.lease_seconds
        self._workers = stores.workers
        self._leases = stores.leases
        self._ownership = stores.ownership
        self._recover = recovery.recover
        self._isolation = FailureIsolation(stores)
        self._suspicion = suspicion
        self._brake = MassFailureBrake(lease_seconds=self._lease, clock=clock)
        self._braked = False
        self._on_lost_list = on_lost_list
        self._clock = clock
        self._closed: dict[str, float] = {}
        self._gone: set[str] = set()  # closed workers without a lease anywhere
        self._more_queues: set[str] = (
            set()
        )  # queues with leases of workers that were closed long ago
        self._until = 0.0
        self._count = 0

    async def run_once(self) -> None:
        """Watch all workers, finish half-done recoveries, and recover dead workers."""
        self._count = 0
        try:
            watched, leases = await self._look()
            # The prefix was ours when the leases were read: workers of another ledger are not
            # recovered here.
            await self._ownership.check()
            self._until = self._clock() + PASS_SECONDS
            await self._finish(watched, leases)
            stale = [worker for worker in watched if worker.stale]
            lapsed = [
                worker
                for worker in stale
                if self._suspicion.lapsed(worker.worker_id, worker.queues[:1])
            ]
            if not await self._is_held_back(lapsed, sum(not worker.closed for worker in watched)):
                await self._recover_dead(lapsed)
        except ServerUnreachable as error:
            self._suspicion.suspend(str(error))
            raise
        self._isolation.raise_first()

    def describe(self) -> dict[str, bool]:
        """Whether this reaper recovers no silent worker at present: because most of them are silent
        (`braked`), or because it cannot tell yet which of them are (`quiet`)."""
        return {"braked": self._braked, "quiet": self._suspicion.is_suspended}

    def look_in(self, queues: AbstractSet[str]) -> None:
        """Look for leases of closed workers in these queues too, until there are none."""
        self._more_queues |= queues

    async def _look(self) -> tuple[list[Watched], Leases]:
        asked = self._clock()
        watched = await self._workers.watch(stale_after=self._lease, closed_within=CLOSED_SECONDS)
        homes = {queue for worker in watched if not worker.closed for queue in worker.queues[:1]}
        closed = [
            worker for worker in watched if worker.closed and worker.worker_id not in self._gone
        ]
        queues = homes | {queue for worker in closed for queue in worker.queues} | self._more_queues
        leases: Leases = {}

        async def read(queue: str) -> None:
            leases[queue] = await self._leases.list_leases(queue)

        # A queue that cannot be read is left unwatched, and its workers unsuspected.
        await self._isolation.each(sorted(queues), read, at_once=AT_ONCE)
        reason = self._suspicion.look(
            {queue: leases[queue] for queue in homes if queue in leases}, asked=asked
        )
        if reason is not None:
            emit("reaper.quieted", seconds=self._lease, reason=reason)
        listed = {view.worker_id for views in leases.values() for view in views}
        self._gone &= {worker.worker_id for worker in watched}
        self._gone |= {
            w.worker_id
            for w in closed
            if w.worker_id not in listed and leases.keys() >= set(w.queues)
        }
        return watched, leases

    async def _finish(self, watched: Sequence[Watched], leases: Leases) -> None:
        """Complete recoveries whose reaper seems to have died: closed in the ledger, still listed in
        dispatch."""
        queues_of: dict[str, list[str]] = {}
        open_ones = {worker.worker_id for worker in watched if not worker.closed}
        for queue, views in leases.items():
            for view in views:
                if view.worker_id not in open_ones:
                    queues_of.setdefault(view.worker_id, []).append(queue)
        # A worker that came up after the ledger was read is open there by now.
        closed = await find_closed(self._workers, queues_of)
        closed -= await self._drop_made_up(queues_of, closed)
        self._more_queues &= {queue for worker_id in closed for queue in queues_of[worker_id]}
        now = self._clock()
        self._closed = {worker_id: self._closed.get(worker_id, now) for worker_id in closed}
        due = sorted(
            worker_id
            for worker_id, since in self._closed.items()
            if now - since >= PATIENCE_SECONDS
        )

        async def finish(worker_id: str) -> None:
            if self._has_time():
                await self._recover(
                    Death(
                        worker_id=worker_id,
                        queues=queues_of[worker_id],
                        reason="its recovery was left unfinished",
                        # The worker is already closed. `stale_after` protects it if that assumption
                        # is ever wrong.
                        stale_after=self._lease,
                        blame=False,
                    )
                )

        await self._isolation.each(due, finish, at_once=TOGETHER)

    async def _drop_made_up(
        self, queues_of: dict[str, list[str]], closed: AbstractSet[str]
    ) -> set[str]:
        """Remove leases under names that the ledger has never had or has pruned, all together:
        there may be thousands of them.

        One whose processing list holds something is recovered like a worker. Returns those that are
        gone.
        """
        unknown = (
            {*closed} - await self._workers.find_known(sorted(closed)) if closed else set[str]()
        )
        kept: set[str] = set()
        for queue in sorted({queue for worker_id in unknown for queue in queues_of[worker_id]}):
            names = sorted(worker_id for worker_id in unknown if queue in queues_of[worker_id])
            dropped = await self._leases.close_each(queue, names)
            kept.update(set(names).difference(dropped))
            if dropped:
                emit("lease.dropped", queue=queue, count=len(dropped), worker_id=dropped[0])
        return unknown - kept

    def _has_time(self) -> bool:
        """Whether one more may be recovered in this pass. The first few always may, even if time is
        used up."""
        self._count += 1
        return self._count <= FIRST or self._clock() < self._until

    async def _is_held_back(self, lapsed: Sequence[Watched], total: int) -> bool:
        hosts = 0
        if is_mass_failure(lapsed=len(lapsed), of=total):
            names = {worker.worker_id for worker in lapsed}
            records = await self._workers.list_workers(limit=MANY)
            hosts = len({record.host for record in records if record.worker_id in names})
        held = self._brake.holds(lapsed=len(lapsed), of=total, hosts=hosts)
        if held and not self._braked:
            emit(
                "reaper.braked", lapsed=len(lapsed), workers=total, hosts=hosts, seconds=self._lease
            )
        self._braked = held
        TALLY.set("leaseq_reaper_braked", held)
        return held

    async def _recover_dead(self, lapsed: Sequence[Watched]) -> None:
        async def recover(worker: Watched) -> None:
            if self._has_time():
                emit("worker.suspected", worker_id=worker.worker_id, queues=worker.queues)
                await self._recover_one(worker)

        await self._isolation.each(lapsed, recover, at_once=TOGETHER)

    async def _recover_one(self, worker: Watched) -> None:
        lost_list = self._suspicion.absent(worker.worker_id, worker.queues[:1])
        death = Death(
            worker_id=worker.worker_id,
            queues=worker.queues,
            reason=f"silent for more than {self._lease:g} s",
            stale_after=self._lease,
            blame=False,
        )
        recovered = False
        try:
            recovered = await self._recover(death)
        except ServerUnreachable:
            # It may be closed by now. We closed it ourselves, so do not wait for another reaper to
            # finish.
            self._closed[worker.worker_id] = -PATIENCE_SECONDS
            recovered = True
            raise
        finally:
            if recovered and lost_list:
                self._on_lost_list()


__all__ = ["DeadWorkers"]
