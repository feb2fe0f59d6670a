"""Prepare both stores for a test of the reaper, and advance time.

Workers here are rows and leases without a process: they live when the test says so (`alive`) and
are silent otherwise. The reaper's own clock is the test's; only the ledger's opinion of a worker's
silence is written into its row directly.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import psycopg

from leaseq.model import Claim, Lane, Task
from leaseq.operations.engine import Engine
from leaseq_reaper.duties.suspicion import Clock
from leaseq_reaper.duties.unused_queues import UnusedQueues
from leaseq_reaper.reconcile.reconcile import Reconcile
from support.dispatch import KEYS
from support.ledger import RETENTION, submission

QUEUE = "default"
WINDOW = 10  # of a narrow stage
_names = itertools.count(1)


class FakeClock:
    """A monotonic clock that moves only when the test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def reconciler(engine: Engine, **options: Any) -> Reconcile:
    """The duty to reconcile, on the stores of an engine."""
    seconds = engine.config.reconcile_interval_seconds
    return Reconcile(engine.stores, engine.recovery, interval_seconds=seconds, **options)


def unused_queues(engine: Engine, *, clock: Clock) -> UnusedQueues:
    """The part of the duty to prune that forgets queues."""
    return UnusedQueues(
        engine.stores, interval_seconds=engine.config.prune_interval_seconds, clock=clock
    )


class Stage:
    """Both stores, as a test of the reaper sees them."""

    def __init__(self, engine: Engine, plain: psycopg.AsyncConnection[Any]) -> None:
        self.engine = engine
        self.stores = engine.stores
        self.plain = plain
        # The client itself, whose types are wider than what it is asked for here.
        self.redis: Any = engine.stores.lists._client

    async def worker(
        self, *, host: str = "here", queues: Sequence[str] = (QUEUE,), leased: bool = True
    ) -> str:
        """An open worker, known to both stores (or with `leased` false to the ledger
        alone)."""
        worker_id = f"worker{next(_names)}"
        await self.stores.workers.open_worker(
            worker_id, host=host, pid=1, queues=list(queues), version="0"
        )
        if leased:
            await self.lease(worker_id, queues=queues)
        return worker_id

    async def lease(self, worker_id: str, *, queues: Sequence[str] = (QUEUE,)) -> None:
        for queue in queues:
            await self.stores.leases.open(
                queue,
                worker_id=worker_id,
                lease_seconds=self.engine.config.lease_seconds,
                token="first",
            )

    async def silence(self, *worker_ids: str) -> None:
        """Set their last heartbeats in the ledger back by a minute."""
        for table, key, column in (
            ("workers", "id", "last_seen"),
            ("heartbeats", "worker_id", "seen_at"),
        ):
            query = f"update leaseq.{table} set {column} = now() - interval '1 minute' where {key} = any(%s)"
            await self.plain.execute(query.encode(), [list(worker_ids)])

    async def alive(self, worker_id: str) -> None:
        """One heartbeat, in both stores."""
        await self.stores.workers.touch([worker_id])
        await self.lease(worker_id)

    async def submit(
        self, count: int = 1, *, push: bool = True, quiet: bool = True, **said: Any
    ) -> list[str]:
        """So many PENDING tasks, delivered or not. With `quiet` they have waited for a while."""
        # Ids of the same millisecond are in no order: put them in one.
        batch = sorted((submission(**said) for _ in range(count)), key=lambda s: s.task_id)
        created = await self.stores.tasks.submit(batch, retention_seconds=RETENTION)
        if quiet:
            await self.plain.execute(
                "update leaseq.tasks set run_at = run_at - interval '10 seconds'"
            )
        ids = [s.task_id for s in batch]
        if push:
            for answer in filter(None, (created[task_id] for task_id in ids)):
                await self.stores.dispatcher.push(answer.queue, [answer.task_id], lane=answer.lane)
        return ids

    async def take(self, worker_id: str, limit: int = 500) -> list[Claim]:
        """Pull and claim, as a worker does."""
        found = await self.stores.dispatcher.pull(QUEUE, worker_id=worker_id, limit=limit)
        claimed = await self.stores.tasks.claim(found.task_ids, worker_id=worker_id)
        return [task.claim for task in claimed]

    async def lane(self, lane: Lane = Lane.NORMAL, *, queue: str = QUEUE) -> list[str]:
        """The contents of a ready list, from its head."""
        return [value.decode() for value in await self.redis.lrange(KEYS.ready(queue, lane), 0, -1)]

    async def backlog(self, lane: Lane = Lane.NORMAL, *, queue: str = QUEUE) -> str | None:
        """Where the backlog of a lane begins."""
        found = (await self.stores.lane_backlogs.read(queue)).get(lane)
        return None if found is None else found.cursor

    async def held(self, worker_id: str) -> list[str]:
        """The contents of a processing list."""
        return (await self.stores.dispatcher.held(QUEUE, worker_id=worker_id)).task_ids

    async def task(self, task_id: str) -> Task:
        return (await self.stores.tasks.find([task_id], tenant="default"))[task_id]

    async def losses(self) -> list[tuple[str, int]]:
        """Every attempt that was settled as lost."""
        cursor = await self.plain.execute(
            "select task_id::text, attempt from leaseq.attempts where outcome = 'lost' order by 1, 2"
        )
        return [(row[0], row[1]) for row in await cursor.fetchall()]


async def watch(
    run_once: Callable[[], Awaitable[None]], clock: FakeClock, *, seconds: float, claim: float = 1.0
) -> None:
    """Passes for so long, each a bit less than half a lease after the one before."""
    end = clock.now + seconds
    while clock.now < end - 1e-9:
        clock.now = min(end, clock.now + 0.4 * claim)
        await run_once()


def names(events: Sequence[Any]) -> list[str]:
    """The names of recorded events."""
    return [event.name for event in events]


def named(events: Sequence[Any], name: str) -> list[dict[str, Any]]:
    """The fields of the recorded events of that name."""
    return [event.fields for event in events if event.name == name]
