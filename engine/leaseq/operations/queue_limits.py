"""The limits of queues, as of a few seconds ago, for submissions.

A task without a limit of its own takes that of its queue. Statements of plain submissions know nothing
of it. Instead each process that submits reads which queues have a limit when it opens its engine, and
every few seconds, and sends the tasks of these queues through the statement for tasks with limits. While
Postgres is away the last answer holds. A task that was submitted by a process that did not know yet takes
the limit a few seconds later, by the duty `queues` of a reaper, unless it runs by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from leaseq.ledger.queue_limits import QueueLimit, QueueLimitLedger
from leaseq.model import Submission

REFRESH_SECONDS = 3.0


class QueueLimits:
    """The names of the limits, by queue. `of` is empty where all queues are plain."""

    def __init__(self, ledger: QueueLimitLedger) -> None:
        self._ledger = ledger
        self.of: Mapping[str, str] = {}

    async def refresh(self) -> None:
        """Read them."""
        self.of = {each.queue: each.limit for each in await self._ledger.list_limits()}

    async def find(self, queue: str) -> QueueLimit | None:
        """The limit of a queue, from the ledger. None: it is plain."""
        return await self._ledger.find(queue)

    def bind(self, submission: Submission) -> Submission:
        """The submission with the limit of its queue, where it has none of its own."""
        limit = self.of.get(submission.queue)
        if limit is None or submission.limit is not None:
            return submission
        return replace(submission, limit=limit)

    def bind_all(self, batch: Sequence[Submission]) -> Sequence[Submission]:
        """The same for many."""
        return [self.bind(each) for each in batch] if self.of else batch


__all__ = ["REFRESH_SECONDS", "QueueLimits"]
