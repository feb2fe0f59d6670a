"""Start the reaper, run its duties, and stop it.

The reaper waits for servers that are not there yet, runs its duties concurrently, and ends within
about a second of a stop signal, regardless of the state of the servers. Any number of reapers may
run at the same time, and none is the leader: each takes the work that it finds, and work that two
of them find is done once, because the ledger decides (docs/pitfalls.md#p28).
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack, suppress
from typing import Any

import uvloop

from leaseq.config import Config
from leaseq.errors import DispatchForeign, ServerUnreachable
from leaseq.ledger.schema import require_schema
from leaseq.loop import Pauses, Retries, retry
from leaseq.metrics.listener import serving_metrics
from leaseq.metrics.tally import TALLY
from leaseq.observability.telemetry import emit
from leaseq.operations.engine import Engine
from leaseq.operations.open_engine import open_engine
from leaseq_reaper.cluster_metrics import ClusterMetrics
from leaseq_reaper.duties.admit import INTERVAL_SECONDS as ADMIT_SECONDS
from leaseq_reaper.duties.admit import Admit
from leaseq_reaper.duties.audit_limits import INTERVAL_SECONDS as AUDIT_SECONDS
from leaseq_reaper.duties.audit_limits import AuditLimits
from leaseq_reaper.duties.count_failures import INTERVAL_SECONDS as COUNT_SECONDS
from leaseq_reaper.duties.count_failures import CountFailures
from leaseq_reaper.duties.dead_workers import DeadWorkers
from leaseq_reaper.duties.fair_queues import INTERVAL_SECONDS as QUEUES_SECONDS
from leaseq_reaper.duties.fair_queues import FairQueues
from leaseq_reaper.duties.fire import INTERVAL_SECONDS as FIRE_SECONDS
from leaseq_reaper.duties.fire import Fire
from leaseq_reaper.duties.fold_statistics import FOLD_SECONDS, FoldStatistics
from leaseq_reaper.duties.promote import Promote
from leaseq_reaper.duties.prune import Prune
from leaseq_reaper.duties.refill import Refill
from leaseq_reaper.duties.suspicion import Suspicion
from leaseq_reaper.duty_runner import Duty, PassRunner, run_duties
from leaseq_reaper.reconcile.reconcile import Reconcile

CLOSE_SECONDS = 0.4
CONNECT_PAUSES = Pauses(1.0)
POOL_SIZE = 5


def serve(config: Config) -> None:
    """Run a reaper in the foreground until SIGTERM or SIGINT. Raises `SchemaMismatch`,
    `ConfigInvalid`, `DispatchForeign`."""
    uvloop.run(_serve(config))


async def run(config: Config, stop: asyncio.Event) -> None:
    """Run a reaper until `stop` is set. Waits for servers that are not there yet. Raises
    `SchemaMismatch`, `ConfigInvalid`."""
    stack = AsyncExitStack()
    cluster = ClusterMetrics()
    try:
        await stack.enter_async_context(
            serving_metrics(config, "reaper", TALLY.series, cluster.series, refresh=cluster.refresh)
        )
        engine = await _connect(config, stack, stop)
        if engine is not None:
            cluster.engine = engine
            emit("reaper.started", pid=os.getpid(), lease_seconds=config.lease_seconds)
            await _run_announced(engine, stop)
            emit("reaper.stopped", pid=os.getpid())
    finally:
        try:
            # A server that does not answer must not delay the end.
            async with asyncio.timeout(CLOSE_SECONDS):
                await stack.aclose()
        except TimeoutError:
            pass


def duties(engine: Engine) -> list[Duty]:
    """All that a reaper does."""
    config, stores, recovery = engine.config, engine.stores, engine.recovery
    suspicion = Suspicion(lease_seconds=config.lease_seconds)

    def on_leases(queues: AbstractSet[str]) -> None:
        dead_workers.look_in(queues)

    reconcile = Reconcile(
        stores,
        recovery,
        interval_seconds=config.reconcile_interval_seconds,
        on_loss=suspicion.suspend,
        on_leases=on_leases,
    )
    promote, refill, failures = Promote(stores), Refill(stores), CountFailures(stores)
    admit = Admit(stores)
    dead_workers = DeadWorkers(stores, recovery, suspicion, on_lost_list=reconcile.full_scan_soon)
    return [
        Duty("promote", config.promote_interval_seconds, promote.run_once, promote.idle.factor),
        Duty("admit", ADMIT_SECONDS, admit.run_once, admit.idle.factor),
        Duty("audit", AUDIT_SECONDS, AuditLimits(stores).run_once),
        Duty("queues", QUEUES_SECONDS, FairQueues(stores).run_once),
        Duty("refill", config.promote_interval_seconds, refill.run_once, refill.idle.factor),
        Duty(
            "reap",
            config.reap_interval_seconds,
            dead_workers.run_once,
            describe=dead_workers.describe,
        ),
        Duty("fire", FIRE_SECONDS, Fire(stores, config).run_once),
        Duty("reconcile", config.reconcile_interval_seconds, reconcile.run_once),
        Duty("fold", FOLD_SECONDS, FoldStatistics(stores.statistics).run_once),
        Duty("failures", COUNT_SECONDS, failures.run_once, failures.idle.factor),
        Duty("prune", config.prune_interval_seconds, Prune(stores, config).run_once),
    ]


async def _run_announced(engine: Engine, stop: asyncio.Event) -> None:
    """Run the duties. The announcement of this process names those that fail."""
    passes, work = PassRunner(), duties(engine)

    def describe() -> dict[str, Any]:
        described: dict[str, Any] = {"failing": sorted(passes.failing)}
        for duty in work:
            described |= duty.describe()
        return described

    async with engine.announced("reaper", describe), engine.flushing_statistics("reaper"):
        await run_duties(work, stop, passes)


async def _serve(config: Config) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(config, stop)


async def _connect(config: Config, stack: AsyncExitStack, stop: asyncio.Event) -> Engine | None:
    """Open an engine once both servers answer. None: the reaper was stopped before."""

    async def connect() -> Engine:
        await require_schema(str(config.postgres_url))
        engine = await stack.enter_async_context(
            open_engine(config, name="leaseq reaper", pool_size=POOL_SIZE)
        )
        # later, with the first script that the server does not know
        with suppress(ServerUnreachable):
            await engine.stores.dispatcher.load_scripts()
        return engine

    retries = Retries(
        CONNECT_PAUSES,
        report=lambda error: emit("loop.failed", loop="connect", error=str(error)),
        stop=stop,
    )
    try:
        # A person has to give one of two ledgers another prefix.
        return await retry(connect, retries, unless=DispatchForeign)
    except DispatchForeign:
        raise
    except ServerUnreachable:
        return None


__all__ = ["duties", "run", "serve"]
