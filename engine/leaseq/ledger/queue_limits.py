"""Queues in the ledger that have a limit, or are fair between tenants.

A task without a limit of its own takes that of its queue. The limit of a fair queue has the tenants as
its lines, and a bound that follows the slots of its workers
(docs/decisions/0072-queues-with-limits.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import psycopg

from leaseq.errors import LimitNotFound
from leaseq.ledger.session import Session
from leaseq.limits import MARK, MOST_CONCURRENCY, QueueRule

# The permits of a fair queue beyond the slots of its workers: at least so many, and as many as were
# given in so many seconds.
LEAST_AHEAD = 4
AHEAD_SECONDS = 0.25
# The permits of a fair queue, at most, and the slots of a worker whose supervisor does not tell them.
MOST_PERMITS = 20_000
USUAL_SLOTS = 10
# From one measurement of a queue to the next, by any of the reapers.
MEASURE_SECONDS = 0.8
# A change is known to every process that submits after so long.
GRACE_SECONDS = 15.0


class QueueLimit(msgspec.Struct, frozen=True):
    """A queue whose tasks take a limit."""

    queue: str
    limit: str
    fair: bool


class Room(msgspec.Struct, frozen=True):
    """The permits of a fair queue."""

    queue: str
    permits: int


class Walk(msgspec.Struct, frozen=True):
    """A walk over the tasks for queues that have a new limit: how many are left, and its position."""

    queues: tuple[str, ...]
    left: int
    walked: str


class QueueLimitLedger:
    """The limits of queues in Postgres."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def declare(self, rules: Sequence[QueueRule]) -> list[str]:
        """Record the queues that an app declares. Returns those that are new or have changed. Raises
        `LimitNotFound`."""
        return await self._set(rules, [msgspec.json.encode(rule).decode() for rule in rules])

    async def put(self, rule: QueueRule) -> None:
        """Give a queue a limit, make it fair, or make it plain. Raises `LimitNotFound`."""
        await self._set([rule], [None])

    async def _set(self, rules: Sequence[QueueRule], declared: Sequence[str | None]) -> list[str]:
        params = {
            "queues": [rule.queue for rule in rules],
            "limit_names": [rule.limit for rule in rules],
            "fair": [rule.fair for rule in rules],
            "declared": list(declared),
            "mark": MARK,
            "least": LEAST_AHEAD,
            "most": MOST_CONCURRENCY,
        }
        try:
            found = await self._session.fetch("set_queues", params, idempotent=True)
        except psycopg.errors.CheckViolation as error:
            names = sorted({rule.limit for rule in rules if rule.limit is not None})
            raise LimitNotFound(f"there is no limit {' or '.join(names)}") from error
        return [row[0] for row in found]

    async def list_limits(self) -> list[QueueLimit]:
        """Every queue whose tasks take a limit."""
        found = await self._session.fetch("list_queue_limits", idempotent=True)
        return [QueueLimit(*row) for row in found]

    async def find(self, queue: str) -> QueueLimit | None:
        """The limit of a queue; None: it is plain."""
        return next((each for each in await self.list_limits() if each.queue == queue), None)

    async def size(self) -> list[Room]:
        """Set the permits of the fair queues that were not measured a moment ago. Returns those that
        have changed."""
        params = {
            "ahead": AHEAD_SECONDS,
            "least": LEAST_AHEAD,
            "most": MOST_PERMITS,
            "usual": USUAL_SLOTS,
            "every": MEASURE_SECONDS,
        }
        found = await self._session.fetch("size_fair_queues", params)
        return [Room(*row) for row in found]

    async def find_walk(self) -> Walk | None:
        """The walk that is next: of the queues that are at the same position. None: no queue has a
        new limit."""
        found = await self._session.fetch("find_walks", {"grace": GRACE_SECONDS}, idempotent=True)
        if not found:
            return None
        first = found[0]
        queues = [row.queue for row in found if row[1:] == first[1:]]
        return Walk(tuple(queues), first.walks, first.walked)

    async def adopt(self, walk: Walk, *, size: int) -> tuple[int, bool]:
        """Let the tasks of these queues among the next `size` tasks take the limit of their queue.
        Returns how many, and whether the walk is at its end."""
        params = {
            "queues": list(walk.queues),
            "walks": walk.left,
            "walked": walk.walked,
            "size": size,
        }
        ((adopted, is_end),) = await self._session.fetch("adopt_tasks", params)
        return int(adopted), bool(is_end)


__all__ = ["QueueLimit", "QueueLimitLedger", "Room", "Walk"]
