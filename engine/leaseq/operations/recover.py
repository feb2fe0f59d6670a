"""Recover a dead worker: close it, settle its attempts as lost, return its list.

The steps come in this order. Each is safe to repeat, so that after a crash between any two the next
reaper finishes them:
1. close the worker in the ledger: from here on it claims nothing, and no two reapers charge the
   same crash;
2. end its Postgres sessions, so that a frozen transaction does not keep its locks (where Postgres
   refuses, the other steps follow all the same, and the session ends with its connection);
3. settle what it held as lost, under its fences: what it had already committed stays committed;
4. move its deliveries back, to the head of their lanes, in bounded batches;
5. forget it in dispatch, once its list is empty.

A task whose row another transaction has locked holds up no other. Its delivery stays in the list,
and with it the lease of the worker in dispatch, by which the next pass of the reaper finds it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from time import monotonic

from msgspec import Struct

from leaseq.backoff import Backoff
from leaseq.config import Config
from leaseq.dispatch.deliveries import Deliveries, Destination, Release
from leaseq.dispatch.dispatcher import MAX_HELD, Dispatcher
from leaseq.dispatch.leases import WorkerLeases
from leaseq.dispatch.ownership import Ownership
from leaseq.dispatch.scripts import SCRIPT_BATCH
from leaseq.failpoints import reach
from leaseq.ledger.locked_tasks import LockedTaskFinder
from leaseq.ledger.session import Locked
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.lifecycle import after
from leaseq.loop import spread
from leaseq.metrics.tally import OTHER, TALLY
from leaseq.model import (
    Claim,
    Counts,
    Ending,
    Outcome,
    Settled,
    Settlement,
    State,
    TaskError,
    TaskSnapshot,
)
from leaseq.observability.telemetry import emit
from leaseq.operations.traced_losses import TracedLosses

# Queues of one worker that are looked at together: one after the other, two hundred would take
# longer than a lost host may.
AT_ONCE = 8
# Of deliveries, for each list of a worker: more than a worker ever has, and an end where it pulls
# more meanwhile.
ROUNDS = 20
# How long a lock is waited for when it is met first, and between two looks: sessions of a dead
# worker take a moment to end.
LOCK_SECONDS = 1.0
LOOK_SECONDS = 0.05


class Death(Struct, frozen=True, kw_only=True):
    """A dead worker, and the evidence of its death. Without `stale_after` (seconds) its death is
    certain."""

    worker_id: str
    queues: Sequence[str]
    reason: str
    stale_after: float | None = None
    blame: bool = True  # whether a task that ran alone may be charged for it
    event: str = "worker.reaped"


class Taken(Struct, frozen=True):
    """The result of settling attempts as lost: those that counted, and the tasks whose rows were
    `locked`."""

    settled: list[Settled]
    locked: set[str]


def session_name(worker_id: str) -> str:
    """The Postgres application name of a worker's handler transactions (at most 63 bytes)."""
    return f"leaseq tx {worker_id}"


class WorkerRecovery:
    """Recovers one dead worker at a time."""

    def __init__(
        self,
        *,
        config: Config,
        ledger: TaskLedger,
        workers: WorkerLedger,
        dispatcher: Dispatcher,
        leases: WorkerLeases,
        ownership: Ownership,
    ) -> None:
        self._config = config
        self._ledger = ledger
        self._losses: TracedLosses | None = None
        self._workers = workers
        self._dispatcher = dispatcher
        self._leases = leases
        self._ownership = ownership
        self._locked_tasks = LockedTaskFinder(ledger, verb="recover")
        self._locked_workers: set[str] = set()  # that could not be closed
        self._backoff = Backoff(config.backoff_base_seconds, config.backoff_cap_seconds)

    def trace(self, losses: TracedLosses) -> None:
        """Settle lost attempts with spans from now on."""
        self._losses = losses

    @property
    def lease_seconds(self) -> float:
        """How long a worker may be silent before it may be declared dead."""
        return self._config.lease_seconds

    async def recover(self, death: Death) -> bool:
        """Take back everything that a dead worker held. False if it is alive."""
        reach("reap.closing")
        closed = await self._close(death)
        if not closed:
            record = await self._workers.find_worker(death.worker_id)
            if record is not None and record.closed_at is None:
                return False
        reach("reap.closed")
        sessions = await self._workers.end_sessions(
            death.worker_id, application_name=session_name(death.worker_id)
        )
        if sessions.kept:
            emit("sessions.kept", worker_id=death.worker_id, count=sessions.kept)
        held = await self._held(death)
        # Only the caller that closed the worker may charge a crash: a second pass sees fewer
        # attempts, and one of them would seem alone.
        blame = death.blame and closed and await self._ran_alone(death, held)
        lost = locked = 0

        async def take_back(queue: str) -> None:
            nonlocal lost, locked
            settled, left = await self._take_back(queue, death, alone=blame)
            lost, locked = lost + settled, locked + left

        await spread(held, take_back, at_once=min(AT_ONCE, len(held)))
        await spread(
            death.queues,
            lambda queue: self._forget(queue, death),
            at_once=min(AT_ONCE, len(death.queues)),
        )
        if closed or lost or not locked:
            emit(
                death.event,
                worker_id=death.worker_id,
                reason=death.reason,
                tasks=lost,
                sessions_ended=sessions.ended,
                first=closed,
            )
        return True

    async def _close(self, death: Death) -> bool:
        """Close the worker. Raises `Locked` while another transaction has its row; a lock that
        is new is waited for."""
        worker_id, until = death.worker_id, monotonic() + LOCK_SECONDS
        while await self._workers.find_locked([worker_id]):
            if worker_id in self._locked_workers or monotonic() > until:
                if worker_id not in self._locked_workers:
                    emit("worker.locked", worker_id=worker_id, verb="recover")
                self._locked_workers.add(worker_id)
                raise Locked(
                    f"another transaction has locked the row of worker {worker_id} in Postgres"
                )
            await asyncio.sleep(LOOK_SECONDS)
        self._locked_workers.discard(worker_id)
        return await self._workers.close_worker(
            worker_id, reason=death.reason, stale_after=death.stale_after
        )

    async def settle_lost(
        self, held: Sequence[tuple[Claim, Counts]], *, reason: str, alone: bool
    ) -> Taken:
        """Settle attempts as lost, except those whose rows are locked. An attempt that does not
        count had ended already."""
        locked = await self._find_locked([claim.task_id for claim, _ in held])
        held = [(claim, counts) for claim, counts in held if claim.task_id not in locked]
        if not held:
            return Taken([], locked)
        ending = Ending(Outcome.LOST, error=TaskError("lost", reason), alone=alone)
        batch = [
            Settlement(
                claim,
                ending,
                after(ending, counts, backoff=self._backoff, max_crashes=self._config.max_crashes),
            )
            for claim, counts in held
        ]
        settled = await (self._losses or self._ledger).settle(batch)
        for claim, _ in held:
            if claim.task_id in settled:
                emit(
                    "attempt.reaped",
                    task_id=claim.task_id,
                    attempt=claim.attempt,
                    worker_id=claim.worker_id,
                    state=settled[claim.task_id].state,
                    reason=reason,
                )
        for given in settled.values():
            queue, type_name = given.queue or OTHER, given.type or OTHER
            TALLY.of_task(queue, type_name).lost(given.state)
            kind = "crash" if alone else "loss"
            TALLY.count("leaseq_crashes_total", queue, type_name, kind)
            if given.state is State.FAILED:
                emit("task.failed", task_id=given.task_id, queue=given.queue, code="crashed")
        return Taken(list(settled.values()), locked)

    async def _find_locked(self, task_ids: Collection[str]) -> set[str]:
        """Which of these tasks are locked. A lock that is new may be gone in a moment, and is
        waited for."""
        locked = await self._locked_tasks.find(task_ids)
        until = monotonic() + LOCK_SECONDS
        while monotonic() < until and not all(
            self._locked_tasks.knows(task_id) for task_id in locked
        ):
            await asyncio.sleep(LOOK_SECONDS)
            locked = await self._locked_tasks.find(locked)
        await self._locked_tasks.report(task_ids, locked)
        return locked

    async def _held(self, death: Death) -> dict[str, Deliveries]:
        """Read the newest end of each of its lists that is not empty. A worker may serve hundreds
        of queues."""
        held: dict[str, Deliveries] = {}

        async def read(queue: str) -> None:
            found = await self._dispatcher.held(
                queue, worker_id=death.worker_id, limit=SCRIPT_BATCH
            )
            _report_parked(queue, found.parked)
            if found.task_ids or found.garbage:
                held[queue] = found

        queues = death.queues
        if len(queues) > AT_ONCE:
            queues = await self._dispatcher.occupied(queues, worker_id=death.worker_id)
        await spread(queues, read, at_once=min(AT_ONCE, len(queues)))
        return held

    async def _ran_alone(self, death: Death, held: Mapping[str, Deliveries]) -> bool:
        count = 0
        for found in held.values():
            count += len(await self._ledger.find_held(found.task_ids, worker_id=death.worker_id))
        return count == 1

    async def _forget(self, queue: str, death: Death) -> None:
        if not await self._leases.close(queue, worker_id=death.worker_id):
            # Something came in since: a blocked client was handed one more id.
            await self._take_back(queue, death, alone=False)
            await self._leases.close(queue, worker_id=death.worker_id)

    async def _take_back(self, queue: str, death: Death, *, alone: bool) -> tuple[int, int]:
        """Take back what a list holds, in at most `ROUNDS` batches; returns how many attempts were
        settled as lost, and how many stay because their rows are locked.

        A worker that is closed but alive may go on pulling, for as long as its lease is registered,
        and would pull the very deliveries that were moved back. Deliveries that are left keep the
        lease (`close`), by which the next pass finds them.
        """
        lost, limit = 0, SCRIPT_BATCH
        locked: set[str] = set()
        for _ in range(ROUNDS):
            found = await self._dispatcher.held(queue, worker_id=death.worker_id, limit=limit)
            _report_parked(queue, found.parked)
            task_ids = [task_id for task_id in found.task_ids if task_id not in locked]
            if not (task_ids or found.garbage or found.parked):
                break
            found = Deliveries(task_ids, found.garbage)
            held = await self._ledger.find_held(found.task_ids, worker_id=death.worker_id)
            taken = await self.settle_lost(held, reason=death.reason, alone=alone)
            lost += len(taken.settled)
            locked |= taken.locked
            found = Deliveries(
                [task_id for task_id in found.task_ids if task_id not in locked], found.garbage
            )
            reach("reap.settled")
            snapshots = await self._ledger.find_snapshots(found.task_ids)
            if len(snapshots) < len(set(found.task_ids)):
                await self._ownership.check()  # ids of another ledger are not ours to park
            # nothing but garbage: there may be very much of it
            limit = SCRIPT_BATCH if snapshots else MAX_HELD
            releases = _releases(queue, found, snapshots)
            # To the heads of the lanes, batch by batch from the newest end: the oldest goes last,
            # so that it comes to stand first.
            await self._dispatcher.release(queue, releases[::-1], worker_id=death.worker_id)
            reach("reap.moved")
        return lost, len(locked)


def _releases(queue: str, found: Deliveries, snapshots: dict[str, TaskSnapshot]) -> list[Release]:
    """Where deliveries belong: back to their lane while PENDING, nowhere once claimed or ended,
    parked if unknown."""
    releases = []
    unknown = [task_id for task_id in found.task_ids if task_id not in snapshots]
    for task_id in found.task_ids:
        snapshot = snapshots.get(task_id)
        if snapshot is None:
            releases.append(Release(task_id, Destination.PARKED))
        else:
            releases.append(
                Release(
                    task_id, snapshot.lane if snapshot.state is State.PENDING else Destination.DONE
                )
            )
    garbage = [value for value in found.garbage if value]
    releases += [Release(value, Destination.PARKED) for value in garbage]
    if unknown:
        reason = "the ledger does not know this id"
        emit("delivery.parked", count=len(unknown), delivery=unknown[0], reason=reason, queue=queue)
    _report_parked(queue, len(garbage))
    return releases


def _report_parked(queue: str, count: int) -> None:
    if count:
        emit("delivery.parked", count=count, reason="not a task id", queue=queue)


__all__ = ["Death", "Taken", "WorkerRecovery", "session_name"]
