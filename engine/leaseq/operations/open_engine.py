"""Open an engine: connect to both stores, and keep checking both servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from leaseq.config import Config
from leaseq.connections.postgres import check_reachable, open_pool, refresh_timeline
from leaseq.connections.primary import primary_at
from leaseq.connections.redis import open_redis
from leaseq.connections.redis_connection import Guard
from leaseq.dispatch.keys import Keys
from leaseq.dispatch.ownership import Ownership
from leaseq.dispatch.parts import parts_over
from leaseq.errors import DispatchForeign, ServerUnreachable
from leaseq.ledger.server import read_ledger_id
from leaseq.ledger.session import MARGIN_SECONDS, Session
from leaseq.loop import end, run_forever
from leaseq.observability.tracing import find_tracing
from leaseq.operations.engine import Engine
from leaseq.operations.queue_limits import REFRESH_SECONDS, QueueLimits
from leaseq.operations.stores import stores_over

# From one check of the primary to the next.
PRIMARY_CHECK_SECONDS = 3.0


@asynccontextmanager
async def open_engine(
    config: Config, *, name: str = "leaseq", pool_size: int = 4, announces: bool = True
) -> AsyncIterator[Engine]:
    """Connect to both stores for as long as the block lasts.

    With `announces` false, for a caller that only reads, dispatch does not learn which ledger and
    which timeline of Postgres this process has seen.

    Redis may be away. Raises `ServerUnreachable` where Postgres is or where its server is not the
    primary, `SchemaMismatch`, and `DispatchForeign` where the prefix in Redis belongs to another
    ledger.
    """
    pool = await open_pool(config, name=name, max_size=pool_size)
    primary, guard = primary_at(str(config.postgres_url)), Guard()
    redis = open_redis(config, name=name, guard=guard)
    try:
        session = Session(pool, deadline_seconds=config.statement_timeout_seconds + MARGIN_SECONDS)
        keys = Keys(config.redis_prefix)
        stores = stores_over(
            session,
            parts_over(redis, keys, window=config.dispatch_window, repairs=announces),
            ownership=Ownership(
                redis,
                keys,
                guard,
                ledger_id=await read_ledger_id(session),
                primary=primary,
                announces=announces,
            ),
        )
        async with (
            _ownership_checks(stores.ownership, every=config.reconcile_interval_seconds),
            _primary_checks(config, name=name),
        ):
            if primary.outdated:
                # Dispatch knows a newer timeline: refuse this server now, unless another host of
                # the URL is the primary.
                await check_reachable(config, name=name)
            engine = Engine(config, stores, tracing=find_tracing(config))
            try:
                async with _known_queues(engine.queue_limits):
                    yield engine
            finally:
                await engine.aclose()
    finally:
        await asyncio.gather(pool.close(), redis.aclose(), return_exceptions=True)


@asynccontextmanager
async def _ownership_checks(ownership: Ownership, *, every: float) -> AsyncIterator[None]:
    """Refuse a prefix of another ledger now, and check it every `every` seconds while the block
    lasts."""

    async def check() -> None:
        # `Ownership.check` has emitted the event, and every command fails. A store that is away is
        # reported by the code that needs it.
        with suppress(ServerUnreachable):
            await ownership.check()

    try:
        await ownership.check()
    except DispatchForeign:
        raise
    except ServerUnreachable:
        pass
    checks = asyncio.create_task(
        run_forever(check, name="ownership", interval_seconds=every, stop=asyncio.Event())
    )
    try:
        yield
    finally:
        await end(checks)


@asynccontextmanager
async def _known_queues(limits: QueueLimits) -> AsyncIterator[None]:
    """Read which queues have a limit now, and every few seconds while the block lasts."""
    await limits.refresh()

    async def refresh() -> None:
        await asyncio.sleep(REFRESH_SECONDS)
        await limits.refresh()

    reads = asyncio.create_task(
        run_forever(refresh, name="queue limits", interval_seconds=0, stop=asyncio.Event())
    )
    try:
        yield
    finally:
        await end(reads)


@asynccontextmanager
async def _primary_checks(config: Config, *, name: str) -> AsyncIterator[None]:
    """Check every few seconds which server the URL of Postgres leads to, while the block lasts.

    An open connection does not show a failover: an old primary that lives on answers as before, and
    would be believed until a new connection is made.
    """

    async def check() -> None:
        await asyncio.sleep(PRIMARY_CHECK_SECONDS)
        await refresh_timeline(config, name=name)

    checks = asyncio.create_task(
        run_forever(check, name="primary", interval_seconds=0, stop=asyncio.Event())
    )
    try:
        yield
    finally:
        await end(checks)


__all__ = ["open_engine"]
