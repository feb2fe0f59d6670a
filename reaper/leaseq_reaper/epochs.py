"""Has dispatch lost data since we last looked?

Each queue has an epoch, a random value. It is missing or another one after FLUSHALL, eviction or a restart without data. A server
that came back from an older copy has the old epoch but another identity, and so has a promoted replica. Where the user of Redis
may not ask for the identity, a promoted replica is noticed only if the old master has refused a write of ours before
(redis_connection.py); otherwise the walks along the ledger find what the failover cost. And while we could not ask, others could
not push. Whatever the reason, what follows is the same: nothing that dispatch held before is taken for granted.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

from leaseq.dispatch.ownership import Ownership
from leaseq.dispatch.survey import Survey
from leaseq.errors import ServerUnreachable
from leaseq.failpoints import reach
from leaseq.telemetry import emit
from leaseq_reaper.apart import Apart


class Epochs:
    """Remembers epochs and the identity of the server."""

    def __init__(self, survey: Survey, ownership: Ownership, *, apart: Apart) -> None:
        self._survey = survey
        self._ownership = ownership
        self._left = ownership.guard.generation
        self._apart = apart
        self._epochs: dict[str, str] = {}
        self._server: str | None = None
        self._reason: str | None = None

    async def check(self, queues: Sequence[str]) -> str | None:
        """Begin epochs where there are none. Returns why dispatch may have lost data, or None if it has not.

        What was never seen before is new, not lost: of it the sweep at the reaper's start knows. A reason that was
        found before an error is told after it.
        """
        try:
            # First: the epochs of another ledger would look like a loss, and all that waits would be delivered there.
            await self._ownership.check()
            server = await self._survey.run_id()
            if self._left != self._ownership.guard.generation:
                self._left = self._ownership.guard.generation
                self._reason = self._reason or "a server of dispatch was left because it took no writes"
            if None not in (server, self._server) and self._server != server:
                self._reason = "the server of dispatch is another one"
            self._server = server
            await self._apart.each(queues, self._check)
        except ServerUnreachable:
            self._reason = self._reason or "dispatch was out of reach"
            raise
        reason, self._reason = self._reason, None
        return reason

    async def _check(self, queue: str) -> None:
        before = self._epochs.get(queue)
        found = await self._survey.epoch(queue)
        if found is None:
            reach("epoch.beginning")
        now = found or await self._survey.begin_epoch(queue, uuid4().hex)
        self._epochs[queue] = now
        if before is not None and before != now:
            self._reason = f"the epoch of queue {queue} has changed"
            emit("epoch.changed", queue=queue, before=before, found=found, now=now)


__all__ = ["Epochs"]
