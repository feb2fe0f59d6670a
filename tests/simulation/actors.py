"""The actors of the state machine: a client, workers and reapers.

An activity is one round of what the real process does in a loop (an intake, a sweep, a heartbeat, a
pass), run as a task; in one actor no activity runs twice at a time. `kill` ends an actor as SIGKILL
does: nothing of it reaches a store any more, and what it had open in Postgres is undone.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from typing import Any, cast

from redis.asyncio import ConnectionPool

from leaseq.config import Config
from leaseq.connections.postgres_pool import Pool
from leaseq.connections.redis_connection import Guard
from leaseq.dispatch.blocking_pull import BlockingPull
from leaseq.dispatch.ownership import Ownership
from leaseq.dispatch.parts import parts_over
from leaseq.errors import ServerUnreachable
from leaseq.model import Lane
from leaseq.operations.engine import Engine
from leaseq.operations.recover import Death, session_name
from leaseq.operations.stores import stores_over
from leaseq.supervisor.heartbeat import Heartbeat
from leaseq.supervisor.protocol import ChildSpec
from leaseq.worker.attempt.outcome import Stop
from leaseq.worker.build import compose
from leaseq_reaper.duties.dead_workers import DeadWorkers
from leaseq_reaper.duties.promote import Promote
from leaseq_reaper.duties.refill import Refill
from leaseq_reaper.duties.suspicion import Suspicion
from leaseq_reaper.reconcile.reconcile import Reconcile
from simulation import app
from simulation.gates import ACTIVITY, Gate, Yard
from simulation.lines import GatedRedis, GatedSession, Lines, Transactions
from support.dispatch import KEYS

Book = set[tuple[str, int, bool]]

QUEUE = "default"
SLOTS = 2
WINDOW = 2  # a lane is full with so few deliveries, and the rest waits in the ledger
KILLED = "killed"
# the reasons of those who close a worker without asking
FIRST_HAND = [KILLED, Stop.DRAIN.value, Stop.LEASE_LOST.value]
BELL_SECONDS = 0.001

_actor: ContextVar[Actor | None] = ContextVar("machine_actor", default=None)
_numbers = itertools.count(1)


class Ground:
    """The common ground of the actors of one run: servers, and the yard with their gates."""

    def __init__(
        self, config: Config, yard: Yard, lines: Lines, pool: ConnectionPool, book: Book
    ) -> None:
        self.config = config
        self.yard = yard
        self.lines = lines
        self.pool = pool
        self.book = book
        self.executor = ThreadPoolExecutor(1)  # for plain functions, of which there are none
        self.surprises: list[str] = []


class Actor:
    """One process, with its operations under way."""

    def __init__(self, ground: Ground, name: str) -> None:
        self.ground = ground
        self.name = name
        self.gate = Gate(ground.yard, name)
        self.tasks: set[asyncio.Task[Any]] = set()
        self.activities: dict[str, asyncio.Task[Any]] = {}
        self.redis = GatedRedis(ground.pool, self.gate)
        session = GatedSession(ground.lines, self.gate)
        stores = stores_over(
            session,
            parts_over(self.redis, KEYS, window=WINDOW),
            ownership=Ownership(self.redis, KEYS, Guard(), ledger_id="ledger"),
        )
        self.engine = Engine(ground.config, stores)

    @property
    def alive(self) -> bool:
        return not self.gate.shut

    def begin(self, activity: str, act: Callable[[], Coroutine[Any, Any, Any]]) -> bool:
        """Start an activity, unless it is under way."""
        if self.busy(activity) or not self.alive:
            return False
        context = copy_context()
        context.run(_actor.set, self)
        context.run(ACTIVITY.set, activity)
        self.prepare(context)
        task = asyncio.get_running_loop().create_task(act(), context=context)
        self.tasks.add(task)
        task.add_done_callback(self._done)
        self.activities[activity] = task
        return True

    def busy(self, activity: str) -> bool:
        return activity in self.activities and not self.activities[activity].done()

    def prepare(self, context: Any) -> None:
        """Set a context variable for everything that this process runs."""

    async def kill(self) -> None:
        self.gate.shut = True
        while alive := [task for task in self.tasks if not task.done()]:
            for task in alive:
                task.cancel()
            await asyncio.wait(alive)

    def _done(self, task: asyncio.Task[Any]) -> None:
        if (
            not task.cancelled()
            and (error := task.exception()) is not None
            and not isinstance(error, ServerUnreachable)
        ):
            self.ground.surprises.append(f"{self.name}: {type(error).__name__}: {error}")


def factory(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **options: Any
) -> asyncio.Task[Any]:
    """A task of the loop, known to the actor that starts it."""
    task = asyncio.Task(work, loop=loop, **options)
    actor = _actor.get()
    if actor is not None:
        actor.tasks.add(task)
        if not actor.alive:
            task.cancel()
    return task


class Hand(Actor):
    """A worker: the child with its handlers, and the supervisor's part that keeps its lease."""

    def __init__(self, ground: Ground, name: str, *, isolated: bool) -> None:
        super().__init__(ground, name)
        self.worker_id = f"{name}-{next(_numbers)}"
        self.isolated = isolated
        self.hired = self.over = False
        self.beat = Heartbeat(ground.config, self.engine.stores, [QUEUE])
        self.transactions = Transactions(
            ground.lines.url, self.gate, name=session_name(self.worker_id), worker_id=self.worker_id
        )
        slots = 1 if isolated else SLOTS
        spec = ChildSpec(
            worker_id=self.worker_id,
            app="",
            queues=[QUEUE],
            concurrency=slots,
            isolated=isolated,
            renewed_at=0.0,
        )
        lane = Lane.SUSPECT if isolated else Lane.NORMAL
        bell = BlockingPull(
            self.redis,
            KEYS,
            queue=QUEUE,
            worker_id=self.worker_id,
            block_seconds=BELL_SECONDS,
            lane=lane,
        )
        self.worker = compose(
            self.engine,
            app.handlers(),
            spec,
            pool=cast(Pool, self.transactions),
            threads=ground.executor,
            doorbells={QUEUE: bell},
        )

    def prepare(self, context: Any) -> None:
        context.run(app.WORK.set, self._work)
        context.run(app.BOOK.set, self.ground.book)

    def act(self, activity: str) -> bool:
        """Start one of its activities; only the hiring until it is hired, and nothing new once it
        is on its way out."""
        rounds: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
            "pull": self._pull,
            "sweep": self.worker.list_audit.run_once,
            "beat": self._beat_once,
            "watch": self.worker.cancel_watch.run_once,
            "retire": self._retire,
        }
        if not self.hired and not self.over:
            return self.begin("hire", self.hire)
        if self.over or (activity != "beat" and self.busy("retire")):
            return False
        return self.begin(activity, rounds[activity])

    @property
    def is_spent(self) -> bool:
        """Whether an isolation child would end itself, because a task left something behind
        (`Child._watch_slots`). Here each does: the actor keeps its asyncio tasks."""
        return self.isolated and self.hired and self.worker.slots.lingering > 0

    async def hire(self) -> None:
        """As a supervisor does it: the ledger first, then the leases."""
        try:
            await self.engine.stores.workers.open_worker(
                self.worker_id, host="here", pid=1, queues=[QUEUE], version="0"
            )
        except ServerUnreachable:
            # it may be recorded all the same; the next one to be hired has another id
            self.over = True
            return
        await self.beat.open(self.worker_id)
        self.hired = True

    async def kill(self) -> None:
        self.gate.shut = True
        self.transactions.hang_up()
        await super().kill()

    async def _pull(self) -> None:
        await self.worker.intakes[QUEUE]._round(self.worker._stop)

    async def _beat_once(self) -> None:
        verdict = (await self.beat.beat([self.worker_id])).get(self.worker_id)
        if verdict is not None and verdict.lease_lost is not None:
            self.begin("retire", lambda: self._leave(Stop.LEASE_LOST))

    async def _retire(self) -> None:
        await self._leave(Stop.DRAIN)

    async def _leave(self, reason: Stop) -> None:
        """Hand back what runs, and be closed: by its own hand, or (fenced) by its supervisor's."""
        hurry = asyncio.Event()
        hurry.set()
        await self.worker.drain(0.0, hurry=hurry, reason=reason)
        await self.engine.recovery.recover(
            Death(worker_id=self.worker_id, queues=[QUEUE], reason=reason.value, blame=False)
        )
        self.over = True

    async def _work(self) -> None:
        async def nothing() -> None:
            return None

        await self.gate.cross("work", nothing, lambda: RuntimeError("something went wrong outside"))


class Sidecar(Actor):
    """A reaper: all its passes but the pruning, each as often as the test likes, by the clock of
    the test."""

    def __init__(self, ground: Ground, name: str) -> None:
        super().__init__(ground, name)
        clock = asyncio.get_running_loop().time
        suspicion = Suspicion(lease_seconds=ground.config.lease_seconds, clock=clock)
        reconcile = Reconcile(
            self.engine.stores,
            self.engine.recovery,
            interval_seconds=self.engine.config.reconcile_interval_seconds,
            on_loss=suspicion.suspend,
            clock=clock,
        )
        reaping = DeadWorkers(
            self.engine.stores,
            self.engine.recovery,
            suspicion,
            on_lost_list=reconcile.full_scan_soon,
            clock=clock,
        )
        self._passes: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "reap": reaping.run_once,
            "promote": Promote(self.engine.stores, clock=clock).run_once,
            "refill": Refill(self.engine.stores, clock=clock).run_once,
            "reconcile": reconcile.run_once,
        }

    def act(self, activity: str) -> bool:
        """Start a pass."""
        return self.begin(activity, self._passes[activity])

    def bury(self, worker_id: str) -> bool:
        """Recover a worker whose death is known first-hand, as its supervisor does."""
        death = Death(worker_id=worker_id, queues=[QUEUE], reason=KILLED)
        return self.begin(f"bury {worker_id}", lambda: self._bury(death))

    async def _bury(self, death: Death) -> None:
        await self.engine.recovery.recover(death)


__all__ = ["FIRST_HAND", "QUEUE", "Actor", "Ground", "Hand", "Sidecar", "factory"]
