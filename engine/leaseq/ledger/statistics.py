"""Statistics over time in the ledger: flushed by each process, folded by reapers.

A count is either in `tallies`, where a flush has put it, or in `stats`, where a fold has added it to
the sums of its minute, ten minutes and hour. Both are one statement each, so a process that dies
leaves no count in both or in none (docs/statistics.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from leaseq.ledger.arrays import numbers, quoted
from leaseq.ledger.rows import reader
from leaseq.ledger.session import Session
from leaseq.metrics.tally import MOST_PAIRS
from leaseq.model import Moment

Reporter = Literal["api", "reaper", "supervisor", "program"]

# A process that has not reported for so long counts as silent. One with nothing to report does so
# once a minute.
SILENT_SECONDS = 90.0
# A fold leaves younger tallies, so that it finds those of several flushes, and folds so many.
FOLDED_AFTER_SECONDS = 20.0
MOST_FOLDED = 10_000
# Since the fold before. Longer than a fold may take.
FOLD_PAUSE_SECONDS = 6.0
# Tallies that wait for a fold and are read.
MOST_TALLIES = 20_000

MINUTE, TEN_MINUTES, HOUR = 60, 600, 3600
RETENTION_SECONDS = {MINUTE: 48 * 3600.0, TEN_MINUTES: 8 * 86_400.0, HOUR: 90 * 86_400.0}
FLUSH_RETENTION_SECONDS = 7 * 86_400.0


class Counted(Struct, kw_only=True):
    """Sums of counts. `waits` and `runs` are histograms by the bounds of a tally, without trailing
    zeros; lost attempts have no run time."""

    created: int = 0
    replayed: int = 0
    started: int = 0
    succeeded: int = 0
    errored: int = 0
    timed_out: int = 0
    cancelled: int = 0
    released: int = 0
    lost: int = 0
    failed_tasks: int = 0
    cancelled_tasks: int = 0
    waited: float = 0.0
    ran: float = 0.0
    waits: list[int] = []
    runs: list[int] = []


class CountedPair(Counted, kw_only=True):
    """The sums of one type in one queue."""

    queue: str
    type: str


class CountedQueue(Counted, kw_only=True):
    """The sums of one queue."""

    queue: str


class CountedStep(Counted, kw_only=True):
    """The sums of one step, which begins at `at`."""

    at: Moment


class Reports(Struct, frozen=True, kw_only=True):
    """How current the statistics are. `reporting`: processes that are not silent."""

    now: Moment
    began_at: Moment | None
    flushed_at: Moment | None
    reporting: int
    waits_since: Moment | None  # of the oldest tally that no reaper has folded


class StatisticsLedger:
    """The statistics in Postgres."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def flush(
        self, process: str, role: Reporter, number: int, counted: Sequence[CountedPair]
    ) -> None:
        """Insert what a process has counted. The same number again inserts nothing."""
        params = {"process": process, "role": role, "flush": number} | _arrays(counted)
        await self._session.fetch("flush_tallies", params, idempotent=True)

    async def fold(self) -> int:
        """Fold tallies into the sums of their steps; returns how many."""
        params = {
            "age": FOLDED_AFTER_SECONDS,
            "pause": FOLD_PAUSE_SECONDS,
            "most": MOST_FOLDED,
            "pairs": MOST_PAIRS,
        }
        ((folded,),) = await self._session.fetch("fold_tallies", params)
        return int(folded)

    async def read_reports(self) -> Reports:
        """How current the statistics are."""
        params = {"silent": SILENT_SECONDS}
        (row,) = await self._session.fetch("read_reports", params, idempotent=True)
        return _to_reports(row)

    async def sum_since(
        self, since: datetime, *, step: int, queue: str | None, type_name: str | None, pairs: int
    ) -> tuple[list[CountedStep], list[CountedPair], list[CountedQueue]]:
        """The sums since a moment: of each step that has any, of each type in each queue, and of
        each queue."""
        params = {
            "since": since,
            "step": step,
            "queue": queue,
            "type": type_name,
            "tallies": MOST_TALLIES,
            "pairs": pairs,
        }
        found = await self._session.fetch("sum_statistics", params, idempotent=True)
        steps = [_to_step(row) for row in found if row.at is not None]
        others = [row for row in found if row.at is None]
        pairs_found = [_to_pair(row) for row in others if row.type is not None]
        return steps, pairs_found, [_to_queue(row) for row in others if row.type is None]

    async def sum_runs(self, queue: str, type_name: str, *, hours: int) -> list[int]:
        """The histogram of the run times of one type in one queue, of so many hours."""
        params = {"queue": queue, "type": type_name, "hours": hours}
        ((runs,),) = await self._session.fetch("sum_runs", params, idempotent=True)
        return [int(count) for count in runs]

    async def prune(self, *, limit: int) -> int:
        """Delete sums past their retention, and processes that are long gone; returns the number
        of sums."""
        params = {
            "minutes": RETENTION_SECONDS[MINUTE],
            "tens": RETENTION_SECONDS[TEN_MINUTES],
            "hours": RETENTION_SECONDS[HOUR],
            "limit": limit,
        }
        pruned = await self._session.fetch("prune_stats", params)
        await self._session.fetch("prune_flushes", {"retention": FLUSH_RETENTION_SECONDS})
        return len(pruned)


def _arrays(counted: Sequence[CountedPair]) -> dict[str, Any]:
    """The arrays of flush_tallies.sql."""
    return {
        "queues": quoted(each.queue for each in counted),
        "types": quoted(each.type for each in counted),
        "waits": [numbers(each.waits) for each in counted],
        "runs": [numbers(each.runs) for each in counted],
    } | {name: numbers(getattr(each, name) for each in counted) for name in _SUMS}


_SUMS = [name for name in Counted.__struct_fields__ if name not in ("waits", "runs")]
_to_reports = reader(Reports)
_to_step = reader(CountedStep)
_to_pair = reader(CountedPair)
_to_queue = reader(CountedQueue)

__all__ = [
    "HOUR",
    "MINUTE",
    "SILENT_SECONDS",
    "TEN_MINUTES",
    "Counted",
    "CountedPair",
    "CountedQueue",
    "CountedStep",
    "Reporter",
    "Reports",
    "StatisticsLedger",
]
