"""SCHEDULED tasks in the ledger: find those that are due, and promote them.

Tasks that are due are read and promoted by queue and priority, in the order in which they became
due.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from leaseq.codec import FIRST_ID, next_id
from leaseq.ledger.arrays import numbers, quoted, words
from leaseq.ledger.session import Session
from leaseq.lifecycle import LANES, SUSPECT_CRASHES
from leaseq.model import Lane, Priority

# A queue and a priority, whose due tasks are found together.
DuePlace = tuple[str, int]


class Due(msgspec.Struct, frozen=True):
    """A place (queue and priority) and a position in it: tasks that are due there from this moment
    and id on.

    Queue '' holds what a process of an older version has scheduled (migration 3).
    """

    queue: str
    priority: int
    at: datetime | str = "-infinity"
    task_id: str = FIRST_ID

    @property
    def place(self) -> DuePlace:
        return self.queue, self.priority


class Listed(msgspec.Struct, frozen=True):
    """Tasks that are due in one place, and the position behind the last of them."""

    place: DuePlace
    # two arrays in the order in which the tasks became due, as text for the next statement
    ids: str
    run_ats: str
    count: int
    rest: Due

    @property
    def task_ids(self) -> list[str]:
        return self.ids[1:-1].split(",") if self.count else []


class Promoted(msgspec.Struct, frozen=True):
    """Tasks of one lane that were promoted, and their place in `scheduled`."""

    place: DuePlace
    queue: str
    lane: Lane
    task_ids: list[str]


class DueTaskLedger:
    """The SCHEDULED tasks in Postgres."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def find_due(self, known: Sequence[Due] = ()) -> list[Due]:
        """Where anything is due, from the first task on. In the places of `known` only from their
        position on."""
        params = {
            "queues": quoted([due.queue for due in known]),
            "priorities": numbers([due.priority for due in known]),
            "after_ats": quoted([str(due.at) for due in known]),
            "after_ids": words([due.task_id for due in known]),
        }
        return [Due(*row) for row in await self._session.fetch("find_due", params, idempotent=True)]

    async def list_due(self, places: Sequence[tuple[Due, int]]) -> list[Listed]:
        """List the tasks that are due in these places, in each at most so many. One answer for each
        place, in order."""
        params = {
            "queues": quoted([due.queue for due, _ in places]),
            "priorities": numbers([due.priority for due, _ in places]),
            "from_ats": quoted([str(due.at) for due, _ in places]),
            "from_ids": words([due.task_id for due, _ in places]),
            "limits": numbers([limit for _, limit in places]),
        }
        found = await self._session.fetch("list_due", params, idempotent=True)
        return [_listed(due, *row) for (due, _), row in zip(places, found, strict=True)]

    async def promote(self, listed: Sequence[Listed]) -> list[Promoted]:
        """Make SCHEDULED tasks that were listed as due PENDING. Returns them by lane.

        A task that is missing was locked, or is no longer SCHEDULED since that moment.
        """
        params = {
            "ids": words([one.ids[1:-1] for one in listed if one.count]),
            "run_ats": words([one.run_ats[1:-1] for one in listed if one.count]),
            "suspect": SUSPECT_CRASHES,
        }
        return [_promoted(row) for row in await self._session.fetch("promote_tasks", params)]

    async def discard_due(self, task_ids: Sequence[str]) -> list[str]:
        """Forget that tasks are due which do not exist any more; returns their ids."""
        found = await self._session.fetch(
            "discard_due", {"ids": words(sorted(task_ids))}, idempotent=True
        )
        return [row[0] for row in found]

    async def reschedule(self, task_ids: Sequence[str]) -> list[str]:
        """Give SCHEDULED tasks the rows back by which promote finds them; returns the ids of those
        that had none."""
        found = await self._session.fetch(
            "reschedule_tasks", {"ids": words(sorted(task_ids))}, idempotent=True
        )
        return [row[0] for row in found]


def _listed(
    due: Due,
    ids: str | None,
    run_ats: str | None,
    count: int,
    last_at: datetime | None,
    last_id: str | None,
) -> Listed:
    if ids is None or run_ats is None or last_at is None or last_id is None:
        return Listed(due.place, "{}", "{}", 0, due)
    return Listed(due.place, ids, run_ats, count, Due(*due.place, last_at, next_id(last_id)))


def _promoted(row: Any) -> Promoted:
    lane = Lane.SUSPECT if row.is_suspect else LANES[Priority(row.priority)]
    return Promoted((row.place_queue, row.place_priority), row.queue, lane, row.ids.split(","))


__all__ = ["Due", "DuePlace", "DueTaskLedger", "Listed", "Promoted"]
