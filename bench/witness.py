"""Read Postgres directly, without leaseq, as an independent measurement."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from msgspec import Struct

STATEMENTS = {
    file.stem: file.read_bytes() for file in (Path(__file__).parent / "sql").glob("*.sql")
}


# Tasks that are made by one statement.
PART = 1_000_000


class Endings(Struct, frozen=True):
    """How the tasks of a run ended. Seconds: from the first ending to the last, and of the middle
    80 % of them."""

    ended: int
    succeeded: int
    first_attempts: int
    seconds: float
    middle_seconds: float
    last_at: datetime | None

    @property
    def rate(self) -> float:
        """Tasks per second, from the first ending to the last."""
        return (self.ended - 1) / self.seconds


class Restarts(Struct, frozen=True):
    """How some tasks fare after a kill. `seconds`: from the kill to the start of the last one that
    was started again."""

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

    async def endings(self, since: datetime | None = None, *, queue: str = "default") -> Endings:
        """Of all tasks of a queue that have ended, or of those that have since a moment."""
        return Endings(
            *(await self._rows("measure_endings", since=since or "-infinity", queue=queue))[0]
        )

    async def has_ended(self, task_id: str) -> bool:
        return bool((await self._rows("find_ended", task_id=task_id))[0][0])

    async def ended_between(self, begin: datetime, end: datetime) -> int:
        return int((await self._rows("count_ended", begin=begin, end=end))[0][0])

    async def unfinished(self) -> int:
        """How many tasks have not ended?"""
        return int((await self._rows("count_unfinished"))[0][0])

    async def results(self, task_ids: Sequence[str]) -> list[int]:
        """The results of tasks, whole numbers, in the order of the ids. Tasks that have not
        succeeded are omitted."""
        return [row[0] for row in await self._rows("list_results", task_ids=list(task_ids))]

    async def held(self, worker_id: str) -> list[str]:
        """The tasks that a worker runs."""
        return [row[0] for row in await self._rows("list_held", worker_id=worker_id)]

    async def restarts(self, task_ids: Sequence[str], killed_at: datetime) -> Restarts:
        return Restarts(
            *(await self._rows("measure_restarts", task_ids=list(task_ids), killed_at=killed_at))[0]
        )

    async def settings(self) -> dict[str, str]:
        """Version, and the settings that matter for durability and speed."""
        return dict(await self._rows("list_settings"))

    async def fill_finished(self, count: int) -> None:
        """Make the table old: `count` tasks that ended within the last days."""
        await self._conn.execute(STATEMENTS["fill_finished"], {"count": count})
        await self._tidy()

    async def fill_pages(self, count: int, *, failed: int) -> None:
        """So many finished tasks, as many that wait, and some that have failed."""
        await self._conn.execute(STATEMENTS["fill_failed"], {"count": failed})
        for state, first, hours in (("SUCCESS", 68.0, 60.0), ("PENDING", 8.0, 7.9)):
            chunks = max(count // PART, 1)
            for number in range(chunks):
                params = {
                    "state": state,
                    "count": count // chunks,
                    "first": first - number * hours / chunks,
                    "hours": hours / chunks,
                }
                await self._conn.execute(STATEMENTS["fill_pages"], params)
        await self._tidy()
        await self._conn.execute(STATEMENTS["make_statistics"])

    async def examples(self) -> dict[str, str]:
        """The id of one task of each state, by the name of the state in small letters."""
        return dict(await self._rows("find_examples"))

    async def reset_statements(self) -> None:
        """Count blocks from now on, and let the next question take a census."""
        await self._conn.execute(STATEMENTS["forget_census"])
        await self._conn.execute(STATEMENTS["reset_statements"])

    async def largest_statement(self) -> tuple[float, str]:
        """The blocks of one call of the statement that needs the most of them, and its text."""
        found = await self._rows("list_blocks")
        return (found[0][0], found[0][2]) if found else (0.0, "none")

    async def fill_old(self, count: int) -> None:
        """`count` tasks that ended more than an hour ago, with their keys, and as many keys whose
        time is over."""
        await self._conn.execute(STATEMENTS["fill_old"], {"count": count})
        await self._tidy()

    async def fill_scheduled(self, count: int, due_at: datetime) -> None:
        """Schedule `count` tasks for the same moment."""
        await self._conn.execute(STATEMENTS["fill_scheduled"], {"count": count, "due_at": due_at})
        await self._tidy()

    async def fill_queues(self, count: int) -> None:
        """Make `count` queues known by name."""
        await self._conn.execute(STATEMENTS["fill_queues"], {"count": count})

    async def end_taken(self, task_ids: Sequence[str]) -> None:
        """Let tasks be over whose deliveries were taken."""
        await self._conn.execute(STATEMENTS["end_taken"], {"task_ids": list(task_ids)})

    async def transactions(self) -> int:
        """How many transactions this database has ended so far."""
        return int((await self._rows("count_transactions"))[0][0])

    async def anything_scheduled(self) -> bool:
        """Is anything still to be promoted?"""
        return bool((await self._rows("find_scheduled"))[0][0])

    async def _tidy(self) -> None:
        """Do now the work that the server would do in the middle of a measurement."""
        for statement in ("vacuum", "checkpoint"):
            await self._conn.execute(STATEMENTS[statement])

    async def _rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        cursor = await self._conn.execute(STATEMENTS[statement], parameters)
        return await cursor.fetchall()


@asynccontextmanager
async def open_witness(url: str) -> AsyncIterator[Witness]:
    """Connect for as long as the block lasts."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
        yield Witness(conn)
