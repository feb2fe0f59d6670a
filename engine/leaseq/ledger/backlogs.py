"""Backlogs in the ledger: the PENDING tasks that a full lane has refused.

Many lanes are often at the same part of the ledger. It is then read once for all of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from msgspec import Struct

from leaseq.codec import LAST_ID
from leaseq.gather import Gatherer
from leaseq.ledger.arrays import numbers, quoted, words
from leaseq.ledger.rows import LANE_PRIORITIES
from leaseq.ledger.session import Session
from leaseq.lifecycle import SUSPECT_CRASHES
from leaseq.model import Lane

# Ranges of one statement, and ranges that may be asked for at the same time.
RANGES_PER_STATEMENT = 100
WAITING = 1000
# So many lanes read a part of the ledger together, so many times as long as that of one lane; and
# in so many such parts at most.
MANY_LANES = 10
SHARED = 10
MOST_WINDOWS = 4
WINDOW_ROWS = 20_000
T = TypeVar("T")


class BacklogBatch(Struct, frozen=True):
    """Part of the ledger, for one lane. `last_id` is the last that was looked at, if the range may
    go on behind it."""

    last_id: str | None
    looked_at: int
    task_ids: list[str]  # PENDING in that lane, in order


class _Wanted(Struct, frozen=True):
    """A range that is asked for."""

    queue: str
    lane: Lane
    cursor: str
    size: int
    room: int = 0
    until: str = LAST_ID


class _NotCovered(Exception):
    """A window does not hold the part of the ledger that is wanted."""


class _Window(Struct, frozen=True):
    """A range of the ledger that was read for many lanes. `end`: the task right behind it; None:
    the ledger ends before."""

    end: str | None
    waiting: Mapping[tuple[str, int], list[str]]  # by queue and priority, in order

    def boundary(self, one: _Wanted) -> str | None:
        """As `find_boundary`, with the end of the window as the end of the range."""
        if self.end is not None and one.cursor >= self.end:
            raise _NotCovered
        ids = self._from(one)
        return ids[one.room] if len(ids) > one.room else self.end

    def batch(self, one: _Wanted) -> BacklogBatch:
        """As `read_backlog`, of a range that was looked at to its end, however long it is."""
        if self.end is not None and one.until > self.end:
            raise _NotCovered
        ids = [task_id for task_id in self._from(one) if task_id < one.until]
        return BacklogBatch(None, 0, ids)

    def _from(self, one: _Wanted) -> list[str]:
        ids = self.waiting.get((one.queue, LANE_PRIORITIES[one.lane]), [])
        return ids[bisect_left(ids, one.cursor) :]


class BacklogLedger:
    """The backlogs in Postgres."""

    def __init__(self, session: Session) -> None:
        self._session = session
        # Questions of several lanes at the same moment become one statement.
        self._boundaries = Gatherer(self._find_boundaries, batch_size=WAITING, capacity=WAITING)
        self._ranges = Gatherer(self._read_ranges, batch_size=WAITING, capacity=WAITING)

    async def find_boundary(
        self, queue: str, lane: Lane, *, cursor: str, limit: int, room: int
    ) -> str | None:
        """The end of a range from `cursor` on with at most `limit` tasks, at most `room` of which
        wait in this lane.

        None: the ledger ends before.
        """
        return await self._boundaries.add(_Wanted(queue, lane, cursor, size=limit, room=room))

    async def read_backlog(
        self, queue: str, lane: Lane, *, cursor: str, until: str, limit: int
    ) -> BacklogBatch:
        """Read the tasks of a lane without suspects, among at most `limit` tasks from `cursor` on
        and before `until`."""
        return await self._ranges.add(_Wanted(queue, lane, cursor, size=limit, until=until))

    async def _find_boundaries(self, wanted: Sequence[_Wanted]) -> list[str | None]:
        return await self._share(wanted, _Window.boundary, self._find_each_boundary)

    async def _read_ranges(self, wanted: Sequence[_Wanted]) -> list[BacklogBatch]:
        return await self._share(wanted, _Window.batch, self._read_each_range)

    async def _share(
        self,
        wanted: Sequence[_Wanted],
        answer: Callable[[_Window, _Wanted], T],
        ask: Callable[[Sequence[_Wanted]], Awaitable[list[T]]],
    ) -> list[T]:
        """An answer for each, in order. Where many are at the same part of the ledger, it is read
        once for all of them."""
        found: dict[int, T] = {}
        rest = [*range(len(wanted))]
        for _ in range(MOST_WINDOWS):
            if len(rest) < MANY_LANES:
                break
            window = await self._read_window([wanted[number] for number in rest])
            for number in rest:
                with suppress(_NotCovered):
                    found[number] = answer(window, wanted[number])
            rest = [number for number in rest if number not in found]
        for start in range(0, len(rest), RANGES_PER_STATEMENT):
            some = rest[start : start + RANGES_PER_STATEMENT]
            found |= zip(some, await ask([wanted[number] for number in some]), strict=True)
        return [found[number] for number in range(len(wanted))]

    async def _read_window(self, wanted: Sequence[_Wanted]) -> _Window:
        """The part of the ledger that the first of these lanes is at."""
        params = {
            "suspect": SUSPECT_CRASHES,
            "cursor": min(one.cursor for one in wanted),
            "limit": min(SHARED * max(one.size for one in wanted), WINDOW_ROWS),
        }
        found = await self._session.fetch("read_window", params, idempotent=True)
        return _Window(
            found[0][0], {(row[1], row[2]): row[3] for row in found if row[1] is not None}
        )

    async def _find_each_boundary(self, wanted: Sequence[_Wanted]) -> list[str | None]:
        params = {
            "queues": quoted(one.queue for one in wanted),
            "priorities": numbers(LANE_PRIORITIES[one.lane] for one in wanted),
            "suspect": SUSPECT_CRASHES,
            "cursors": words(one.cursor for one in wanted),
            "sizes": numbers(one.size for one in wanted),
            "rooms": numbers(one.room for one in wanted),
        }
        return [
            row[0] for row in await self._session.fetch("find_boundary", params, idempotent=True)
        ]

    async def _read_each_range(self, wanted: Sequence[_Wanted]) -> list[BacklogBatch]:
        params = {
            "queues": quoted(one.queue for one in wanted),
            "priorities": numbers(LANE_PRIORITIES[one.lane] for one in wanted),
            "suspect": SUSPECT_CRASHES,
            "cursors": words(one.cursor for one in wanted),
            "untils": words(one.until for one in wanted),
            "sizes": numbers(one.size for one in wanted),
        }
        return [
            BacklogBatch(row.last_id, row.looked_at, row.ids.split(",") if row.ids else [])
            for row in await self._session.fetch("refill_tasks", params, idempotent=True)
        ]


__all__ = ["BacklogBatch", "BacklogLedger"]
