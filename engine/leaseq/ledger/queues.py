"""Queues in the ledger: names that are known, and names that are paused."""

from __future__ import annotations

from collections.abc import Sequence

from leaseq.errors import QueueUnknown
from leaseq.ledger import rows
from leaseq.ledger.session import Session
from leaseq.model import QueueRecord

# While so many queues are paused, a queue that is not known cannot be. Operators pause queues
# before their first task, and clients can make up names.
MOST_PAUSED = 1000


class QueueLedger:
    """The queues in Postgres."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def register_queues(self, names: Sequence[str]) -> None:
        """Make queues known."""
        await self._session.fetch("register_queues", {"names": list(names)}, idempotent=True)

    async def list_queues(self, *, after: str = "", limit: int | None = None) -> list[QueueRecord]:
        """The next known queues by name; without a limit, all of them."""
        found = await self._session.fetch(
            "list_queues", {"after": after, "limit": limit}, idempotent=True
        )
        return [rows.to_queue(row) for row in found]

    async def list_served(self) -> list[str]:
        """The queues that open workers serve."""
        return [row[0] for row in await self._session.fetch("list_served_queues", idempotent=True)]

    async def list_paused(self, *, after: str = "", limit: int) -> list[str]:
        """The next names of queues that are paused; fewer than `limit`: there are no more."""
        return [
            row[0]
            for row in await self._session.fetch(
                "list_paused_queues", {"after": after, "limit": limit}, idempotent=True
            )
        ]

    async def find_paused(self, names: Sequence[str]) -> set[str]:
        """The queues among these that are paused."""
        return {
            row[0]
            for row in await self._session.fetch(
                "find_paused_queues", {"names": list(names)}, idempotent=True
            )
        }

    async def pause(
        self, name: str, *, paused: bool, by: str | None = None, reason: str | None = None
    ) -> QueueRecord:
        """Pause or resume a queue; `by` and `reason` are kept while it is paused. Raises
        `QueueUnknown` for one to be paused that is not known, while `MOST_PAUSED` are."""
        params = {
            "name": name,
            "paused": paused,
            "by": by if paused else None,
            "reason": reason if paused else None,
            "most": MOST_PAUSED,
        }
        found = await self._session.fetch("pause_queue", params, idempotent=True)
        if paused and not found:
            raise QueueUnknown(
                f"queue {name} is not known, and {MOST_PAUSED} queues or more are paused: is the name right? If it is, pause the "
                "queue after its first task or its first worker, or resume queues that are not in use"
            )
        return rows.to_queue(found[0]) if found else QueueRecord(name=name, paused=paused)

    async def survey_queues(self) -> list[tuple[str, bool]]:
        """Every known queue, and whether it may be forgotten if no task names it."""
        return [
            (row[0], row[1]) for row in await self._session.fetch("survey_queues", idempotent=True)
        ]

    async def find_queues(self, *, after: str, limit: int) -> tuple[str | None, list[str]]:
        """The queues that the next `limit` tasks after this one name, and the last of them (None:
        there are none)."""
        ((last_id, names),) = await self._session.fetch(
            "find_queues", {"after": after, "limit": limit}, idempotent=True
        )
        return last_id, names

    async def forget_queues(self, names: Sequence[str]) -> list[str]:
        """Forget queues that no task names; returns those that were neither paused nor served
        meanwhile."""
        return [
            row[0]
            for row in await self._session.fetch(
                "forget_queues", {"names": list(names)}, idempotent=True
            )
        ]


__all__ = ["MOST_PAUSED", "QueueLedger"]
