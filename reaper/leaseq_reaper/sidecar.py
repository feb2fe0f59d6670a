"""How do the duties of a reaper run side by side, for ever?

One APScheduler schedule for each duty; a pass that is still running when its next time comes is simply not run twice.
Nothing a pass raises ends anything: a trouble is told once, when it begins, and tried again. Told to stop, the passes
get a moment to finish and are then cancelled, which is safe anywhere: every step of theirs may be repeated.

APScheduler goes by the wall clock, which may be set: forward, and its interval trigger would count every missed run
one by one; back, and it would wait for the old time to come again. `Every` and `mend` are there for that (G8).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from random import uniform

import uvloop
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger
from msgspec import Struct

from leaseq.config import Config
from leaseq.engine.engine import Engine, open_engine
from leaseq.errors import ServerUnreachable
from leaseq.ledger.schema import require_schema
from leaseq.loop import pause
from leaseq.telemetry import emit
from leaseq_reaper.promote import Promote
from leaseq_reaper.prune import Prune
from leaseq_reaper.reap import Reaping
from leaseq_reaper.reconcile import Reconcile
from leaseq_reaper.suspicion import Suspicion

JITTER = 0.1
FINISH_SECONDS = 0.4
CLOSE_SECONDS = 0.4
CONNECT_SECONDS = 1.0
MEND_SECONDS = 1.0
POOL_SIZE = 5


class Duty(Struct, frozen=True):
    """What is done again and again, and how often (in seconds)."""

    name: str
    interval_seconds: float
    run_once: Callable[[], Awaitable[None]]


class Every(BaseTrigger):  # type: ignore[misc]  # APScheduler is not typed
    """So many seconds after now, more or less; what was missed is not made up for."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """The first time comes early, at random: reapers that were started together spread out."""
        low, high = (0.0, min(self.seconds, 1.0)) if previous is None else (1 - JITTER, 1 + JITTER)
        return now + timedelta(seconds=uniform(low, high) * (1.0 if previous is None else self.seconds))


class Passes:
    """Runs passes, and tells of their troubles once."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()
        self._troubled: set[str] = set()

    async def run(self, duty: Duty) -> None:
        """One pass, in a task of its own; ends with it and raises nothing."""
        running = asyncio.create_task(self._guarded(duty))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        await asyncio.wait({running})

    async def stop(self) -> None:
        """Let what runs finish; cancel what does not within a moment."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=FINISH_SECONDS)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=FINISH_SECONDS)

    async def _guarded(self, duty: Duty) -> None:
        try:
            await duty.run_once()
        except ServerUnreachable as error:
            self._tell(duty, str(error))
        except Exception as error:
            self._tell(duty, f"{type(error).__name__}: {error}")
        else:
            self._troubled.discard(duty.name)

    def _tell(self, duty: Duty, error: str) -> None:
        if duty.name not in self._troubled:
            self._troubled.add(duty.name)
            emit("loop.failed", loop=duty.name, error=error)


def duties(engine: Engine) -> list[Duty]:
    """All that a reaper does."""
    config = engine.config
    suspicion = Suspicion(lease_seconds=config.lease_seconds)
    reconcile = Reconcile(engine, on_loss=suspicion.disturb)
    reaping = Reaping(engine, suspicion, on_lost_list=reconcile.sweep_soon)
    return [
        Duty("promote", config.promote_interval_seconds, Promote(engine).run_once),
        Duty("reap", config.reap_interval_seconds, reaping.run_once),
        Duty("reconcile", config.reconcile_interval_seconds, reconcile.run_once),
        Duty("prune", config.prune_interval_seconds, Prune(engine).run_once),
    ]


def serve(config: Config) -> None:
    """Run a reaper in the foreground until SIGTERM or SIGINT. Raises `SchemaMismatch`, `ConfigInvalid`."""
    uvloop.run(_serve(config))


async def _serve(config: Config) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(config, stop)


async def run(config: Config, stop: asyncio.Event) -> None:
    """Run a reaper until `stop` is set. Waits for servers that are not there yet. Raises `SchemaMismatch`, `ConfigInvalid`."""
    stack = AsyncExitStack()
    try:
        engine = await _connect(config, stack, stop)
        if engine is not None:
            emit("reaper.started", pid=os.getpid(), lease_seconds=config.lease_seconds)
            await _run_duties(duties(engine), stop)
            emit("reaper.stopped", pid=os.getpid())
    finally:
        try:
            # A server that does not answer must not hold up the end.
            async with asyncio.timeout(CLOSE_SECONDS):
                await stack.aclose()
        except TimeoutError:
            pass


async def _connect(config: Config, stack: AsyncExitStack, stop: asyncio.Event) -> Engine | None:
    told = False
    while not stop.is_set():
        try:
            await require_schema(str(config.postgres_url))
            return await stack.enter_async_context(open_engine(config, name="leaseq reaper", pool_size=POOL_SIZE))
        except ServerUnreachable as error:
            if not told:
                told = True
                emit("loop.failed", loop="connect", error=str(error))
            await pause(CONNECT_SECONDS, stop=stop)
    return None


async def _run_duties(wanted: list[Duty], stop: asyncio.Event) -> None:
    # A pass that is late, or still running when its time comes again, is no news; what a pass raises we tell ourselves.
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
    scheduler = AsyncIOScheduler(timezone=UTC)
    passes = Passes()
    for duty in wanted:
        scheduler.add_job(
            passes.run,
            Every(duty.interval_seconds),
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
            mend(scheduler, wanted)
    finally:
        scheduler.pause()
        await passes.stop()
        scheduler.shutdown(wait=False)
        # Its shutdown is a callback in the loop: let it come.
        await asyncio.sleep(0)


def mend(scheduler: AsyncIOScheduler, wanted: list[Duty]) -> None:
    """Bring back duties whose next time lies too far ahead: the wall clock was set back."""
    now = datetime.now(UTC)
    for duty in wanted:
        schedule = scheduler.get_job(duty.name)
        if schedule.next_run_time > now + timedelta(seconds=2 * duty.interval_seconds + 1):
            schedule.modify(next_run_time=now)


__all__ = ["Duty", "Every", "Passes", "duties", "mend", "run", "serve"]
