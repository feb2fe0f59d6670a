"""Fire schedules that are due: their tasks and their next times in one statement.

A pass reads the due schedules, computes what each does (`leaseq.schedules.plan`), and sends batches
to the ledger. The statement takes a schedule only as it was read, so any number of reapers may fire
at the same time, and a reaper that was frozen fires nothing a second time (docs/lifecycle.md).

After the commit the tasks are pushed. Tasks with a limit are not: they wait for a permit, which the
duty `admit` gives. This reaper owns the window "fired, not pushed" while it
lives, and pushes again in its next pass. If it dies, or more than UNSENT tasks wait for Redis, the
tasks are stranded, and the reconciler owns them.

A schedule that cannot be computed or fired is reported, and looked at again after POSTPONE_SECONDS,
so that it holds up no other one. After the start of the reaper, `RefreshSchedules` takes over zones
whose rules have changed since a next time was computed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta

from leaseq.codec import new_task_id
from leaseq.config import Config
from leaseq.dispatch.queue_lists import QueueLane
from leaseq.errors import LimitUnknown, ServerUnreachable
from leaseq.failpoints import reach
from leaseq.ledger.schedules import Fired, Firing
from leaseq.ledger.session import Locked
from leaseq.metrics.tally import TALLY
from leaseq.observability.telemetry import emit, listening
from leaseq.operations.stores import Stores
from leaseq.safe_text.exceptions import told
from leaseq.schedules.plan import Policy, jitter_seconds, plan
from leaseq.schedules.schedule import DueSchedule, timing_of
from leaseq_reaper.duties.refresh_schedules import RefreshSchedules
from leaseq_reaper.duties.suspicion import Clock

INTERVAL_SECONDS = 0.25
BATCH = 500
# Occurrences of one statement: a schedule may have many to catch up with.
MOST_OCCURRENCES = 1000
# A pass that fires for longer than this leaves the rest to the next.
PASS_SECONDS = 1.0
# Other duties run after each so many computed schedules.
COMPUTED_AT_ONCE = 50
UNSENT = 10_000
OCCURRENCES = "leaseq_schedule_occurrences_total"
LATENESS = "leaseq_schedule_lateness_seconds"
POSTPONE_SECONDS = 60.0


class Fire:
    """The duty."""

    def __init__(self, stores: Stores, config: Config, *, clock: Clock = time.monotonic) -> None:
        self._schedules = stores.schedules
        self._dispatcher = stores.dispatcher
        self._retention = config.idempotency_retention_seconds
        self._clock = clock
        self._refresh = RefreshSchedules(stores.schedules)
        self._unsent: dict[QueueLane, list[str]] = {}  # fired, not pushed
        self._trouble: Exception | None = None

    async def run_once(self) -> None:
        """Fire due schedules in batches, and push their tasks."""
        until = self._clock() + PASS_SECONDS
        await self._send()
        while await self._round() and self._clock() < until:
            pass
        await self._refresh.run_once()
        trouble, self._trouble = self._trouble, None
        if trouble is not None:
            raise trouble

    async def _round(self) -> bool:
        """One batch. Returns whether more may be due, and this one made progress."""
        due = await self._schedules.find_due(limit=BATCH)
        if not due:
            return False
        reach("fire.read")
        firings = await self._compute(due)
        taken = 0
        for batch in _batches(firings):
            taken += await self._fire(batch)
        return len(due) == BATCH and taken > 0

    async def _compute(self, due: Sequence[DueSchedule]) -> list[Firing]:
        firings: list[Firing] = []
        for count, one in enumerate(due, 1):
            try:
                firings.append(_firing(one))
            except Exception as error:
                await self._postpone(one, error)
            if count % COMPUTED_AT_ONCE == 0:
                await asyncio.sleep(0)
        return firings

    async def _fire(self, batch: Sequence[Firing]) -> int:
        """Fire a batch, or each of it alone where one is refused. Returns how many were taken."""
        try:
            fired = await self._schedules.fire(batch, retention_seconds=self._retention)
        except ServerUnreachable as error:
            if not isinstance(error, Locked):
                raise
            return await self._fire_apart(batch, error)
        except Exception as error:
            return await self._fire_apart(batch, error)
        reach("fire.committed")
        _tell(batch, fired)
        for task in fired.tasks:
            if task.limit is None:
                self._unsent.setdefault((task.queue, task.lane), []).append(task.task_id)
        await self._send()
        return len(fired.taken)

    async def _fire_apart(self, batch: Sequence[Firing], error: Exception) -> int:
        if len(batch) > 1:
            return sum([await self._fire([one]) for one in batch])
        await self._postpone(batch[0].due, error)
        return 0

    async def _postpone(self, schedule: DueSchedule, error: Exception) -> None:
        emit(
            "schedule.failed",
            tenant=schedule.tenant,
            schedule=schedule.name,
            error=str(error) if isinstance(error, ServerUnreachable) else told(error),
        )
        await self._schedules.postpone([schedule], seconds=POSTPONE_SECONDS)

    async def _send(self) -> None:
        """Push tasks that were fired. Those that cannot be pushed are kept, up to a bound."""
        unsent, self._unsent = self._unsent, {}
        for (queue, lane), task_ids in unsent.items():
            try:
                taken = await self._dispatcher.push(queue, task_ids, lane=lane)
            except ServerUnreachable as error:
                emit("push.failed", queue=queue, count=len(task_ids), error=str(error))
                self._keep((queue, lane), task_ids)
            except Exception as error:  # of this queue alone
                self._trouble = self._trouble or error
                self._keep((queue, lane), task_ids)
            else:
                if taken:
                    emit("delivery.pushed", queue=queue, lane=lane, count=len(taken))

        if unsent:
            reach("fire.sent")

    def _keep(self, lane: QueueLane, task_ids: list[str]) -> None:
        if sum(map(len, self._unsent.values())) + len(task_ids) <= UNSENT:
            self._unsent[lane] = task_ids


def _firing(due: DueSchedule) -> Firing:
    """Decide about one due schedule. Occurrences within its jitter are not due yet.
    Raises `LimitUnknown`."""
    if due.missing_limit is not None:
        raise LimitUnknown(
            f"there is no limit {due.missing_limit}: make it, or put the schedule again"
        )
    policy = Policy(catch_up=due.catch_up, max_catch_up=due.max_catch_up, overlap=due.overlap)
    delay = timedelta(seconds=jitter_seconds(due.tenant, due.name, due.jitter_seconds))
    planned = plan(timing_of(due), policy, due.next_at, max(due.now - delay, due.next_at))
    next_at = planned.next_at
    return Firing(
        due=due,
        ats=planned.fires,
        task_ids=sorted(new_task_id() for _ in planned.fires),
        next_at=next_at,
        next_due=None if next_at is None else next_at + delay,
        missed=planned.missed,
    )


def _batches(firings: Sequence[Firing]) -> list[list[Firing]]:
    """The same in parts of at most MOST_OCCURRENCES."""
    batches: list[list[Firing]] = []
    room = 0
    for one in firings:
        if room < len(one.ats) or not batches:
            batches.append([])
            room = MOST_OCCURRENCES
        batches[-1].append(one)
        room -= len(one.ats)
    return batches


def _tell(batch: Sequence[Firing], fired: Fired) -> None:
    """Count what happened, and report what an operator may want to know of."""
    lateness = {(one.due.tenant, one.due.name): one.due.now - one.due.due_at for one in batch}
    for task in fired.tasks:
        TALLY.of_task(task.queue, task.type).created += 1
        TALLY.observe(LATENESS, lateness[task.tenant, task.name].total_seconds())
        if listening("task.submitted"):
            emit(
                "task.submitted",
                task_id=task.task_id,
                type=task.type,
                queue=task.queue,
                state="PENDING" if task.limit is None else "SCHEDULED",
            )
            emit(
                "schedule.fired",
                tenant=task.tenant,
                schedule=task.name,
                task_id=task.task_id,
            )
    for (tenant, schedule), count in fired.missed.items():
        emit("schedule.missed", tenant=tenant, schedule=schedule, count=count)
    for (tenant, schedule), count in fired.skipped.items():
        emit("schedule.skipped", tenant=tenant, schedule=schedule, count=count)
    for result, count in (
        ("fired", len(fired.tasks)),
        ("missed", sum(fired.missed.values())),
        ("skipped", sum(fired.skipped.values())),
    ):
        if count:
            TALLY.count(OCCURRENCES, result, amount=count)


__all__ = ["INTERVAL_SECONDS", "Fire"]
