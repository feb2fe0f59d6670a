"""The cost of heartbeats and claims beside a long transaction.

The transaction keeps every version of every row that is written after it began, as pg_dump does for
hours. Cost is counted in the pages that a statement touches, which does not depend on the machine.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from leaseq.connections.postgres_connection import Connection
from leaseq.connections.postgres_pool import Pool
from leaseq.ledger.maintenance import Maintenance
from leaseq.ledger.session import Session
from leaseq.ledger.statements import STATEMENTS
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from support.ledger import open_worker, submit

WORKERS = 20
BEATS = 500
# The part that may grow with the logarithm: the depth of an index.
TIMES = 2


@asynccontextmanager
async def snapshot(postgres_url: str) -> AsyncIterator[None]:
    """A transaction that sees the ledger as it is now, until the block ends."""
    async with await psycopg.AsyncConnection.connect(postgres_url) as conn:
        await conn.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        await conn.execute("select 1")
        yield


async def pages(conn: Connection, name: str, params: dict[str, Any]) -> int:
    """How many pages this statement touches."""
    async with conn.transaction(force_rollback=True):
        cursor = psycopg.AsyncClientCursor(conn)
        await cursor.execute(
            b"explain (analyze, buffers, format json) " + STATEMENTS[name].encode(), params
        )
        row = await cursor.fetchone()
        assert row is not None
        found = row[0] if isinstance(row[0], list) else json.loads(row[0])
        plan = found[0]["Plan"]
        return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


async def costs(conn: Connection, workers: list[str], task_id: str) -> dict[str, int]:
    statements: dict[str, dict[str, Any]] = {
        "touch_workers": {"worker_ids": workers},
        "claim_tasks": {"ids": [task_id], "worker_id": workers[0]},
        "watch_workers": {"stale_after": 10.0, "closed_within": 600.0},
        "find_worker": {"worker_id": workers[0]},
        "close_worker": {"worker_id": workers[0], "reason": "", "stale_after": 60.0},
        "set_secret": {"worker_id": workers[0], "secret": "s"},
    }
    return {name: await pages(conn, name, params) for name, params in statements.items()}


async def test_heartbeats_beside_a_long_transaction_slow_nothing_down(
    pool: Pool, worker_ledger: WorkerLedger, ledger: TaskLedger, postgres_url: str
) -> None:
    workers = [await open_worker(worker_ledger) for _ in range(WORKERS)]
    task_id = await submit(ledger)
    await worker_ledger.set_secret(workers[0], "s")
    await worker_ledger.touch(workers)
    async with snapshot(postgres_url), pool.connection() as conn:
        await costs(conn, workers, task_id)  # a new session reads the catalog, too
        before = await costs(conn, workers, task_id)
        for _ in range(BEATS):
            assert await worker_ledger.touch(workers) == set(workers)
            assert await worker_ledger.set_secret(workers[0], "s")
        after = await costs(conn, workers, task_id)
    assert {name: count for name, count in after.items() if count > TIMES * before[name]} == {}, (
        before
    )


async def test_a_worker_was_heard_of_when_either_version_wrote_it(
    worker_ledger: WorkerLedger, plain: Connection
) -> None:
    old, new = await open_worker(worker_ledger), await open_worker(worker_ledger)
    await worker_ledger.touch([new])
    await plain.execute("update leaseq.heartbeats set seen_at = seen_at - interval '1 hour'")
    await plain.execute("update leaseq.workers set last_seen = last_seen - interval '1 hour'")
    assert {
        worker.worker_id: worker.stale
        for worker in await worker_ledger.watch(stale_after=60, closed_within=0)
    } == {
        old: True,
        new: True,
    }
    await worker_ledger.touch([new])
    await plain.execute("update leaseq.workers set last_seen = now() where id = %s", [old])
    assert not any(
        worker.stale for worker in await worker_ledger.watch(stale_after=60, closed_within=0)
    )
    for record in await worker_ledger.list_workers():
        assert (record.last_seen - record.started_at).total_seconds() < 60
        assert await worker_ledger.find_worker(record.worker_id) == record
        assert not await worker_ledger.close_worker(
            record.worker_id, reason="silent", stale_after=60
        )


async def test_heartbeats_go_with_their_worker(
    worker_ledger: WorkerLedger, maintenance: Maintenance, plain: Connection
) -> None:
    gone, other = await open_worker(worker_ledger), await open_worker(worker_ledger)
    await worker_ledger.touch([gone, other])
    await worker_ledger.touch([gone, other])
    seen = await worker_ledger.find_worker(gone)
    assert await worker_ledger.close_worker(gone, reason="tested")
    closed = await worker_ledger.find_worker(gone)
    assert seen is not None
    assert closed is not None
    assert closed.last_seen == seen.last_seen

    assert await worker_ledger.touch([gone, other]) == {other}
    assert await maintenance.prune_workers(retention_seconds=0) == 1
    cursor = await plain.execute("select worker_id from leaseq.heartbeats")
    assert await cursor.fetchall() == [(other,)]


async def test_two_heartbeats_at_once_leave_one_row(
    worker_ledger: WorkerLedger, pool: Pool, plain: Connection
) -> None:
    worker = await open_worker(worker_ledger)
    await worker_ledger.touch([worker])
    await asyncio.gather(
        *(WorkerLedger(Session(pool, deadline_seconds=10)).touch([worker]) for _ in range(5))
    )
    cursor = await plain.execute("select count(*) from leaseq.heartbeats")
    assert await cursor.fetchall() == [(1,)]
