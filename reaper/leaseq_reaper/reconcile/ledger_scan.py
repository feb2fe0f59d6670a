"""Scan a ledger of any size in chunks, without an index on state.

The chunks follow the primary key, and the position is remembered. Ids are UUIDv7 and sort by the
time at which they were made, so "recent" is a position. Clocks of clients decide only how soon a
task is examined, never its state.
"""

from __future__ import annotations

from collections.abc import Callable

from leaseq.codec import FIRST_ID, id_time_ms
from leaseq.ledger.maintenance import Accounted, Maintenance, ScanBatch

CHUNK = 5000


def first_id_at(seconds: float) -> str:
    """The lowest UUIDv7 that can have been made at this Unix time (RFC 9562, 5.7: its first 48 bits
    are milliseconds)."""
    text = f"{max(0, int(seconds * 1000)):012x}"
    return f"{text[:8]}-{text[8:12]}-7000-8000-000000000000"


def first_recent_id(seconds_ago: float) -> str:
    """The lowest id of a task submitted since then, by the clock that ids follow."""
    return first_id_at(id_time_ms() / 1000 - seconds_ago)


class LedgerScan:
    """One scan; it begins again where `begin` says once it has come to the end, which may be
    `ahead_seconds` from now."""

    def __init__(
        self,
        maintenance: Maintenance,
        *,
        begin: Callable[[], str] = lambda: FIRST_ID,
        running_seconds: float | None = None,
        ahead_seconds: int | None = None,
    ) -> None:
        self._maintenance = maintenance
        self._ahead = ahead_seconds
        self._begin = begin
        self.running_seconds = running_seconds
        self.cursor: str | None = None

    @property
    def next_cursor(self) -> str:
        """The id after which the next chunk begins."""
        return self._begin() if self.cursor is None else self.cursor

    async def step(self, *, quiet_seconds: float, accounted: Accounted) -> ScanBatch:
        """The next chunk, without waiting tasks that are accounted for; its `last_id` is None at
        the end."""
        cursor = self.next_cursor
        chunk = await self._maintenance.scan(
            cursor=cursor,
            limit=CHUNK,
            quiet_seconds=quiet_seconds,
            running_seconds=self.running_seconds,
            ahead_seconds=self._ahead,
            accounted=accounted,
        )
        self.cursor = chunk.last_id
        return chunk


__all__ = ["CHUNK", "LedgerScan", "first_id_at", "first_recent_id"]
