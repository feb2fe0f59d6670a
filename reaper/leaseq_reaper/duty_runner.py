"""Run the duties of the reaper at intervals, each in one pass after another.

Each duty has one APScheduler schedule. A pass that still runs when its next time comes is not
started a second time. APScheduler uses the wall clock, which may be set. Set forward, its own
interval trigger would run every missed pass, one by one. Set back, it would wait for the old time
to come again. `IntervalTrigger` and `repair_after_clock_change` prevent both, because leaseq
promises intervals and not times (G8).

Invariants: an exception of a pass ends nothing. A failure is reported when it begins, and not again
before a pass has succeeded. At a stop, passes get a moment to finish and are then cancelled, which
is safe anywhere: each of their steps may be repeated.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from random import uniform
from typing import Any

from apscheduler.executors.base import BaseExecutor
from apscheduler.job import Job
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger
from msgspec import Struct

from leaseq.errors import ServerUnreachable
from leaseq.loop import pause
from leaseq.metrics.tally import TALLY
from leaseq.observability.telemetry import emit
from leaseq.safe_text.exceptions import told

FINISH_SECONDS = 0.4
# Passes in a row that find nothing before the next ones may come later.
IDLE_PASSES = 10
JITTER = 0.1
REPAIR_SECONDS = 1.0


def _always_once() -> float:
    return 1.0


class Duty(Struct, frozen=True):
    """A pass and its interval in seconds. `factor`: by which the next interval is longer, larger
    than 1 after passes that found nothing to do."""

    name: str
    interval_seconds: float
    run_once: Callable[[], Awaitable[None]]
    factor: Callable[[], float] = _always_once
    # what the reaper announces about itself from this duty, a small JSON object
    describe: Callable[[], dict[str, Any]] = dict


class IdleBackoff:
    """Counts the passes in a row that have found nothing to do. After IDLE_PASSES of them the next
    ones may come later."""

    def __init__(self, factor: float) -> None:
        self._factor = factor
        self._passes = 0

    def note(self, *, found: bool) -> None:
        """A pass has found something to do, or nothing."""
        self._passes = 0 if found else self._passes + 1

    def factor(self) -> float:
        """The factor by which the next interval is longer."""
        return self._factor if self._passes >= IDLE_PASSES else 1.0


async def run_duties(
    duties: Sequence[Duty], stop: asyncio.Event, passes: PassRunner | None = None
) -> None:
    """Run all duties concurrently until `stop` is set, by `passes` if given."""
    # A late pass, or one that still runs at its next time, is not worth a log line. `PassRunner`
    # reports exceptions of a pass.
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
    passes = passes or PassRunner()
    scheduler = LoopScheduler(timezone=UTC, executors={"default": PassExecutor(passes)})
    for duty in duties:
        scheduler.add_job(
            passes.start,
            IntervalTrigger(duty.interval_seconds, duty.factor),
            args=[duty],
            id=duty.name,
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
        )
    scheduler.start()
    try:
        while not stop.is_set():
            await pause(REPAIR_SECONDS, stop=stop)
            repair_after_clock_change(scheduler, duties)
    finally:
        scheduler.pause()
        await passes.stop()
        scheduler.shutdown(wait=False)
        # Its shutdown is a callback in the loop, so yield once.
        await asyncio.sleep(0)


class PassRunner:
    """Runs passes, and reports each failure once."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()
        self.failing: set[str] = set()  # the duties whose last pass failed

    def start(self, duty: Duty) -> asyncio.Task[None]:
        """Run one pass, in a separate task, and raise nothing."""
        running = asyncio.create_task(self._run(duty))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return running

    async def stop(self) -> None:
        """Let running passes finish, and cancel those that take longer than a moment."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=FINISH_SECONDS)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=FINISH_SECONDS)

    async def _run(self, duty: Duty) -> None:
        began = time.monotonic()
        try:
            await duty.run_once()
        except ServerUnreachable as error:
            self._report(duty, str(error))
        except Exception as error:
            self._report(duty, told(error))
        else:
            self.failing.discard(duty.name)
            TALLY.set("leaseq_reaper_last_pass_timestamp_seconds", time.time(), duty.name)
        finally:
            seconds = time.monotonic() - began
            TALLY.observe("leaseq_reaper_pass_duration_seconds", seconds, duty.name)

    def _report(self, duty: Duty, error: str) -> None:
        TALLY.count("leaseq_reaper_pass_failures_total", duty.name)
        if duty.name not in self.failing:
            self.failing.add(duty.name)
            emit("loop.failed", loop=duty.name, error=error)


class IntervalTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler is not typed
    """A number of seconds after now, with jitter. Missed runs are not made up for."""

    def __init__(self, seconds: float, factor: Callable[[], float] = _always_once) -> None:
        self.seconds = seconds
        self.factor = factor

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """The first run comes early, at random, so that reapers that were started together spread
        out."""
        if previous is None:
            return now + timedelta(seconds=uniform(0, min(self.seconds, 1)))
        return now + timedelta(
            seconds=self.factor() * self.seconds * uniform(1 - JITTER, 1 + JITTER)
        )


class LoopScheduler(AsyncIOScheduler):  # type: ignore[misc]  # APScheduler is not typed
    """APScheduler's scheduler, always called in its event loop, so it need not be woken through a
    file descriptor."""

    def wakeup(self) -> None:
        """Start the jobs that are due, and wait for the next."""
        self._stop_timer()
        self._start_timer(self._process_jobs())


class PassExecutor(BaseExecutor):  # type: ignore[misc]
    """Starts a pass, and reports its end to the scheduler. APScheduler's own executor makes a
    second task."""

    def __init__(self, passes: PassRunner) -> None:
        super().__init__()
        self._passes = passes

    def _do_submit_job(self, schedule: Job, run_times: Sequence[datetime]) -> None:
        self._passes.start(*schedule.args).add_done_callback(
            lambda _: self._run_job_success(schedule.id, ())
        )


def repair_after_clock_change(scheduler: AsyncIOScheduler, duties: Sequence[Duty]) -> None:
    """Bring back duties whose next time lies too far ahead: the wall clock was set back."""
    now = datetime.now(UTC)
    for duty in duties:
        schedule = scheduler.get_job(duty.name)
        if schedule.next_run_time > now + timedelta(
            seconds=2 * duty.factor() * duty.interval_seconds + 1
        ):
            schedule.modify(next_run_time=now)


__all__ = [
    "Duty",
    "IdleBackoff",
    "IntervalTrigger",
    "PassRunner",
    "repair_after_clock_change",
    "run_duties",
]
