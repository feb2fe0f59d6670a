"""Schedule the duties of the reaper at intervals.

Each duty has one APScheduler schedule. A pass that still runs when its next time comes is not
started a second time. APScheduler uses the wall clock, which may be set. Set forward, its own
interval trigger would run every missed pass, one by one. Set back, it would wait for the old time
to come again. `Every` and `repair_after_clock_change` prevent both, because leaseq promises
intervals and not times (G8).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from random import uniform

from apscheduler.executors.base import BaseExecutor
from apscheduler.job import Job
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from leaseq.loop import pause
from leaseq_reaper.passes import Duty, Passes

JITTER = 0.1
MEND_SECONDS = 1.0


class Every(BaseTrigger):  # type: ignore[misc]  # APScheduler is not typed
    """A number of seconds after now, with jitter. Missed runs are not made up for."""

    def __init__(self, seconds: float, slack: Callable[[], float] = lambda: 1.0) -> None:
        self.seconds = seconds
        self.slack = slack

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """The first run comes early, at random, so that reapers that were started together spread
        out."""
        if previous is None:
            return now + timedelta(seconds=uniform(0, min(self.seconds, 1)))
        return now + timedelta(
            seconds=self.slack() * self.seconds * uniform(1 - JITTER, 1 + JITTER)
        )


class Loop(AsyncIOScheduler):  # type: ignore[misc]  # APScheduler is not typed
    """APScheduler's scheduler, always called in its event loop, so it need not be woken through a
    file descriptor."""

    def wakeup(self) -> None:
        """Start the jobs that are due, and wait for the next."""
        self._stop_timer()
        self._start_timer(self._process_jobs())


class Starter(BaseExecutor):  # type: ignore[misc]
    """Starts a pass, and reports its end to the scheduler. APScheduler's own executor makes a
    second task."""

    def __init__(self, passes: Passes) -> None:
        super().__init__()
        self._passes = passes

    def _do_submit_job(self, schedule: Job, run_times: Sequence[datetime]) -> None:
        self._passes.start(*schedule.args).add_done_callback(
            lambda _: self._run_job_success(schedule.id, ())
        )


async def run_duties(duties: Sequence[Duty], stop: asyncio.Event) -> None:
    """Run all duties concurrently until `stop` is set."""
    # A late pass, or one that still runs at its next time, is not worth a log line. `Passes`
    # reports exceptions of a pass.
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
    passes = Passes()
    scheduler = Loop(timezone=UTC, executors={"default": Starter(passes)})
    for duty in duties:
        scheduler.add_job(
            passes.start,
            Every(duty.interval_seconds, duty.slack),
            args=[duty],
            id=duty.name,
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
        )
    scheduler.start()
    try:
        while not stop.is_set():
            await pause(MEND_SECONDS, stop=stop)
            repair_after_clock_change(scheduler, duties)
    finally:
        scheduler.pause()
        await passes.stop()
        scheduler.shutdown(wait=False)
        # Its shutdown is a callback in the loop, so yield once.
        await asyncio.sleep(0)


def repair_after_clock_change(scheduler: AsyncIOScheduler, duties: Sequence[Duty]) -> None:
    """Bring back duties whose next time lies too far ahead: the wall clock was set back."""
    now = datetime.now(UTC)
    for duty in duties:
        schedule = scheduler.get_job(duty.name)
        if schedule.next_run_time > now + timedelta(
            seconds=2 * duty.slack() * duty.interval_seconds + 1
        ):
            schedule.modify(next_run_time=now)


__all__ = ["Every", "repair_after_clock_change", "run_duties"]
