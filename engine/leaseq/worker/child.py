"""The life of a worker process, from its start to its exit.

A supervisor starts the process. It has opened the worker in both stores before, and renews its
lease. The process works until it must drain, until its supervisor is gone, or until it can no
longer know that it holds the lease. Then it starts nothing, interrupts its attempts, and exits. It
never works beyond its lease by its own judgement of time alone: the fence in the ledger holds in
any case. It shows that its loop turns until the very end, also while it drains.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from time import monotonic
from typing import Any

import msgspec

from leaseq.app import Leaseq
from leaseq.config import Config, take_over
from leaseq.errors import ServerUnreachable
from leaseq.garbage_collector import freeze_gc
from leaseq.loop import end
from leaseq.metrics.event_counts import count_events
from leaseq.observability.logs import restore_streams, set_up_logs, spare_the_streams
from leaseq.observability.telemetry import emit
from leaseq.operations.declarations import declare
from leaseq.operations.engine import Engine
from leaseq.operations.notices import noticed
from leaseq.operations.open_engine import open_engine
from leaseq.operations.recover import Death
from leaseq.registry import Registry
from leaseq.supervisor.descendants import kill_descendants
from leaseq.supervisor.protocol import (
    EXIT_LEASE_LOST,
    EXIT_STORE_AWAY,
    EXIT_UNCLOSED,
    Channel,
    ChildSpec,
    FromChild,
    FromSupervisor,
    boottime,
)
from leaseq.worker.attempt.outcome import Stop
from leaseq.worker.build import BLOCK_SECONDS, build_worker
from leaseq.worker.expedite import task_types
from leaseq.worker.load import load_app
from leaseq.worker.process.forks import guard_forks
from leaseq.worker.process.limits import Limits
from leaseq.worker.process.parent_death import die_with_supervisor, outlive_supervisor
from leaseq.worker.process.runner import run
from leaseq.worker.process.shared_loop import SharedLoop
from leaseq.worker.process.watchdog import Watchdog
from leaseq.worker.report_counts import CountsReport
from leaseq.worker.slots import Slots
from leaseq.worker.worker import Worker

TICK_SECONDS = 0.2
READ_SECONDS = 0.05
# Handlers that overran may hold all slots or threads, or half of them, for so long; then the
# process is replaced.
ALL_SLOTS_SECONDS = 5.0
HALF_OF_SLOTS_SECONDS = 60.0


class Child:
    """The work of one process, and the watch over its lease."""

    def __init__(self, spec: ChildSpec, config: Config, channel: Channel, loop: SharedLoop) -> None:
        self._spec = spec
        self._loop = loop
        self._config = config
        self._channel = channel
        self._renewed_at = spec.renewed_at
        self._grace = config.grace_seconds
        self._ending = asyncio.Event()
        self._hurry = asyncio.Event()
        self._lease_lost: str | None = None
        self._crowded: float | None = None
        self._limits = Limits()

    async def run(self, app: Leaseq) -> int:
        """Work to the end; returns the exit code."""
        async with AsyncExitStack() as stack:
            engine = await stack.enter_async_context(
                open_engine(self._config, name=f"leaseq worker {self._spec.worker_id}", pool_size=4)
            )
            await register(engine, app.registry, self._spec)
            await stack.enter_async_context(noticed(engine.stores.notices, "worker"))
            stack.enter_context(app.lend(engine))
            if not self._spec.isolated:
                await stack.enter_async_context(app.schedules.declaring())
            worker = await build_worker(stack, engine, app.registry, spec=self._spec)
            return await self._work(engine, worker)

    async def _work(self, engine: Engine, worker: Worker) -> int:
        report = CountsReport(worker, self._channel, tick_seconds=TICK_SECONDS)
        working = asyncio.create_task(worker.run())
        ending = asyncio.create_task(self._ending.wait())
        ticking, listening = (
            asyncio.create_task(self._tick(worker, report)),
            asyncio.create_task(self._listen()),
        )
        everything = [working, ending, ticking, listening]
        outlive_supervisor()
        self._channel.send(FromChild(ready=True))
        version = self._config.app_version
        emit(
            "worker.opened",
            worker_id=self._spec.worker_id,
            queues=self._spec.queues,
            isolated=self._spec.isolated,
            **({} if version is None else {"app_version": version}),
        )
        await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
        crashed = next((e for task in everything if task.done() and (e := task.exception())), None)
        self._channel.send(
            FromChild(running=worker.running, taken=worker.attempts.taken, leaving=True)
        )
        reason = Stop.LEASE_LOST if self._lease_lost else Stop.DRAIN
        await worker.drain(
            0.0 if self._lease_lost or crashed else self._grace, hurry=self._hurry, reason=reason
        )
        # A cancelled BLMOVE may still move an id afterwards (docs/pitfalls.md#p4): let it lapse,
        # before the lists are given back.
        await asyncio.wait([working], timeout=BLOCK_SECONDS + 1)
        await worker.finish()
        await end(working)
        report.send()
        if crashed:
            raise crashed
        if self._lease_lost:
            return EXIT_LEASE_LOST
        return 0 if await self._close(engine) else EXIT_UNCLOSED

    async def _close(self, engine: Engine) -> bool:
        """Close our own worker, and give back the deliveries in our lists. False if a store is
        away: then the reaper does it."""
        spec = self._spec
        death = Death(
            worker_id=spec.worker_id,
            queues=spec.queues,
            reason="drained",
            blame=False,
            event="worker.closed",
        )
        try:
            await engine.recovery.recover(death)
        except ServerUnreachable as error:
            emit("ledger.unreachable", error=str(error), waiting=0)
            return False
        self._channel.send(FromChild(closed=True))
        return True

    async def _tick(self, worker: Worker, report: CountsReport) -> None:
        """Show that the loop turns, and check the lease: it counts from the sending of the last
        acknowledged renewal."""
        allowed = self._config.lease_seconds - self._config.heartbeat_seconds / 2
        # Much later than a supervisor would act, and later than the lease: by then this process may
        # not work any more.
        watchdog = Watchdog(2 * max(self._config.loop_stall_seconds, self._config.lease_seconds))
        while True:
            watchdog.wind()
            ignore_signals()
            restore_streams()
            self._keep_limits()
            report.tick()
            self._channel.send(FromChild(running=worker.running, taken=worker.attempts.taken))
            if boottime() - self._renewed_at > allowed:
                # This process may have been slow, not the supervisor: its messages may lie unread
                # on the channel.
                await asyncio.sleep(READ_SECONDS)
            if (age := boottime() - self._renewed_at) > allowed:
                self._lose_lease(f"the lease was not renewed for {age:.1f} s")
            if (
                self._spec.isolated
                and not self._ending.is_set()
                and worker.attempts.idle_seconds > self._config.lease_seconds
            ):
                self._end(0.0)
            self._watch_slots(worker.slots)
            if worker.is_barred and not self._ending.is_set():
                self._end(self._config.grace_seconds)  # a new worker has a row of its own
            await asyncio.sleep(TICK_SECONDS)

    def _keep_limits(self) -> None:
        """Restore the limits of the process that handlers have changed. Where that is not allowed,
        it drains, to be replaced.

        In an isolation child, which runs one task at a time, `Leftovers` does this.
        """
        if self._spec.isolated or self._ending.is_set() or not (changed := self._limits.changed()):
            return
        restored = self._limits.restore(changed)
        emit("handler.limited", worker_id=self._spec.worker_id, limits=changed, restored=restored)
        if not restored:
            self._end(self._config.grace_seconds)

    def _watch_slots(self, slots: Slots) -> None:
        """Replace this process when it can do little or nothing, because handlers that overran keep
        its slots, or the threads of `asyncio.to_thread`.

        It drains: the other attempts have their grace, and no task is charged. Lingering handlers
        end with the process.
        """
        held = max(
            slots.lingering / slots.concurrency,
            self._loop.abandoned_threads / self._loop.thread_count,
        )
        if held < 0.5:
            self._crowded = None
            return
        self._crowded = monotonic() if self._crowded is None else self._crowded
        limit = ALL_SLOTS_SECONDS if held >= 1 else HALF_OF_SLOTS_SECONDS
        if self._spec.isolated:
            limit = 0.0
        if monotonic() - self._crowded >= limit and not self._ending.is_set():
            emit(
                "worker.exhausted",
                worker_id=self._spec.worker_id,
                lingering=slots.lingering,
                threads=self._loop.abandoned_threads,
                concurrency=slots.concurrency,
                isolated=self._spec.isolated,
            )
            self._end(self._config.grace_seconds)

    async def _listen(self) -> None:
        while True:
            line = await self._channel.receive()
            if line is None:
                emit("supervisor.lost", worker_id=self._spec.worker_id)
                self._hurry.set()
                self._end(0.0)
                return
            message = msgspec.json.decode(line, type=FromSupervisor)
            if message.renewed_at is not None:
                self._renewed_at = max(self._renewed_at, message.renewed_at)
            if message.lease_lost is not None:
                self._lose_lease(message.lease_lost)
            if message.drain is not None:
                self._end(message.drain)

    def _end(self, grace: float) -> None:
        if self._ending.is_set():
            self._hurry.set()
        self._grace = grace
        self._ending.set()

    def _lose_lease(self, reason: str) -> None:
        if self._lease_lost is None:
            emit("worker.fenced", worker_id=self._spec.worker_id, reason=reason)
        self._lease_lost = self._lease_lost or reason
        self._hurry.set()
        self._ending.set()


async def register(engine: Engine, registry: Registry, spec: ChildSpec) -> None:
    """Record what this worker can run, so that submissions can be checked and completed without its
    code."""
    await engine.stores.queues.register_queues(spec.queues)
    await declare(engine, registry)
    await engine.stores.task_types.register_types(task_types(registry), worker_id=spec.worker_id)


def ignore_signals() -> None:
    """Ignore the signals that end a process: the supervisor, which gets them too, decides when to
    stop.

    Called again and again, because a handler, or a server that it runs, may have set them back. Not
    with SIG_IGN, which the programs that handlers start would inherit.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not _ignore:
            signal.signal(number, _ignore)


def _ignore(number: int, frame: object) -> None:
    """The supervisor handles it."""


async def live(spec: ChildSpec, app: Leaseq, fd: int, loop: SharedLoop) -> int:
    """Run a worker process in `loop`, which runs. Its end of the channel is `fd`."""
    channel = await Channel.over(socket.socket(fileno=fd))
    freeze_gc()
    try:
        return await Child(spec, Config.from_env(), channel, loop).run(app)
    except (
        ServerUnreachable
    ) as error:  # only at the start: later the parts of the worker wait for a store
        emit("ledger.unreachable", error=str(error), waiting=0)
        return EXIT_STORE_AWAY


def prepare(spec: ChildSpec, fd: int) -> tuple[Coroutine[Any, Any, int], SharedLoop]:
    """The coroutine of the process, and its loop. The app is imported before the loop runs: a
    module may call `asyncio.run`."""
    ignore_signals()
    os.set_inheritable(fd, False)  # programs that handlers start do not inherit it
    loop = SharedLoop(spec.concurrency)
    guard_forks(fd, loop)
    asyncio.set_event_loop(loop)
    app = load_app(spec.app)
    return live(spec, app, fd, loop), loop


def main() -> None:
    """`python -m leaseq.worker.child SPEC LINK SECRETS`, started by a supervisor only; two are
    descriptors."""
    spec = msgspec.json.decode(sys.argv[1], type=ChildSpec)
    with os.fdopen(int(sys.argv[3]), "rb") as secrets:
        take_over(msgspec.json.decode(secrets.read(), type=dict[str, str]))
    die_with_supervisor(spec.supervisor)
    set_up_logs(Config.from_env())
    spare_the_streams()
    count_events()
    code = 1
    try:
        code = run(*prepare(spec, int(sys.argv[2])))
    except Exception:
        logging.getLogger("leaseq").exception("the worker process cannot start")
    finally:
        leave(code)


def leave(code: int) -> None:
    """End this process with this exit code, even while handlers still run."""
    try:
        restore_streams()
        sys.stdout.flush()
        sys.stderr.flush()
        kill_descendants(os.getpid())  # its supervisor does so too, if it is alive
    finally:
        # Not sys.exit, and the loop is not closed: both would wait for handlers that do not end, as
        # tasks or as threads.
        os._exit(code)


if __name__ == "__main__":
    main()
