"""Has dispatch lost data since we last looked?

Each queue has an epoch, a random value. It is missing or another one after FLUSHALL, eviction or a restart without
data; a server that came back from an older copy has the old epoch but another identity, and so has a promoted
replica. Where we may not ask for the identity, such a return is not noticed here, and the walks along the ledger find what it
cost. And while we could not ask, others could not push. Whatever the reason, what follows is the same: nothing
that dispatch held before is taken for granted.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

from leaseq.dispatch.survey import Survey
from leaseq.errors import ServerUnreachable
from leaseq.failpoints import reach
from leaseq.telemetry import emit
from leaseq_reaper.apart import Apart


class Epochs:
    """Remembers epochs and the identity of the server."""

    def __init__(self, survey: Survey, *, apart: Apart) -> None:
        self._survey = survey
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
            server = await self._survey.run_id()
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
