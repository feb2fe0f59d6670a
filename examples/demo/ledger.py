"""Read Postgres directly, without leaseq, as an independent check."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import psycopg
from msgspec import Struct
from psycopg.rows import tuple_row

from examples.demo.statements import STATEMENTS


class Progress(Struct, frozen=True):
    """How far it is."""

    finished: int
    running: int
    accepted: int


class FoundTask(Struct, frozen=True):
    """One row of `tasks`. `seconds`: from recorded to finished, if it has."""

    task_id: str
    type: str
    state: str
    payload: dict[str, Any]
    result: Any
    seconds: float | None


class FoundRecovery(Struct, frozen=True):
    """How the tasks of some dead workers fare."""

    lost: int
    restarted: int
    finished: int
    return_seconds: float
    restart_seconds: float
    still_held: int


class Ledger:
    """One connection, for one question at a time."""

    def __init__(self, conn: psycopg.AsyncConnection[Any]) -> None:
        self._conn = conn

    async def now(self) -> datetime:
        moment: datetime = (await self._rows("now"))[0][0]
        return moment

    async def progress(self) -> Progress:
        return Progress(*(await self._rows("count_states"))[0])

    async def open_workers(self, pid: int) -> dict[str, int]:
        """The open workers under the supervisor `pid`: id, number of tasks that run."""
        return dict(await self._rows("list_open_workers", pid=pid))

    async def recovery(self, workers: list[str], killed_at: datetime) -> FoundRecovery:
        return FoundRecovery(
            *(await self._rows("measure_recovery", workers=workers, killed_at=killed_at))[0]
        )

    async def tasks(self) -> list[FoundTask]:
        return [FoundTask(*row) for row in await self._rows("list_tasks")]

    async def charges(self) -> dict[int, int]:
        """How often each order was charged."""
        return dict(await self._rows("count_charges"))

    async def money(self) -> tuple[int, int]:
        """The sum of the charges, and the sum that the accounts have lost, in cents."""
        charged, taken = (await self._rows("compare_money"))[0]
        return charged, taken

    async def attempts(self) -> dict[str, int]:
        """Attempts that did not end in SUCCESS, by outcome."""
        return dict(await self._rows("count_attempts"))

    async def _rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        cursor = await self._conn.execute(STATEMENTS[statement], parameters)
        return await cursor.fetchall()


@asynccontextmanager
async def open_ledger(url: str) -> AsyncIterator[Ledger]:
    """Connect for as long as the block lasts."""
    async with await psycopg.AsyncConnection.connect(
        url, autocommit=True, row_factory=tuple_row
    ) as conn:
        yield Ledger(conn)
