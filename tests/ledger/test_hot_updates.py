"""Claim and settle do not write the indexes of `tasks`.

Postgres calls such an update HOT (heap-only tuple; PostgreSQL manual, 66.7); it is worth a factor
of two in throughput.
"""

from __future__ import annotations

from leaseq.connections.postgres_connection import Connection
from leaseq.connections.postgres_pool import Pool
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from support.ledger import RETENTION, open_worker, submission, succeeded

TASKS = 2_000
BATCH = 200


async def test_claim_and_settle_are_hot_updates(
    pool: Pool, ledger: TaskLedger, worker_ledger: WorkerLedger, plain: Connection
) -> None:
    worker = await open_worker(worker_ledger)
    for _ in range(TASKS // BATCH):
        batch = [submission() for _ in range(BATCH)]
        await ledger.submit(batch, retention_seconds=RETENTION)
        claimed = await ledger.claim([wanted.task_id for wanted in batch], worker_id=worker)
        await ledger.settle([succeeded(c.claim) for c in claimed])

    await pool.close()  # a session reports its numbers when it ends
    updated, hot = 0, 0
    while updated < 2 * TASKS:
        await plain.execute("select pg_stat_clear_snapshot()")
        cursor = await plain.execute(
            "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relname = 'tasks'"
        )
        updated, hot = (await cursor.fetchall())[0]
    assert updated == 2 * TASKS
    assert hot / updated >= 0.9


async def test_no_index_of_tasks_knows_the_state(plain: Connection) -> None:
    cursor = await plain.execute(
        "select indexdef from pg_indexes where schemaname = 'leaseq' and tablename = 'tasks'"
    )
    assert [row[0].rpartition(" USING ")[2] for row in await cursor.fetchall()] == ["btree (id)"]
