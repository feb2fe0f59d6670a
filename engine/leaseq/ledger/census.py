"""The census, an estimate of the number of tasks of each queue and state.

The tasks are counted in a sample of the pages of their table (docs/decisions/0056-counting-that-never-scans.md),
because a count of all of them takes longer the more there are. Each page is in the sample with the
same chance p, independently. So the tasks that were found, divided by p, are an unbiased estimate,
and its variance is estimated by (1 - p) / p² times the sum of the squares of the numbers by page
(the estimator of Horvitz and Thompson). A table with no more pages than the sample is counted
whole, and its numbers are exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from random import getrandbits
from typing import Any

import msgspec
from msgspec import Struct

from leaseq.ledger.session import Session
from leaseq.model import State

# Pages that are read at most.
MOST_PAGES = 2000
# The time between two censuses, in seconds.
REST_SECONDS = 30.0
# A number that was found on fewer pages says only that there are fewer tasks than a bound.
FEWEST_PAGES = 30


class CensusCount(Struct, frozen=True):
    """The tasks of a queue in a state. `error`: the standard error of `count`, 0 where it is exact.
    `fewer_than`: where there were too few for an estimate; then `count` and `error` are not to be
    relied on."""

    queue: str
    state: State
    count: int
    error: int
    fewer_than: int | None


class Census(Struct, frozen=True):
    """The tasks by queue and state, the most first, `age` seconds ago. A queue and state that is
    missing has no tasks if it is exact, else too few of them to be found."""

    at: datetime
    age: float
    pages: int
    of_pages: int
    counts: list[CensusCount]

    @property
    def exact(self) -> bool:
        """Whether the whole table was counted."""
        return self.pages >= self.of_pages


class CensusLedger:
    """The census in Postgres."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def find(self) -> Census | None:
        """The last census of any process."""
        found = await self._session.fetch("find_census", idempotent=True)
        return _census(found[0]) if found else None

    async def take(
        self,
        *,
        pages: int = MOST_PAGES,
        rest_seconds: float = REST_SECONDS,
        seed: int | None = None,
    ) -> Census | None:
        """Take a census from so many pages. None: another process does it now, or has done it within
        the last `rest_seconds`."""
        params = {
            "pages": pages,
            "rest": rest_seconds,
            "seed": getrandbits(31) if seed is None else seed,
        }
        found = await self._session.fetch("take_census", params)
        return _census(found[0]) if found else None


def _census(row: Any) -> Census:
    share = min(1.0, row.pages / row.of_pages) if row.of_pages else 1.0
    counts = [
        _count(share, queue, state, sample)
        for queue, state, *sample in msgspec.json.decode(row.counts)
    ]
    return Census(row.at, row.age, row.pages, row.of_pages, counts)


def _count(share: float, queue: str, state: str, sample: Sequence[int]) -> CensusCount:
    """`sample`: as in take_census.sql."""
    found, squares, pages, largest = sample
    error = math.sqrt((1 - share) * squares) / share
    bound = None
    if share < 1 and pages < FEWEST_PAGES:
        # The number of pages is that of a Poisson distribution: this is above its mean in 39 of 40
        # cases.
        most = pages + 2 + 2 * math.sqrt(pages + 1)
        bound = math.ceil(most * largest / share)
    return CensusCount(queue, State(state), round(found / share), math.ceil(error), bound)


__all__ = ["MOST_PAGES", "REST_SECONDS", "Census", "CensusCount", "CensusLedger"]
