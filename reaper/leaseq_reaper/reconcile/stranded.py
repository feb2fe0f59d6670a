"""Find PENDING tasks without a delivery in dispatch, and deliver them.

Tasks of a backlog are in no list either, but they are accounted for: the beginning of the backlog
is known (dispatch/backlog.py), and refill.py brings them in. They are neither pushed nor reported
here.

The races with live workers and pushers, and why each is harmless:
* A task is seen PENDING, then claimed and settled while we read: its state or attempt has changed
  in the second read of the ledger, and it is dropped.
* An id moves from a ready list to a processing list while we read. Ready lists are read first and
  processing lists (of the workers that are registered *then*) after them, so it is seen in one of
  them. The way back (released, recovered: to the head of a lane) can escape both reads; then the
  task is delivered twice.
* A push is on its way (committed, not yet in Redis): only a task that has waited for
  `quiet_seconds` is a candidate; if the push takes longer, the task is delivered twice. The same
  happens when two reapers find the same task.
* A double delivery is legal: the claim is a compare-and-set, and the second delivery is skipped.
  Nothing here changes the ledger.

The scans meet the tasks of an idle lane again and again. A comparison is not repeated before the
lane changes (known_deliveries.py). They also meet the tasks of its backlog. So a read of a backlog
is trusted for a quarter of a second, and for up to TRUST_CAP_SECONDS if it has not changed. If the
backlog moves on meanwhile, a lost push of a task that it has just passed is found when that time is
over, which is less than the recent scan looks back. If it is lowered meanwhile, the lane refuses
the task. No read is trusted across a loss of data (`distrust`).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice

from msgspec import Struct

from leaseq.dispatch.backlog import Backlog
from leaseq.dispatch.queue_lists import QueueLane
from leaseq.failpoints import reach
from leaseq.ledger.maintenance import Accounted
from leaseq.model import Lane, State, TaskSnapshot
from leaseq.observability.telemetry import emit
from leaseq.operations.stores import Stores
from leaseq_reaper.duties.suspicion import Clock
from leaseq_reaper.isolation import AT_ONCE, FailureIsolation
from leaseq_reaper.reconcile.known_deliveries import KnownDeliveries
from leaseq_reaper.reconcile.ledger_scan import CHUNK
from leaseq_reaper.redeliver import redeliver

# A look through the lists that took t seconds is not repeated within REST * t: with a million ids
# waiting it happens every few seconds, not in every pass. Put off, not left out: the scans stand
# still meanwhile. A look that took long because this reaper was frozen, or Redis slow, says nothing
# about the lists: no rest is longer than their length is worth.
REST = 20
REST_SECONDS_PER_ID = 0.0001
# How many candidates are held in hand before the lists are read for them all at once.
CANDIDATES = 50_000
SNAPSHOTS = 5000
SHOWN = 20
# For how long a backlog is not read again: for the rest of a scan at first, and while it stands
# still from the second of these times on, doubling up to the third.
TRUST_SECONDS = 0.25
TRUST_STANDING_SECONDS = 1.5
TRUST_CAP_SECONDS = 5.0
# The largest number of backlogs in one statement. Tasks behind further ones are returned, and
# `without_backlog` omits them.
MOST_TRUSTED = 1000
# A backlog that the scans have not met for so long is forgotten.
KEEP_SECONDS = 60.0


class StandingBacklog(Struct, frozen=True):
    """A backlog as it was read, and for how long it is not read again."""

    backlog: Backlog
    seconds: float
    until: float


class Stranded:
    """Finds and redelivers stranded tasks."""

    def __init__(
        self, stores: Stores, *, isolation: FailureIsolation, clock: Clock = time.monotonic
    ) -> None:
        self._ledger = stores.tasks
        self._dispatcher = stores.dispatcher
        self._lists = stores.lists
        self._lane_backlogs = stores.lane_backlogs
        self._leases = stores.leases
        self._isolation = isolation
        self._clock = clock
        self._backoff_until = clock()
        self._standing: dict[QueueLane, StandingBacklog] = {}
        self._known = KnownDeliveries(stores.lists, isolation=isolation, clock=clock)

    @property
    def backing_off(self) -> bool:
        """Whether the lists were so long that they should not be read again yet."""
        return self._clock() < self._backoff_until

    async def without_backlog(self, waiting: Sequence[TaskSnapshot]) -> list[TaskSnapshot]:
        """Without those that wait in the ledger for their turn, because their lane is full.

        The backlogs are read after the ledger: a task before its backlog by then was pushed before.
        """
        now = self._clock()
        lanes: dict[str, dict[Lane, Backlog]] = {}
        for (queue, lane), one in self._standing.items():
            if now < one.until:
                lanes.setdefault(queue, {})[lane] = one.backlog
        unread = {task.queue for task in waiting if task.lane not in lanes.get(task.queue, {})}
        if unread:
            fresh = await self._lane_backlogs.read_many(sorted(unread))
            await self._name_unnamed(fresh)
            self._note(unread, fresh)
            lanes.update({queue: fresh.get(queue, {}) for queue in unread})
        return [
            task
            for task in waiting
            if (backlog := lanes.get(task.queue, {}).get(task.lane)) is None
            or not backlog.covers(task.task_id)
        ]

    async def _name_unnamed(self, backlogs: Mapping[str, Mapping[Lane, Backlog]]) -> None:
        """Let the refill know of these: a backlog that no push has begun (values in Redis are
        hostile) has been named by none."""
        named = await self._lane_backlogs.queues() if backlogs else {}
        unnamed = [queue for queue in backlogs if queue not in named]
        if unnamed:
            await self._lane_backlogs.add(unnamed)

    async def accounted(self, *, after: str) -> Accounted:
        """Tasks that the ledger may leave out of the chunk after this id.

        They are behind a backlog that stood still a moment ago, or were found in a lane that has
        not changed since.
        """
        return Accounted(await self._trusted(), await self._known.behind(after, limit=CHUNK))

    async def _trusted(self) -> dict[QueueLane, str]:
        """Where backlogs begin that stood still a moment ago."""
        now = self._clock()
        # These are read again now, because the ledger would send every task behind them otherwise.
        doubtful = {
            queue
            for (queue, _), one in self._standing.items()
            if now >= one.until and one.seconds >= TRUST_STANDING_SECONDS
        }
        if doubtful:
            self._note(doubtful, await self._lane_backlogs.read_many(sorted(doubtful)))
        trusted = (
            (lane, one.backlog.cursor) for lane, one in self._standing.items() if now < one.until
        )
        return dict(islice(trusted, MOST_TRUSTED))

    def distrust(self) -> None:
        """Dispatch may have lost its backlogs and deliveries: none counts that was read before."""
        self._standing = {}
        self._known.forget()

    def _note(
        self, queues: AbstractSet[str], backlogs: Mapping[str, Mapping[Lane, Backlog]]
    ) -> None:
        """These queues have been read, and have these backlogs."""
        now = self._clock()
        before = self._standing
        self._standing = {
            (queue, lane): one
            for (queue, lane), one in before.items()
            if queue not in queues and now < one.until + KEEP_SECONDS
        }
        for queue, lanes in backlogs.items():
            for lane, backlog in lanes.items():
                last, seconds = before.get((queue, lane)), TRUST_SECONDS
                if last is not None and last.backlog.text == backlog.text:
                    longer = min(max(2 * last.seconds, TRUST_STANDING_SECONDS), TRUST_CAP_SECONDS)
                    seconds = last.seconds if now < last.until else longer
                self._standing[queue, lane] = StandingBacklog(backlog, seconds, now + seconds)

    async def should_check_now(self, candidates: Sequence[TaskSnapshot]) -> bool:
        """Whether there are enough candidates to read all the lists for them.

        So a full scan reads each list a few times, not for each chunk: immediately if the lists are
        empty (Redis lost them), and for many candidates together if they are long.
        """
        if len(candidates) >= CANDIDATES:
            return True
        return len(candidates) * 2 >= await self._depth(
            {(task.queue, task.lane) for task in candidates}
        )

    async def redispatch(self, candidates: Sequence[TaskSnapshot]) -> None:
        """Deliver those that are PENDING still, under the attempt they were seen with, and in no
        list."""
        began = self._clock()
        lanes: defaultdict[QueueLane, dict[str, TaskSnapshot]] = defaultdict(dict)
        for task in candidates:
            lanes[task.queue, task.lane][task.task_id] = task
        found, depth = await self._known.find(lanes)
        queues: defaultdict[str, dict[str, TaskSnapshot]] = defaultdict(dict)
        for task in candidates:
            if task.task_id not in found:
                queues[task.queue][task.task_id] = task

        missing: dict[str, TaskSnapshot] = {}

        async def look(queue: str) -> None:
            missing.update(
                {
                    task_id: queues[queue][task_id]
                    for task_id in await self._missing(queue, set(queues[queue]))
                }
            )

        await self._isolation.each(queues, look, at_once=AT_ONCE)
        await self._redeliver(missing)
        now = self._clock()
        depth += await self._depth({(queue, lane) for queue in queues for lane in Lane})
        self._backoff_until = now + min(REST * (now - began), REST_SECONDS_PER_ID * depth)

    async def _depth(self, lanes: AbstractSet[QueueLane]) -> int:
        """How many ids wait in these lanes."""
        return sum((await self._lists.lengths([*lanes])).values())

    async def _redeliver(self, missing: dict[str, TaskSnapshot]) -> None:
        """For all queues together: after a loss of data there may be thousands, with one task
        each."""
        done: defaultdict[str, list[str]] = defaultdict(list)
        task_ids = sorted(missing)
        if task_ids:
            reach("reconcile.found")
        try:
            for start in range(0, len(task_ids), SNAPSHOTS):
                again = await self._ledger.find_snapshots(task_ids[start : start + SNAPSHOTS])
                stranded = [
                    task
                    for task in again.values()
                    if task.state is State.PENDING and task.attempt == missing[task.task_id].attempt
                ]
                for task_id in (
                    await redeliver(self._dispatcher, stranded, isolation=self._isolation)
                ).taken:
                    done[missing[task_id].queue].append(task_id)
                reach("reconcile.pushed")
        finally:
            for queue, taken in done.items():
                shown = sorted(taken)[:SHOWN]
                emit(
                    "task.redispatched",
                    queue=queue,
                    count=len(taken),
                    task_ids=shown,
                    reason="no delivery in dispatch",
                )

    async def _missing(self, queue: str, task_ids: set[str]) -> set[str]:
        missing = task_ids - await self._lists.waiting(queue, among=task_ids)
        if missing:
            # Owners that are closed already count too: their lists are brought back by the
            # recovery that is about to finish.
            owners = [view.worker_id for view in await self._leases.list_leases(queue)]
            missing -= await self._lists.processing(queue, owners, among=missing)
        return missing


__all__ = ["Stranded"]
