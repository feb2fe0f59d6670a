"""Pages have a share of the connections, which submissions do not wait for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from leaseq.config import Config
from leaseq.ledger.session import Connection
from leaseq.ledger.statements import STATEMENTS
from leaseq.operations import lists
from support.api import Api, open_api

PAGES = ("/ui", "/ui/queues", "/ui/workers", "/ui/running", "/ui/tasks", "/ui/due")
# Statements of pages, and not of submissions. Each of them waits until the test lets go.
READS = ("read_queues", "list_tasks", "list_workers")
HOLD = "select pg_advisory_xact_lock(15)"
HELD = """select application_name from pg_stat_activity
where datname = current_database() and wait_event_type = 'Lock' and application_name like 'leaseq api%'"""


@asynccontextmanager
async def locked(config: Config) -> AsyncIterator[None]:
    """A lock for which every page waits."""
    async with (
        await psycopg.AsyncConnection.connect(config.postgres_url or "") as connection,
        connection.transaction(),
    ):
        await connection.execute(HOLD)
        yield


async def test_pages_that_hold_their_connections_delay_no_submission(
    config: Config,
    plain: Connection,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Callable[..., Any],
) -> None:
    for name in READS:
        monkeypatch.setitem(STATEMENTS, name, HOLD)
    monkeypatch.setattr(lists, "WAIT_SECONDS", 600.0)
    monkeypatch.setattr(lists, "STATEMENT_SECONDS", 600.0)

    async def held() -> list[str]:
        return [name for (name,) in await (await plain.execute(HELD)).fetchall()]

    async def is_full() -> bool:
        return len(await held()) == lists.SHARE

    async with open_api(config) as api, locked(config):
        pages = [asyncio.create_task(api.client.get(path)) for path in PAGES * 3]
        await eventually(is_full)
        for _ in range(20):
            await api.submitted()
        assert set(await held()) <= {"leaseq api lists"}
        await eventually(is_full)
        for page in pages:
            page.cancel()
        await asyncio.gather(*pages, return_exceptions=True)


async def test_a_page_that_takes_too_long_says_so(
    api: Api, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STATEMENTS, "list_workers", HOLD)
    async with locked(config):
        answer = await api.client.get("/ui/workers")
    assert answer.status_code == 503
    assert "<nav" in answer.text
    assert "leaseq" in answer.text


async def test_pages_cannot_write(api: Api) -> None:
    async with api.service.lists.session.pool.connection() as connection:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await connection.execute("delete from leaseq.workers")
