"""Submit tasks, wait for them, and read their effects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import psycopg
import pytest

from leaseq.config import Config
from leaseq.model import DEFAULT_TENANT, AttemptRecord, State, Task
from leaseq.operations.engine import Engine
from leaseq.operations.open_engine import open_engine
from leaseq.operations.submission import accept
from support.processes import PATIENCE
from support.requests import request_of
from support.servers import admin_url

EFFECTS = "create table public.effects (task_id text, attempt int, pid int, at timestamptz default clock_timestamp())"


class Client:
    """Submits to the stores of a configuration and looks at what became of it."""

    def __init__(self, engine: Engine, config: Config) -> None:
        self.engine = engine
        self.config = config

    async def submit(
        self, task_type: str, /, *, options: dict[str, Any] | None = None, **payload: Any
    ) -> str:
        """One task; its id."""
        request = request_of(
            type=task_type, payload=msgspec.json.encode(payload), **(options or {})
        )
        return (
            await self.engine.submit(accept(request, self.config, tenant=DEFAULT_TENANT))
        ).task_id

    async def submit_many(self, task_type: str, count: int, /, **payload: Any) -> list[str]:
        return list(
            await asyncio.gather(*(self.submit(task_type, **payload) for _ in range(count)))
        )

    async def find(self, task_id: str) -> Task:
        return await self.engine.for_tenant(DEFAULT_TENANT).find(task_id)

    async def ended(self, task_id: str, *, timeout: float = PATIENCE) -> Task:
        """The task, once it has ended."""
        task = await self.engine.for_tenant(DEFAULT_TENANT).wait(task_id, timeout=timeout)
        assert task.finished_at is not None, f"{task.type} is still {task.state} after {timeout} s"
        return task

    async def all_ended(self, task_ids: Sequence[str], *, timeout: float = PATIENCE) -> list[Task]:
        """All these tasks, once the last has ended."""
        deadline = asyncio.get_running_loop().time() + timeout
        for task_id in task_ids:
            left = deadline - asyncio.get_running_loop().time()
            await self.engine.waiter.wait(task_id, timeout=max(left, 0.01))
        found = await self.engine.stores.tasks.find(task_ids, tenant="default")
        unfinished = [task for task in found.values() if task.finished_at is None]
        assert not unfinished, (
            f"{len(unfinished)} of {len(task_ids)} not ended, such as {unfinished[0]}"
        )
        return [found[task_id] for task_id in task_ids]

    async def attempts(self, task_id: str) -> list[AttemptRecord]:
        return await self.engine.for_tenant(DEFAULT_TENANT).list_attempts(task_id)

    async def running(self, task_ids: Sequence[str]) -> list[Task]:
        """Those of these tasks that are PROCESSING now."""
        found = await self.engine.stores.tasks.find(task_ids, tenant="default")
        return [task for task in found.values() if task.state is State.PROCESSING]

    async def rows(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        """Ask the test's database; an empty list while a table does not exist."""
        async with await psycopg.AsyncConnection.connect(
            admin_url(self.config), autocommit=True
        ) as conn:
            try:
                cursor = await conn.execute(query.encode(), params)
            except psycopg.errors.UndefinedTable:
                return []
            return await cursor.fetchall() if cursor.description else []

    async def effects(self, task_id: str) -> int:
        """How often has this task's effect been committed?"""
        found = await self.rows("select count(*) from effects where task_id = %s", task_id)
        return int(found[0][0]) if found else 0

    async def doubled(self) -> list[str]:
        """The tasks whose effect was committed more than once."""
        found = await self.rows("select task_id from effects group by task_id having count(*) > 1")
        return [row[0] for row in found]


@pytest.fixture
async def client(config: Config) -> AsyncIterator[Client]:
    """A client of the test's stores, with the effects table of tests/apps/probe.py in place."""
    async with open_engine(config, name="leaseq test client") as engine:
        client = Client(engine, config)
        await client.rows(EFFECTS)
        yield client
