"""Make dispatch agree with the ledger.

A pass compares, repairs and counts (the events report the counts): losses of data, pause flags,
stranded tasks, orphans, attempts that their worker has forgotten, SCHEDULED tasks that promote
cannot find, dead letters, ghost lists.

Two scans go along the ledger. One reads all of it, a little further in each pass. The other reads
the last seconds again and again, so that a lost push is found within about five seconds for any
size of the table. After a loss of data in dispatch, after a failover of Postgres, which may
have lost claims and endings, and when the reaper starts, a full scan goes from end to end without a
pause. It needs no message and remembers little: if it is killed at any point, the next pass or
another reaper begins again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

from leaseq.observability.telemetry import emit
from leaseq.operations.recover import WorkerRecovery
from leaseq.operations.stores import Stores
from leaseq_reaper.duties.suspicion import Clock
from leaseq_reaper.isolation import FailureIsolation
from leaseq_reaper.reconcile.data_loss import DataLossDetector
from leaseq_reaper.reconcile.dead_letters import DeadLetterScan
from leaseq_reaper.reconcile.dispatch_scan import DispatchScan
from leaseq_reaper.reconcile.forgotten import ForgottenAttempts
from leaseq_reaper.reconcile.ledger_scan import LedgerScan, first_recent_id
from leaseq_reaper.reconcile.orphans import Orphans
from leaseq_reaper.reconcile.pause_flags import PauseFlags
from leaseq_reaper.reconcile.stranded import Stranded

# A push that has not arrived after this long counts as lost.
QUIET_SECONDS = 2.5
# Long enough for a clock or a commit that is a few seconds late, short enough to be read again in
# most passes.
RECENT_SECONDS = 15.0
# The share of the time between two passes that each of the two scans may use.
SHARE = 0.025
# A full scan goes on for this long in one pass; the next pass continues it.
FULL_SCAN_SECONDS = 5.0
# Attempts that have run for so long are compared with the list of their worker; most have ended by
# then.
RUNNING_SECONDS = 10.0
# A scan of a small ledger begins again in every pass, and compares them no more often than this.
RUNNING_INTERVAL_SECONDS = 10.0
# An error in every pass (a broken key, say) costs a full scan at most this often, and a fifth of
# the time if full scans take long.
FAILED_SECONDS = 60.0
FAILED_REST = 4
SHOWN = 20


class Reconcile:
    """The duty. `on_loss` receives why dispatch may have lost data, `on_leases` which queues hold
    leases of closed workers."""

    def __init__(
        self,
        stores: Stores,
        recovery: WorkerRecovery,
        *,
        interval_seconds: float,
        on_loss: Callable[[str], None] = lambda _: None,
        on_leases: Callable[[AbstractSet[str]], None] = lambda _: None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._stores = stores
        self._clock = clock
        self._on_loss = on_loss
        self._budget = SHARE * interval_seconds
        self._isolation = FailureIsolation(stores)
        self._data_loss = DataLossDetector(
            stores.dispatch_server, stores.ownership, isolation=self._isolation
        )
        self._stranded = Stranded(stores, isolation=self._isolation, clock=clock)
        self._orphans = Orphans(stores, recovery, isolation=self._isolation, clock=clock)
        self._forgotten = ForgottenAttempts(stores, isolation=self._isolation, clock=clock)
        self._dead_letters = DeadLetterScan(stores.dead_letters, clock=clock)
        self._flags = PauseFlags(stores, isolation=self._isolation)
        self._dispatch_scan = DispatchScan(
            stores,
            recovery,
            isolation=self._isolation,
            flags=self._flags,
            on_leases=on_leases,
            clock=clock,
        )
        self._slow_scan = LedgerScan(stores.maintenance)
        self._recent_scan = LedgerScan(
            stores.maintenance,
            begin=lambda: first_recent_id(RECENT_SECONDS),
            ahead_seconds=int(RECENT_SECONDS),
        )
        self._full_scan: LedgerScan | None = None
        self._full_scan_again = False
        self._full_scan_quiet = QUIET_SECONDS
        self.full_scan_soon()
        self._running_at = clock()
        self._timeline = stores.ownership.timeline
        self._failed = False
        self._failed_at = clock()  # when a full scan because of that is allowed

    def full_scan_soon(self) -> None:
        """Scan the whole ledger from its beginning, starting with the next pass (or after the full
        scan under way)."""
        if self._full_scan is None:
            self._begin_full_scan(quiet_seconds=QUIET_SECONDS)
        else:
            self._full_scan_again = True

    def _begin_full_scan(
        self, *, quiet_seconds: float, running_seconds: float = RUNNING_SECONDS
    ) -> None:
        self._stranded.distrust()
        self._full_scan = LedgerScan(self._stores.maintenance, running_seconds=running_seconds)
        self._full_scan_began = self._clock()
        self._full_scan_quiet = quiet_seconds
        self._full_scan_again = False

    async def run_once(self) -> None:
        """Examine everything for a while."""
        try:
            await self._run()
            self._isolation.raise_first()
        except BaseException:
            self._failed = True
            raise

    async def _run(self) -> None:
        reason = await self._data_loss.check()
        if reason is not None:
            self._on_loss(reason)
            # No grace for pushes on their way: a delivery that was pushed a moment before the loss
            # is lost, too.
            self._begin_full_scan(quiet_seconds=0)
        if self._has_failed_over():
            # A task that ended a moment before may be PROCESSING again.
            self._begin_full_scan(quiet_seconds=0, running_seconds=0)
        await self._orphans.settle()
        await self._forgotten.give_back()
        self._scan_again_after_failure()
        await self._scan_on()
        await self._flags.restore()
        await self._flags.remove_unknown()
        await self._dead_letters.scan_on()
        await self._dispatch_scan.scan_on()

    def _has_failed_over(self) -> bool:
        """Whether the ledger is on a newer timeline than in the last pass."""
        before, self._timeline = self._timeline, self._stores.ownership.timeline
        return before is not None and self._timeline not in (None, before)

    async def _scan_on(self) -> None:
        if self._full_scan is not None:
            await self._scan(
                self._full_scan, seconds=FULL_SCAN_SECONDS, quiet_seconds=self._full_scan_quiet
            )
            if self._full_scan.cursor is None:
                self._full_scan = None
                took = self._clock() - self._full_scan_began
                self._failed_at = max(self._failed_at, self._clock() + FAILED_REST * took)
                if self._full_scan_again:
                    self._begin_full_scan(quiet_seconds=QUIET_SECONDS)
        if self._stranded.backing_off:
            return
        await self._scan(self._recent_scan, seconds=self._budget, quiet_seconds=QUIET_SECONDS)
        if self._full_scan is None:
            if self._slow_scan.cursor is None:
                due = self._clock() >= self._running_at
                self._slow_scan.running_seconds = RUNNING_SECONDS if due else None
                self._running_at = (
                    self._clock() + RUNNING_INTERVAL_SECONDS if due else self._running_at
                )
            await self._scan(self._slow_scan, seconds=self._budget, quiet_seconds=QUIET_SECONDS)

    def _scan_again_after_failure(self) -> None:
        """Scan again after a pass that failed in part.

        The scans may have passed tasks that they could not deliver, or not have reached them while
        they were new. Tasks that were promoted or settled as lost, and not delivered, are old.
        """
        if self._failed and self._full_scan is None and self._clock() >= self._failed_at:
            self._failed = False
            self._failed_at = self._clock() + FAILED_SECONDS
            self.full_scan_soon()

    async def _scan(self, scan: LedgerScan, *, seconds: float, quiet_seconds: float) -> None:
        """Scan for this long (at least one chunk, at most to the end) and repair the differences.

        If a repair fails, the scan returns to where the current tasks began.
        """
        until = self._clock() + seconds
        mark = scan.cursor
        waiting = []
        try:
            while True:
                accounted = await self._stranded.accounted(after=scan.next_cursor)
                chunk = await scan.step(quiet_seconds=quiet_seconds, accounted=accounted)
                self._orphans.note(chunk.orphans)
                await self._forgotten.look(chunk.running)
                await self._reschedule(chunk.unscheduled)
                await self._dead_letters.add(chunk.unlisted)
                waiting += await self._stranded.without_backlog(chunk.waiting)
                done = chunk.last_id is None or self._clock() >= until
                if waiting and (done or await self._stranded.should_check_now(waiting)):
                    await self._stranded.redispatch(waiting)
                    waiting = []
                    mark = scan.cursor
                if done:
                    return
        except BaseException:
            scan.cursor = mark
            raise

    async def _reschedule(self, task_ids: Sequence[str]) -> None:
        done = await self._stores.due_tasks.reschedule(task_ids) if task_ids else []
        if done:
            emit("task.rescheduled", count=len(done), task_ids=sorted(done)[:SHOWN])


__all__ = ["Reconcile"]
