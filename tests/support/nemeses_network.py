"""The visible effects of each network fault.

The proofs of those nemeses, for tests/chaos/test_nemeses.py, which they come to by being imported
there.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic

import psycopg
import pytest

from leaseq_chaos.cluster.cluster import Cluster
from leaseq_chaos.cluster.proxy import Proxy
from leaseq_chaos.nemesis.nemesis import Injury
from support.nemeses import HELLO, SILENCE, SOON, Hurt, asked, eventually, proves, store_of


@proves("delay-postgres", "delay-valkey", "delay-api")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    async with hurt as injury:
        began = monotonic()
        assert await asked(only(cluster, injury))
        assert monotonic() - began > 0.5


@proves(*(f"{kind}-{store}" for kind in ("stall", "one-way", "half-open") for store in HELLO))
async def _(cluster: Cluster, hurt: Hurt) -> None:
    async with hurt as injury:
        with pytest.raises(TimeoutError):
            await asked(only(cluster, injury), patience=SILENCE)


@proves(*(f"reset-{store}" for store in HELLO))
async def _(cluster: Cluster, hurt: Hurt) -> None:
    ways = [proxy for proxy in cluster.proxies.values() if proxy.name.endswith("-1")]
    connections = {
        proxy.name: await asyncio.open_connection("127.0.0.1", proxy.port) for proxy in ways
    }
    for proxy in ways:
        reader, writer = connections[proxy.name]
        writer.write(HELLO[store_of(proxy)])
        assert await reader.read(1), "it leads to the server"
    async with hurt as injury, asyncio.timeout(SOON):
        reader, _ = connections[only(cluster, injury).name]
        with pytest.raises(ConnectionResetError):
            await reader.read()
    for _, writer in connections.values():
        writer.close()


@proves(*(f"refuse-{store}" for store in HELLO))
async def _(cluster: Cluster, hurt: Hurt) -> None:
    async with hurt as injury:
        with pytest.raises(ConnectionError):
            await asked(only(cluster, injury))


@proves(*(f"{kind}-{store}" for kind in ("drop-reply", "cut") for store in HELLO))
async def _(cluster: Cluster, hurt: Hurt) -> None:
    before = {name: proxy.lost_replies + proxy.cuts for name, proxy in cluster.proxies.items()}
    async with hurt as injury:
        way = only(cluster, injury)
        async with asyncio.timeout(SOON):
            # the first one of all that use this way
            while way.lost_replies + way.cuts == before[way.name]:
                with suppress(ConnectionError):
                    await asked(way)


@proves("lose-doorbell-valkey")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    before = {name: proxy.lost_replies for name, proxy in cluster.proxies.items()}
    async with hurt as injury:
        way = only(cluster, injury)
        # an idle worker asks at least once a second
        await eventually(lambda: way.lost_replies > before[way.name])


@proves("lose-commit-postgres")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    async with hurt as injury:
        way = only(cluster, injury)
        lost = way.lost_replies
        conn = await psycopg.AsyncConnection.connect(cluster.postgres.url, port=way.port)
        try:
            await conn.execute("update chaos.accounts set cents = cents + 7")
            assert way.lost_replies == lost, "other replies pass"
            with pytest.raises(psycopg.OperationalError):
                await conn.commit()
        finally:
            await conn.close()
    async with await cluster.postgres.connect() as conn:
        rows = await (await conn.execute("select distinct cents from chaos.accounts")).fetchall()
        await conn.execute("update chaos.accounts set cents = cents - 7")
    assert rows == [(107,)], "it was committed, and only its reply is lost"


def only(cluster: Cluster, injury: Injury) -> Proxy:
    (name,) = injury.detail
    assert injury.target == name
    return cluster.proxies[name]
