"""Every migration since 16e9784, on a filled ledger in use.

The old code comes out of the history of this repository. Its worker, its reaper and its client go
on with their own statements before, during and after the migrations; then new ones take over.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import psycopg
import pytest

from leaseq.config import Config
from leaseq.ledger import schema
from leaseq.ledger.roles import RoleNames, grant
from leaseq.ledger.schema import LATEST, MIGRATIONS, migrate, schema_version
from support.processes import Service, Services, environment
from support.servers import admin_url
from support.source_tree import ROOT

OLD = "16e9784"
OLD_VERSION = 5
FILL = Path(__file__).with_name("fill_16e9784.sql").read_text(encoding="utf-8")
MIGRATOR = "import asyncio, sys; from leaseq.ledger.schema import migrate; asyncio.run(migrate(sys.argv[1]))"
# Submits under growing keys until its standard input ends; prints the id of each task.
CLIENT = """
import asyncio, sys
from leaseq import Config, LeaseqError
from leaseq.engine.engine import open_engine
from leaseq.engine.submission import Request, accept

async def main():
    config = Config.from_env()
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    async with open_engine(config, name="leaseq old client") as engine:
        n = 0
        while not ended.done():
            request = Request(type="note", payload=b'{"n": %d}' % n, idempotency_key=f"live-{n}", delay_seconds=0.05 * (n % 2))
            try:
                print((await engine.submit(accept(request, config))).task_id, flush=True)
            except LeaseqError as error:
                print(f"again: {error}", file=sys.stderr, flush=True)
            else:
                n += 1
            await asyncio.sleep(0.02)

asyncio.run(main())
"""
FINISHED = """
select md5(string_agg(concat_ws('|', id, tenant, queue, type, payload, state, attempt, retry_count, crash_count, loss_count,
    max_attempts, created_at, run_at, started_at, finished_at, result, error), '/' order by id))
from leaseq.tasks where id < '01900000-0000-7000-8007-000000000000' and state in ('SUCCESS', 'FAILED', 'CANCELLED', 'SCHEDULED')
    and type <> 'note' or id between '01900000-0000-7000-8002-000000000000' and '01900000-0000-7000-8003-000000000000'
"""
# Half of those that the client submits wait for their time first.
UNFINISHED = """
select count(*) from leaseq.tasks where type = 'note' and queue = 'default' and state in ('PENDING', 'PROCESSING')
    or id = any(%s) and finished_at is null
"""


@pytest.fixture(scope="module")
def old_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages as they were at 16e9784."""
    archive = subprocess.run(
        ["git", "archive", OLD, "engine", "api", "reaper"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if archive.returncode != 0:
        pytest.skip(f"this copy of the repository has no history, and so no revision {OLD}")
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return folder


@pytest.fixture
def old_environment(config: Config, old_code: Path) -> dict[str, str]:
    """The environment of an old process: its code, and the settings that it knows."""
    known = (old_code / "engine/leaseq/config.py").read_text(encoding="utf-8")
    env = {
        name: value
        for name, value in environment(config).items()
        if not name.startswith("LEASEQ_")
        or f"    {name.removeprefix('LEASEQ_').lower()}: " in known
    }
    env["LEASEQ_POSTGRES_URL"] = admin_url(config)  # there were no roles
    return env | {
        "PYTHONPATH": os.pathsep.join(
            str(old_code / package) for package in ("engine", "api", "reaper")
        )
    }


@pytest.fixture
async def filled(postgres_url: str, old_environment: dict[str, str]) -> str:
    """A database with the old schema, filled."""
    async with await psycopg.AsyncConnection.connect(postgres_url) as conn:
        await conn.execute("drop schema leaseq cascade")
        await conn.execute("create table effects (task_id text, attempt int, pid int)")
    migrator = await asyncio.create_subprocess_exec(
        sys.executable, "-c", MIGRATOR, postgres_url, env=old_environment
    )
    assert await migrator.wait() == 0
    async with await psycopg.AsyncConnection.connect(postgres_url) as conn:
        await conn.execute(FILL.encode())
        assert await one(conn, "select max(version) from leaseq.migrations") == OLD_VERSION
    return postgres_url


async def one(conn: psycopg.AsyncConnection[Any], query: str, values: Sequence[Any] = ()) -> Any:
    row = await (await conn.execute(query.encode(), values or None)).fetchone()
    assert row is not None
    return row[0]


async def read_ids(client: asyncio.subprocess.Process, ids: list[str]) -> None:
    assert client.stdout is not None
    while line := await client.stdout.readline():
        ids.append(line.decode().strip())


async def more(ids: list[str], count: int) -> None:
    """Wait until the old client has submitted so many more."""
    wanted = len(ids) + count
    async with asyncio.timeout(60):
        while len(ids) < wanted:  # noqa: ASYNC110 - another process prints them
            await asyncio.sleep(0.02)


@pytest.mark.slow("a deployment of an old revision, and one of this")
async def test_old_processes_go_on_through_every_migration_and_new_ones_take_over(
    filled: str, old_environment: dict[str, str], services: Services, eventually: Callable[..., Any]
) -> None:
    client = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        CLIENT,
        env=old_environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    ids: list[str] = []
    reading = asyncio.create_task(read_ids(client, ids))
    try:
        old = [
            await start_old(services, old_environment, *args)
            for args in (["worker", "apps.probe:app"], ["reaper"])
        ]
        async with await psycopg.AsyncConnection.connect(filled, autocommit=True) as conn:
            before = await one(conn, FINISHED)
            await more(ids, 50)

            applied = await migrate(filled)
            assert applied == [
                f"{m.version:04}_{m.name}" for m in MIGRATIONS if m.version > OLD_VERSION
            ]
            assert await schema_version(filled) == LATEST
            assert services.config.statement_timeout_seconds * 1000 > schema.LOCK_MILLISECONDS, (
                "old statements would give up"
            )
            await grant(filled, RoleNames())
            await more(ids, 100)
            await eventually(partial(ended, conn, ids[-1]))  # by an old worker, on the new schema

            new_worker, new_reaper = await services.worker(), await services.reaper()
            assert (
                await one(conn, "select count(*) from leaseq.type_versions where type = 'note'")
                == 1
            )
            await more(ids, 50)
            for service in old:
                service.signal(signal.SIGTERM)
                assert await service.ended() == 0
            await more(ids, 50)
            assert client.stdin is not None
            client.stdin.close()
            assert await client.wait() == 0
            await reading

            await eventually(lambda: none(conn, UNFINISHED, [ids]), timeout=60)
            states = await conn.execute(
                "select state, count(*) from leaseq.tasks where id = any(%s) group by 1", [ids]
            )
            assert await states.fetchall() == [("SUCCESS", len(set(ids)))]
            doubled = "select count(*) from (select task_id from effects group by task_id having count(*) > 1) as d"
            assert await one(conn, doubled) == 0
            assert (
                await one(conn, "select count(distinct task_id) from effects")
                >= len(set(ids)) + 300
            )
            assert await one(conn, FINISHED) == before
            failed = [service.heard("loop.failed") for service in (*old, new_worker, new_reaper)]
            assert failed == [[], [], [], []]
    finally:
        if client.returncode is None:
            client.kill()
            await client.wait()
        reading.cancel()


async def start_old(services: Services, env: dict[str, str], *args: str) -> Service:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "leaseq",
        *args,
        env=env,
        cwd=ROOT / "tests",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        limit=2**20,
        start_new_session=True,
    )
    service = Service(f"old {args[0]}", process)
    services.running.append(service)
    await service.hear("worker.opened" if args[0] == "worker" else "reaper.started")
    return service


async def ended(conn: psycopg.AsyncConnection[Any], task_id: str) -> bool:
    row = await (
        await conn.execute("select finished_at from leaseq.tasks where id = %s", [task_id])
    ).fetchone()
    return row is not None and row[0] is not None


async def none(conn: psycopg.AsyncConnection[Any], query: str, values: Sequence[Any] = ()) -> bool:
    return int(await one(conn, query, values)) == 0
