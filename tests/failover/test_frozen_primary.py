"""A frozen primary is left after one unanswered statement.

Its kernel still accepts connections and acknowledges packets, so no connection ever fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.errors import ServerUnreachable
from leaseq.model import DEFAULT_TENANT
from leaseq.observability.telemetry import recorded
from leaseq.operations.engine import Engine
from leaseq.operations.open_engine import open_engine
from support.ledger import submission
from support.proxy import ProxyTo
from support.servers import Pair

# Two servers of its own for each test.
CONNECTIONS = 3


@pytest.fixture
def frozen(pair: Pair) -> Iterator[Pair]:
    yield pair
    pair.primary.thaw()


async def use_all(engine: Engine) -> None:
    """Every connection of the pool is open, and was used a moment ago."""
    pool = engine.stores.tasks._session.pool
    conns = [await pool.getconn() for _ in range(CONNECTIONS)]
    for conn in conns:
        await conn.execute("select 1")
        await pool.putconn(conn)


@pytest.mark.parametrize("moves", [True, False], ids=["the address moves", "two hosts in the URL"])
async def test_one_time_out_is_enough_to_leave_it(
    config: Config, frozen: Pair, proxy_to: ProxyTo, moves: bool
) -> None:
    proxy = await proxy_to(frozen.primary.url)
    url = proxy.url if moves else frozen.both()
    failures = 0
    async with open_engine(
        replace(config, postgres_url=url, statement_timeout_seconds=2), pool_size=CONNECTIONS
    ) as engine:
        await use_all(engine)
        frozen.primary.freeze()
        await asyncio.to_thread(frozen.standby.promote)
        proxy.lead_to(frozen.standby.url)
        with recorded() as events:
            while failures < 2 * CONNECTIONS:
                try:
                    await engine.submit(submission())
                    break
                except ServerUnreachable:
                    failures += 1
    assert failures <= 2, (
        "one statement that was not answered, and perhaps one that waited for a connection meanwhile"
    )
    (left,) = [event.fields["connections"] for event in events if event.name == "ledger.left"]
    assert left >= CONNECTIONS, "and perhaps one that the pool was opening"


async def test_statements_that_wait_for_it_end_with_the_first(
    config: Config, frozen: Pair, proxy_to: ProxyTo
) -> None:
    """Later statements do not wait for their own time-out."""
    proxy = await proxy_to(frozen.primary.url)
    settings = replace(config, postgres_url=proxy.url, statement_timeout_seconds=3)
    async with open_engine(settings, pool_size=CONNECTIONS) as engine:
        await use_all(engine)
        frozen.primary.freeze()
        first = asyncio.create_task(engine.for_tenant(DEFAULT_TENANT).find("0" * 32))
        await asyncio.sleep(2.5)
        second = asyncio.create_task(engine.for_tenant(DEFAULT_TENANT).find("0" * 32))
        await asyncio.wait([first])
        # Its own time-out would come two and a half seconds later than that of the first.
        await asyncio.wait([second], timeout=2)
        assert isinstance(first.exception(), ServerUnreachable)
        assert second.done()
        assert isinstance(second.exception(), ServerUnreachable)
