"""Build a worker from its parts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack
from secrets import token_hex

import msgspec

from leaseq.batch_pause import BatchPause
from leaseq.connections.postgres import open_handler_pool
from leaseq.connections.postgres_connection import FastCancelConnection
from leaseq.connections.postgres_pool import Pool
from leaseq.connections.primary import primary_at
from leaseq.connections.redis import open_blocking_redis
from leaseq.dispatch.blocking_pull import BlockingPull
from leaseq.dispatch.dispatcher import OPEN_LANES
from leaseq.dispatch.keys import Keys
from leaseq.errors import Fenced
from leaseq.model import Credential, Lane
from leaseq.operations.engine import Engine
from leaseq.operations.recover import session_name
from leaseq.registry import Registry
from leaseq.supervisor.protocol import FEW_QUEUES, ChildSpec
from leaseq.worker.attempt.attempt_handle import HandleServices
from leaseq.worker.attempt.commit import Committer
from leaseq.worker.attempt.deadlines import Deadlines
from leaseq.worker.attempt.decide import Decider
from leaseq.worker.attempt.outages import Outages
from leaseq.worker.attempt.run_handler import HandlerRunner
from leaseq.worker.attempt.services import AttemptServices
from leaseq.worker.attempt.settle import Settler
from leaseq.worker.attempt.traced_settles import TracedSettles
from leaseq.worker.cancel_watch import CancelWatch
from leaseq.worker.expedite import Expediter
from leaseq.worker.in_flight import InFlight
from leaseq.worker.intake.claim import QueueClaims
from leaseq.worker.intake.claimer import Claimer
from leaseq.worker.intake.intake import Intake
from leaseq.worker.intake.lane_watch import LaneWatch
from leaseq.worker.intake.list_audit import ListAudit
from leaseq.worker.intake.locked_deliveries import LockedDeliveries
from leaseq.worker.intake.queue_deliveries import QueueDeliveries
from leaseq.worker.intake.queue_source import QueueSource
from leaseq.worker.release import Releaser
from leaseq.worker.running_attempts import RunningAttempts
from leaseq.worker.slots import Slots
from leaseq.worker.worker import Worker

BLOCK_SECONDS = 1.0
TRANSACTION_CONNECTIONS = 20
IDENTIFY_SECONDS = 5.0
# A handler's statement may take as long as its task: the attempt's own time-out ends it.
HANDLER_STATEMENT_SECONDS = 86_400.0


async def build_worker(
    stack: AsyncExitStack, engine: Engine, registry: Registry, *, spec: ChildSpec
) -> Worker:
    """A worker for `spec`; its connections and threads end with `stack`."""
    if engine.tracing is not None:
        engine.tracing.follow_endings()
        stack.push_async_callback(engine.tracing.close)
    threads = ThreadPoolExecutor(spec.concurrency, thread_name_prefix="leaseq")
    # A thread cannot be ended: the exit does not wait for one.
    stack.callback(threads.shutdown, wait=False, cancel_futures=True)
    pool = await _transaction_pool(stack, engine, spec)
    doorbells = {queue: _doorbell(stack, engine, spec, queue) for queue in spec.queues}
    return compose(engine, registry, spec, pool=pool, threads=threads, doorbells=doorbells)


def compose(
    engine: Engine,
    registry: Registry,
    spec: ChildSpec,
    *,
    pool: Pool,
    threads: Executor,
    doorbells: Mapping[str, BlockingPull],
) -> Worker:
    """Put the parts of a worker together. Called in the main task of its process.

    `pool`: the connections for handlers' transactions. `threads`: those of plain handlers.
    """
    stores = engine.stores
    outages = Outages(stores.tasks, primary_at(str(engine.config.postgres_url)))
    services = _services(engine, registry, spec, pool=pool, threads=threads, outages=outages)
    attempts = RunningAttempts(services)
    claimer = Claimer(stores.tasks, stores.workers, worker_id=spec.worker_id)
    locked = LockedDeliveries(stores.tasks, services.in_flight)
    lanes = (Lane.SUSPECT,) if spec.isolated else OPEN_LANES
    watch = (
        LaneWatch(stores.dispatcher, lanes=lanes, bell=_bell_lane(spec))
        if len(doorbells) > FEW_QUEUES
        else None
    )
    expediter = None if spec.isolated else Expediter(stores.task_types, registry, spec.queues)

    def intake(queue: str, doorbell: BlockingPull) -> Intake:
        source = QueueSource(
            stores.dispatcher,
            doorbell,
            queue=queue,
            worker_id=spec.worker_id,
            lanes=lanes,
            watch=watch,
        )
        deliveries = QueueDeliveries(
            queue,
            worker_id=spec.worker_id,
            ledger=stores.tasks,
            ownership=stores.ownership,
            releaser=services.releaser,
            in_flight=services.in_flight,
        )
        claims = QueueClaims(claimer, ledger=stores.tasks, locked=locked, deliveries=deliveries)
        return Intake(
            source, deliveries=deliveries, claims=claims, slots=services.slots, start=attempts.start
        )

    intakes = {queue: intake(queue, doorbell) for queue, doorbell in doorbells.items()}
    return Worker(
        attempts,
        claimer,
        intakes=intakes,
        list_audit=ListAudit(
            intakes,
            worker_id=spec.worker_id,
            dispatcher=stores.dispatcher,
            in_flight=services.in_flight,
            locked=locked,
            releaser=services.releaser,
        ),
        cancel_watch=CancelWatch(stores.tasks, attempts, outages),
        duties=[duty for duty in (watch, expediter) if duty is not None],
    )


def _services(
    engine: Engine,
    registry: Registry,
    spec: ChildSpec,
    *,
    pool: Pool,
    threads: Executor,
    outages: Outages,
) -> AttemptServices:
    config, stores, loop = engine.config, engine.stores, asyncio.get_running_loop()
    traced = None
    if engine.tracing is not None and config.trace_batches:
        traced = TracedSettles(stores.tasks, engine.tracing)
    settler = Settler(
        stores.tasks,
        capacity=2 * spec.concurrency,
        pause=BatchPause(large=spec.concurrency),
        traced=traced,
    )
    return AttemptServices(
        loop=loop,
        handlers=HandlerRunner(
            registry,
            Deadlines(loop),
            pool=threads,
            result_max_bytes=config.result_max_bytes,
            isolated=spec.isolated,
            tracing=engine.tracing,
        ),
        handle=HandleServices(
            loop=loop,
            ledger=stores.tasks,
            pool=pool,
            statement_timeout_seconds=config.statement_timeout_seconds,
            codec=registry.codec,
        ),
        decider=Decider(config, outages, codec=registry.codec, tracing=engine.tracing),
        committer=Committer(stores.tasks, settler),
        settler=settler,
        releaser=Releaser(
            stores.dispatcher, worker_id=spec.worker_id, capacity=2 * spec.concurrency
        ),
        slots=Slots(spec.concurrency),
        in_flight=InFlight(),
    )


async def _transaction_pool(stack: AsyncExitStack, engine: Engine, spec: ChildSpec) -> Pool:
    """The connections for handlers, under the role for handlers, with a secret that the SQL of
    handlers cannot read."""
    config, workers = engine.config, engine.stores.workers
    handlers = msgspec.structs.replace(
        config,
        postgres_url=config.handler_postgres_url or config.postgres_url,
        handler_postgres_url=None,
        statement_timeout_seconds=HANDLER_STATEMENT_SECONDS,
    )
    credential = Credential(spec.worker_id, token_hex(16))
    size = min(spec.concurrency, TRANSACTION_CONNECTIONS)

    async def admit(conn: FastCancelConnection) -> None:
        """Register this session, so that a recovery finds it under any name that a handler gives
        it.

        The secret is written for each new connection, because a failover, which replaces them all,
        may have lost it.
        """
        async with asyncio.timeout(IDENTIFY_SECONDS):
            session = await workers.identify_session(conn)
        registered = await workers.register_session(spec.worker_id, session)
        if not (registered and await workers.set_secret(spec.worker_id, credential.secret)):
            raise Fenced(f"worker {spec.worker_id} is closed")
        conn.credential = credential

    pool = await open_handler_pool(
        handlers, name=session_name(spec.worker_id), max_size=size, admit=admit
    )
    stack.push_async_callback(pool.close)
    return pool


def _doorbell(stack: AsyncExitStack, engine: Engine, spec: ChildSpec, queue: str) -> BlockingPull:
    config, guard = engine.config, engine.stores.ownership.guard
    redis = open_blocking_redis(
        config, name=f"leaseq {spec.worker_id}", block_seconds=BLOCK_SECONDS, guard=guard
    )
    keys = Keys(config.redis_prefix)
    doorbell = BlockingPull(
        redis,
        keys,
        queue=queue,
        worker_id=spec.worker_id,
        block_seconds=BLOCK_SECONDS,
        lane=_bell_lane(spec),
    )
    stack.push_async_callback(doorbell.aclose)
    return doorbell


def _bell_lane(spec: ChildSpec) -> Lane:
    """The lane that holds something whenever another lane of the worker does."""
    return Lane.SUSPECT if spec.isolated else Lane.NORMAL


__all__ = ["BLOCK_SECONDS", "build_worker", "compose"]
