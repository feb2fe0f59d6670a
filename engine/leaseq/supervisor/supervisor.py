"""Keep worker processes alive, hold their leases, and recover their tasks.

The supervisor runs no user code. It opens a worker in both stores before it starts the process of
that worker, and renews the leases of all its workers in one heartbeat. It kills a process whose
event loop has stopped turning. When a process dies, the kernel tells the supervisor, which recovers
its tasks immediately and starts another one in its place. SIGTERM drains; a second SIGTERM hurries.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from functools import partial
from time import monotonic
from uuid import uuid4

import uvloop
from msgspec import Struct

from leaseq import __version__
from leaseq.config import Config
from leaseq.errors import ServerUnreachable
from leaseq.failpoints import reach
from leaseq.loop import Pauses, Retries, end, pause, retry, run_forever
from leaseq.metrics.listener import serving_metrics
from leaseq.metrics.tally import TALLY
from leaseq.model import Lane
from leaseq.observability.telemetry import emit
from leaseq.operations.open_engine import open_engine
from leaseq.operations.recover import Death, WorkerRecovery
from leaseq.operations.stores import Stores
from leaseq.supervisor.child_process import ChildProcess
from leaseq.supervisor.descendants import kill_descendants
from leaseq.supervisor.fleet_metrics import FleetMetrics
from leaseq.supervisor.heartbeat import Heartbeat
from leaseq.supervisor.protocol import (
    EXIT_LEASE_LOST,
    EXIT_STORE_AWAY,
    EXIT_UNCLOSED,
    ChildSpec,
    FromSupervisor,
    boottime,
)

STALL_CHECK_SECONDS = 0.5
LAGGED_SECONDS = 1.5
ISOLATION_CHECK_SECONDS = 1.0
IDLE_ISOLATION_CAP_SECONDS = 60.0
RESPAWN_PAUSES = Pauses(0.5, growth=2.0, cap=10.0)
SHORT_LIFE_SECONDS = 2.0
STORE_AWAY_PAUSES = Pauses(1.0)
RECOVER_PAUSES = Pauses(0.2)
POOL_SIZE = 4
# Queues that the announcement of a supervisor names.
MOST_NAMED = 50

EXITS = {
    EXIT_LEASE_LOST: "lost its lease",
    EXIT_STORE_AWAY: "could not start while a store was away",
    EXIT_UNCLOSED: "drained while a store was away",
}


class SupervisorSpec(Struct, frozen=True, kw_only=True):
    """The worker processes that a supervisor keeps running."""

    app: str
    queues: list[str]
    concurrency: int
    processes: int


class Supervisor:
    """Keeps `processes` worker processes running."""

    def __init__(
        self,
        config: Config,
        stores: Stores,
        recovery: WorkerRecovery,
        spec: SupervisorSpec,
        fleet: FleetMetrics,
    ) -> None:
        self._config = config
        self._stores = stores
        self._recovery = recovery
        self._spec = spec
        self._children = fleet.children
        self._beat = Heartbeat(config, stores, spec.queues)
        self._stop = asyncio.Event()
        self._gone = asyncio.Event()
        self._isolating = False
        self._idle_isolations = 0
        self._looked = monotonic()
        self._isolation: asyncio.Task[None] | None = None
        self.failed = False
        fleet.heartbeat = self._beat

    async def run(self) -> int:
        """Work until a signal; returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.drain)
        emit(
            "supervisor.started",
            pid=os.getpid(),
            queues=self._spec.queues,
            processes=self._spec.processes,
            concurrency=self._spec.concurrency,
        )
        async with asyncio.TaskGroup() as group:
            # A draining child is renewed and watched as well: these two end after the last of them.
            watches = [
                group.create_task(self._beat_forever()),
                group.create_task(self._watch_stalls()),
            ]
            isolating = group.create_task(
                run_forever(
                    self._spawn_isolated,
                    name="isolate",
                    interval_seconds=ISOLATION_CHECK_SECONDS,
                    stop=self._stop,
                )
            )
            keepers = [group.create_task(self._keep_running()) for _ in range(self._spec.processes)]
            await asyncio.wait(keepers)
            self._stop.set()
            await asyncio.wait([isolating])
            while self._children:
                await self._gone.wait()
                self._gone.clear()
            await end(*watches)
        await self._beat.aclose()
        emit("supervisor.stopped", pid=os.getpid())
        return 1 if self.failed else 0

    def drain(self) -> None:
        """Ask every child to drain; asked again, to hurry."""
        grace = 0.0 if self._stop.is_set() else self._config.grace_seconds
        emit("supervisor.draining", grace_seconds=grace, children=len(self._children))
        self._stop.set()
        for child in self._children.values():
            child.tell(FromSupervisor(drain=grace))

    async def _keep_running(self) -> None:
        """Keep one worker process running."""
        short_lives = 0
        away = Retries(
            STORE_AWAY_PAUSES,
            report=lambda error: emit("loop.failed", loop="staff", error=str(error)),
            every=True,
            stop=self._stop,
        )
        while not self._stop.is_set():
            try:
                child = await self._spawn(isolated=False)
            except (ServerUnreachable, OSError) as error:
                await away.wait(error)
                continue
            code = await self._wait_and_recover(child)
            if child.ready:
                short_lives = 0
            elif code == EXIT_STORE_AWAY:
                await pause(STORE_AWAY_PAUSES.after(1), stop=self._stop)
                continue
            elif not self._stop.is_set():
                short_lives += 1
                if short_lives >= 3:
                    # It has never become ready: a person must fix a broken app, and a loop must not
                    # hide it.
                    self.failed = True
                    self.drain()
                    return
            if monotonic() - child.started < SHORT_LIFE_SECONDS:
                await pause(RESPAWN_PAUSES.after(short_lives + 1), stop=self._stop)

    async def _spawn(self, *, isolated: bool) -> ChildProcess:
        """Open a worker in both stores, then start its process."""
        spec = ChildSpec(
            worker_id=uuid4().hex,
            app=self._spec.app,
            queues=self._spec.queues,
            concurrency=1 if isolated else self._spec.concurrency,
            isolated=isolated,
            renewed_at=boottime(),
            supervisor=os.getpid(),
        )
        await self._stores.workers.open_worker(
            spec.worker_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            queues=spec.queues,
            version=__version__,
            app_version=self._config.app_version,
        )
        reach("worker.recorded")
        await self._beat.open(spec.worker_id)
        reach("lease.opened")
        child = await ChildProcess.start(spec, self._config)
        self._children[spec.worker_id] = child
        emit(
            "child.started",
            worker_id=spec.worker_id,
            pid_of_child=child.process.pid,
            isolated=isolated,
        )
        return child

    async def _wait_and_recover(self, child: ChildProcess) -> int:
        """Wait for the end of a process, and recover the tasks that it held. Returns its exit
        code."""
        if self._stop.is_set():
            child.tell(FromSupervisor(drain=0.0))
        try:
            code = await child.wait()
            about = {
                "worker_id": child.spec.worker_id,
                "pid_of_child": child.process.pid,
                "code": code,
            }
            if child.closed:
                emit("child.exited", **about)
            else:
                emit("child.died", **about, running=child.running)
                await self._recover(child, describe_exit(code), blame=child.crashed(code))
            await asyncio.to_thread(kill_descendants, child.process.pid)
        finally:
            del self._children[child.spec.worker_id]
            self._gone.set()
        return code

    async def _recover(self, child: ChildProcess, reason: str, *, blame: bool) -> None:
        death = Death(
            worker_id=child.spec.worker_id, queues=child.spec.queues, reason=reason, blame=blame
        )
        # After a lease the reaper sees the death as well.
        retries = Retries(RECOVER_PAUSES, seconds=self._config.lease_seconds, stop=self._stop)
        try:
            await retry(partial(self._recovery.recover, death), retries)
        except ServerUnreachable as error:
            emit("loop.failed", loop="recover", error=str(error))

    async def _beat_forever(self) -> None:
        never = asyncio.Event()
        await run_forever(
            self._beat_once,
            name="heartbeat",
            interval_seconds=self._config.heartbeat_seconds,
            stop=never,
        )

    async def _beat_once(self) -> None:
        """Renew for the workers whose loop still turns, and send them the time of it."""
        limit = self._config.loop_stall_seconds
        lively = [
            worker_id for worker_id, child in self._children.items() if not child.stalled(limit)
        ]
        renewals = await self._beat.beat(lively)
        for worker_id, renewal in renewals.items():
            child = self._children.get(worker_id)
            if child is not None:
                child.tell(
                    FromSupervisor(renewed_at=renewal.renewed_at, lease_lost=renewal.lease_lost)
                )

    async def _watch_stalls(self) -> None:
        never = asyncio.Event()
        await run_forever(
            self._check_stalls, name="stall", interval_seconds=STALL_CHECK_SECONDS, stop=never
        )

    async def _check_stalls(self) -> None:
        now, looked = monotonic(), self._looked
        self._looked = now
        if now - looked > LAGGED_SECONDS:
            # This process was suspended, starved or stopped, with or without its children, and did
            # not see which loops turned meanwhile. That time is not counted, and only that: a
            # blocked loop is found even if this happens again and again.
            emit("supervisor.lagged", seconds=round(now - looked, 1), children=len(self._children))
            for child in self._children.values():
                child.last_tick = min(now, child.last_tick + now - looked)
        for child in self._children.values():
            if child.stalled(self._config.loop_stall_seconds) and child.process.returncode is None:
                emit(
                    "child.stalled",
                    worker_id=child.spec.worker_id,
                    seconds=round(child.silent_seconds, 1),
                )
                child.kill()

    async def _spawn_isolated(self) -> None:
        """Start a process with one slot for suspects, when there are any. It ends when it has been
        idle for a lease.

        If such a process finds nothing that it may run, the next one waits longer each time.
        """
        if self._isolating or not await self._suspects_wait():
            return
        if self._idle_isolations:
            await pause(
                min(2.0**self._idle_isolations, IDLE_ISOLATION_CAP_SECONDS), stop=self._stop
            )
            if self._stop.is_set() or not await self._suspects_wait():
                return
        child = await self._spawn(isolated=True)
        self._isolating = True
        self._isolation = asyncio.create_task(self._run_isolated(child))

    async def _suspects_wait(self) -> bool:
        # One command while there are none: a worker may serve hundreds of queues.
        holding = await self._stores.dispatcher.holding(self._spec.queues, lanes=[Lane.SUSPECT])
        lengths = await self._stores.lists.lengths([(queue, Lane.SUSPECT) for queue in holding])
        for (queue, _), length in lengths.items():
            if length > 0 and not await self._stores.pause_flags.is_set(queue):
                return True
        return False

    async def _run_isolated(self, child: ChildProcess) -> None:
        try:
            code = await self._wait_and_recover(child)
            idle = child.taken == 0 and code == 0
            self._idle_isolations = self._idle_isolations + 1 if idle else 0
        finally:
            self._isolating = False


def describe_exit(code: int) -> str:
    """The exit code as a message."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return EXITS.get(code, f"exited with code {code}")


def serve(config: Config, spec: SupervisorSpec) -> int:
    """Run a supervisor until SIGTERM or SIGINT; returns the exit code.

    Raises `ServerUnreachable` where Postgres is away at the start, `ConfigInvalid` where the port of
    the metrics cannot be used.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(config, spec))


async def _serve(config: Config, spec: SupervisorSpec) -> int:
    fleet = FleetMetrics()
    detail = {
        "queues": spec.queues[:MOST_NAMED],
        "slots": spec.processes * spec.concurrency,
    }
    async with (
        serving_metrics(config, "worker", TALLY.series, fleet.series, pids=fleet.pids),
        open_engine(config, name="leaseq supervisor", pool_size=POOL_SIZE) as engine,
        engine.announced("supervisor", lambda: detail),
        engine.flushing_statistics("supervisor"),
    ):
        return await Supervisor(config, engine.stores, engine.recovery, spec, fleet).run()


__all__ = ["Supervisor", "SupervisorSpec", "serve"]
