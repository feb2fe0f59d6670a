"""What does Postgres say? Read from the tables themselves, past leaseq: a witness must not be the accused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from msgspec import Struct

STATEMENTS = {file.stem: file.read_bytes() for file in (Path(__file__).parent / "sql").glob("*.sql")}


class Endings(Struct, frozen=True):
    """How the tasks of a run ended. Seconds: from the first ending to the last, and of the middle 80 % of them."""

    succeeded: int
    first_attempts: int
    seconds: float
    middle_seconds: float


class Restarts(Struct, frozen=True):
    """How some tasks fare after a kill. `seconds`: from the kill to the start of the last one that was started again."""

    restarted: int
    most_attempts: int
    seconds: float


class Witness:
    """One connection, for one question at a time."""

    def __init__(self, conn: psycopg.AsyncConnection[Any]) -> None:
        self._conn = conn

    async def now(self) -> datetime:
        """The clock of Postgres, which also dates what it records."""
        moment: datetime = (await self._rows("now"))[0][0]
        return moment

    async def endings(self) -> Endings:
        return Endings(*(await self._rows("measure_endings"))[0])

    async def ended_between(self, begin: datetime, end: datetime) -> int:
        return int((await self._rows("count_ended", begin=begin, end=end))[0][0])

    async def unfinished(self) -> int:
        """How many tasks have not ended?"""
        return int((await self._rows("count_unfinished"))[0][0])

    async def results(self, task_type: str) -> list[int]:
        """What the tasks of a type returned, numbers, oldest task first."""
        return [row[0] for row in await self._rows("list_results", task_type=task_type)]

    async def held(self, worker_id: str) -> list[str]:
        """The tasks that an incarnation runs."""
        return [row[0] for row in await self._rows("list_held", worker_id=worker_id)]

    async def restarts(self, task_ids: Sequence[str], killed_at: datetime) -> Restarts:
        return Restarts(*(await self._rows("measure_restarts", task_ids=list(task_ids), killed_at=killed_at))[0])

    async def settings(self) -> dict[str, str]:
        """Version, and the settings that matter for durability and speed."""
        return dict(await self._rows("list_settings"))

    async def _rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        cursor = await self._conn.execute(STATEMENTS[statement], parameters)
        return await cursor.fetchall()


@asynccontextmanager
async def open_witness(url: str) -> AsyncIterator[Witness]:
    """Connect for as long as the block lasts."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
        yield Witness(conn)
