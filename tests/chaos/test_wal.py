"""The order of commits is that of Postgres, each once, in any outage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import psycopg
import pytest

from leaseq.config import Config
from leaseq.connections.postgres import open_pool
from leaseq.ledger.schema import migrate
from leaseq.ledger.session import Session
from leaseq.ledger.workers import WorkerLedger
from leaseq_chaos.checkers import reaps
from leaseq_chaos.cluster.stores import Postgres
from leaseq_chaos.evidence import Commit
from leaseq_chaos.history import boottime
from leaseq_chaos.wal import CommitReader, parse
from support.valid_history import Story

TASK = "01a20e90-af38-7ee4-90f6-2ff7d3aa329d"

UPDATE = (
    f"table leaseq.tasks: UPDATE: id[uuid]:'{TASK}' type[text]:'note' payload[json]:'{{\"n\": \"it''s\"}}' "
    "state[text]:'PROCESSING' attempt[integer]:2 worker_id[text]:'w 1' finished_at[timestamp with time zone]:null"
)


def test_a_transaction_is_read_row_by_row() -> None:
    lines = [
        (10, 7, "BEGIN 7"),
        (11, 7, UPDATE),
        (
            12,
            7,
            f"table chaos.effects: INSERT: task_id[uuid]:'{TASK}' attempt[integer]:2 type[text]:'note' pid[integer]:9",
        ),
        (13, 7, "table leaseq.scheduled: DELETE: task_id[uuid]:'x'"),
        (14, 7, "COMMIT 7 (at 1970-01-01 00:00:02.5+00)"),
    ]
    ((lsn, commits),) = parse(lines, wall_offset=500_000_000)
    assert lsn == 14
    row = {
        "task_id": TASK,
        "type": "note",
        "state": "PROCESSING",
        "attempt": 2,
        "worker_id": "w 1",
        "finished_at": None,
    }
    assert commits == [
        Commit(14, 7, 2_000_000_000, "tasks", "update", row),
        Commit(
            14,
            7,
            2_000_000_000,
            "effects",
            "insert",
            {"task_id": TASK, "attempt": 2, "type": "note"},
        ),
    ]


@pytest.fixture
async def postgres(tmp_path: Path) -> AsyncIterator[Postgres]:
    server = Postgres(tmp_path / "postgres")
    try:
        await server.create()
        await server.fetch("create_chaos")
        yield server
    finally:
        await server.destroy()


@pytest.mark.slow("a cluster whose Postgres crashes")
async def test_a_crash_of_the_server_neither_hides_nor_repeats_a_commit(
    postgres: Postgres, tmp_path: Path
) -> None:
    seen: list[Commit] = []
    file = tmp_path / "commits.jsonl"
    reader = CommitReader(
        [postgres], tmp_path, wall_offset=time.time_ns() - boottime(), watch=seen.append
    )
    await reader.open()
    stop = asyncio.Event()
    following = asyncio.create_task(reader.follow(stop))
    for number in range(3):
        async with await postgres.connect() as conn:
            for cents in range(20):
                await _open_account(conn, number * 100 + cents)
        await postgres.restart("immediate")
    stop.set()
    await following
    await reader.finish()
    written = [msgspec.json.decode(line, type=Commit) for line in file.read_bytes().splitlines()]
    assert [int(commit.row["id"]) for commit in written] == [
        number * 100 + cents for number in range(3) for cents in range(20)
    ]
    assert written == seen
    assert [commit.lsn for commit in written] == sorted(commit.lsn for commit in written)
    assert all(0 <= boottime() - commit.at < 60 * 10**9 for commit in written)


@pytest.mark.slow("a cluster with workers")
async def test_heartbeats_of_a_worker_are_read_from_the_wal(
    postgres: Postgres, tmp_path: Path
) -> None:
    """Events from the engine to the checker of reaps: a missing beat would blind the checker."""
    reader = CommitReader(
        [postgres], tmp_path, wall_offset=time.time_ns() - boottime(), watch=lambda commit: None
    )
    await migrate(postgres.url)
    await reader.open()
    async with await open_pool(
        Config(postgres_url=postgres.url), name="leaseq test", max_size=1
    ) as pool:
        workers = WorkerLedger(Session(pool, deadline_seconds=10))
        await workers.open_worker("w9", host="here", pid=1, queues=["default"], version="0")
        for _ in range(3):
            await workers.touch(["w9"])
        assert await workers.close_worker("w9", reason="silent for more than 10 s")
    stop = asyncio.Event()
    stop.set()
    await reader.follow(stop)
    await reader.finish()
    told = Story()
    told.submit("note")
    evidence = told.evidence(config={"LEASEQ_LEASE_SECONDS": "10"})
    lines = (tmp_path / "commits.jsonl").read_bytes().splitlines()
    evidence.commits.extend(msgspec.json.decode(line, type=Commit) for line in lines)
    (violation,) = reaps.check(evidence).violations
    assert "w9 was closed for silence, after 4 beats" in violation.said


async def _open_account(conn: psycopg.AsyncConnection[object], number: int) -> None:
    await conn.execute("insert into chaos.accounts values (%s, 1)", (number,))
