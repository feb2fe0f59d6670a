"""The visible effects of each failover.

The proofs of those nemeses, for tests/chaos/test_nemeses.py, which they come to by being imported
there.
"""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from redis.exceptions import ReadOnlyError

from leaseq_chaos.cluster.cluster import Cluster
from leaseq_chaos.cluster.stores import Postgres
from support.nemeses import Hurt, ended, eventually, proves, stopped


@proves(
    "failover-postgres",
    "failover-postgres-sync",
    "failover-frozen-postgres",
    "failover-killed-postgres",
)
async def _(cluster: Cluster, hurt: Hurt) -> None:
    old = cluster.postgres
    assert (await ended(cluster, "note", {"n": 1}))["state"] == "SUCCESS"
    async with hurt as injury:
        new = cluster.postgres
        assert new.timeline == old.timeline + 1 == injury.detail["timeline"] + 1
        assert await tasks(new) > 0, "it has what the old one had"
        assert all(proxy.leads_to == new.port for proxy in cluster.links("postgres"))
        assert old.branched == injury.detail["branched"]
        await FATES[injury.detail["fate"]](old)
    assert old.sealed
    assert await new.fetch("find_standbys") == []


@proves("failover-readonly-postgres")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    old = cluster.postgres
    async with hurt:
        assert cluster.postgres is not old
        assert old.server.pid is None
        async with await cluster.postgres.connect() as conn:
            await conn.execute("create temp table writable (n int)")
    assert old.sealed


@proves("lose-standby-postgres", "lose-standby-postgres-long")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    async with hurt as injury:
        assert all(stopped(pid) for pid in injury.pids)
        assert await waits(cluster.postgres)
        ((written,),) = await cluster.postgres.fetch("find_flushed")
        assert written > injury.detail["flushed"], "it is written here and there alone"
    assert not await waits(cluster.postgres)


@proves("demote-valkey", "split-valkey")
async def _(cluster: Cluster, hurt: Hurt) -> None:
    old = cluster.valkey
    async with old.client() as client:
        await client.set("handed-over", "1")
        async with hurt as injury:
            assert cluster.valkey.port != old.port == injury.detail["old_port"]
            if injury.detail["demoted"]:
                with pytest.raises(ReadOnlyError):
                    await client.set("handed-over", "2")
            else:
                await client.set("handed-over", "2")
            async with cluster.valkey.client() as new:
                assert await new.getdel("handed-over") == "1"
    await eventually(lambda: old.server.pid is None)


async def lives(old: Postgres) -> None:
    """It still takes writes."""
    async with await old.connect() as conn:
        await conn.execute("set synchronous_commit = local")
        await conn.execute("create table if not exists chaos.late (n int)")


async def freezes(old: Postgres) -> None:
    await eventually(lambda: all(stopped(pid) for pid in old.pids()))


async def dies(old: Postgres) -> None:
    assert old.server.pid is None
    with pytest.raises(psycopg.OperationalError):
        await old.connect()


FATES = {"lives": lives, "freezes": freezes, "dies": dies}


async def tasks(postgres: Postgres) -> int:
    return len(await postgres.fetch("list_tasks"))


async def waits(postgres: Postgres) -> bool:
    """Whether a commit waits for a standby that does not answer."""
    async with await postgres.connect() as conn:
        try:
            async with asyncio.timeout(1):
                await conn.execute("select pg_logical_emit_message(true, 'chaos', '')")
        except TimeoutError:
            return True
    return False
