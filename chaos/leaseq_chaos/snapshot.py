"""Take a snapshot of both stores after the heal and the drain."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import psycopg
from psycopg.rows import dict_row
from redis.asyncio import Redis

from leaseq_chaos.cluster.cluster import Cluster
from leaseq_chaos.cluster.stores import REDIS_PREFIX
from leaseq_chaos.evidence import Lane, Snapshot
from leaseq_chaos.history import boottime
from leaseq_chaos.statements import STATEMENTS

__all__ = ["drain", "read_lanes", "take_snapshot"]

POLL_SECONDS = 0.25
SHOWN = 100
KEYS = f"{REDIS_PREFIX}:*"


async def drain(cluster: Cluster, *, patience: float) -> tuple[bool, float]:
    """Wait until every task has ended and dispatch holds nothing, for `patience` seconds; whether
    it came to that, and when."""
    began = monotonic()
    while monotonic() - began < patience:
        ((unfinished,),) = await cluster.postgres.fetch("count_unfinished")
        if unfinished == 0 and not await _deliveries(cluster):
            return True, monotonic() - began
        await asyncio.sleep(POLL_SECONDS)
    return False, monotonic() - began


async def take_snapshot(cluster: Cluster, *, drained: bool, waited_seconds: float) -> Snapshot:
    """Read everything that checkers compare, the ledger in one transaction."""
    async with await cluster.postgres.connect() as conn:
        # what has not drained goes on meanwhile
        await conn.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        await conn.set_autocommit(False)
        rows = {
            name: await _rows(conn, name)
            for name in ("list_tasks", "list_attempts", "list_keys", "list_effects")
        }
        cursor = await conn.execute(STATEMENTS["sum_accounts"].encode())
        (cents,) = await cursor.fetchone() or (0,)
        workers = await _rows(conn, "list_open_workers")
        dead_letters = await _rows(conn, "list_dead_letters")
        letter_counts = await _rows(conn, "count_dead_letters")
        labels = await _rows(conn, "list_labels")
        limits = await _rows(conn, "list_limits")
        limited = await _rows(conn, "list_limited")
        fired = await _rows(conn, "list_fired")
    return Snapshot(
        at=boottime(),
        drained=drained,
        waited_seconds=round(waited_seconds, 3),
        tasks=rows["list_tasks"],
        attempts=rows["list_attempts"],
        keys=rows["list_keys"],
        effects=rows["list_effects"],
        cents=cents,
        open_workers=[row["id"] for row in workers],
        dispatch=await read_lanes(cluster),
        dead_letters=dead_letters,
        letter_counts=letter_counts,
        labels=labels,
        limits=limits,
        limited=limited,
        fired=fired,
    )


async def _rows(conn: psycopg.AsyncConnection[Any], name: str) -> list[dict[str, Any]]:
    cursor = conn.cursor(row_factory=dict_row)
    await cursor.execute(STATEMENTS[name].encode())
    return await cursor.fetchall()


async def _deliveries(cluster: Cluster) -> int:
    """How many ids lie in ready and processing lists, and how many lanes have a backlog."""
    lanes = await read_lanes(cluster)
    return sum(
        lane.length
        for lane in lanes
        if lane.key.endswith(":backlog") or (lane.type == "list" and not _parked(lane))
    )


def _parked(lane: Lane) -> bool:
    return lane.key.endswith(":parked")


async def read_lanes(cluster: Cluster) -> list[Lane]:
    """Every key of leaseq in dispatch."""
    async with cluster.valkey.client() as client:
        return [
            await _lane(client, key)
            for key in sorted([key async for key in client.scan_iter(KEYS, count=1000)])
        ]


async def _lane(client: Redis, key: str) -> Lane:
    kind = str(await client.type(key))
    members: list[Any] = []
    match kind:
        case "list":
            length, members = await client.llen(key), await client.lrange(key, 0, SHOWN - 1)
        case "zset":
            length, members = await client.zcard(key), await client.zrange(key, 0, SHOWN - 1)
        case "hash":
            length, members = await client.hlen(key), (await client.hkeys(key))[:SHOWN]
        case _:
            length = 1
    return Lane(key, kind, length, [str(member) for member in members])
