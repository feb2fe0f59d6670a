"""Notice that dispatch has lost data since the last look.

Dispatch has an epoch, a random value. It is missing or another one after FLUSHALL or a restart
without data. A server that came back from an older copy has the old epoch but another identity, and
so has a promoted replica. Where the user of Redis may not ask for the identity, a promoted replica
is noticed only if the old master has refused a write of ours before (redis_connection.py);
otherwise the walks along the ledger find what the failover cost, as they do where single keys are
lost. While we could not ask, others could not push. Whatever the reason, what follows is the same:
nothing that dispatch held before is taken for granted.
"""

from __future__ import annotations

from uuid import uuid4

from leaseq.dispatch.ownership import Ownership
from leaseq.dispatch.survey import Survey
from leaseq.errors import ServerUnreachable
from leaseq.failpoints import reach
from leaseq.telemetry import emit
from leaseq_reaper.apart import Apart


class Epochs:
    """Remembers the epoch and the identity of the server."""

    def __init__(self, survey: Survey, ownership: Ownership, *, apart: Apart) -> None:
        self._survey = survey
        self._ownership = ownership
        self._left = ownership.guard.generation
        self._apart = apart
        self._epoch: str | None = None
        self._server: str | None = None
        self._reason: str | None = None

    async def check(self) -> str | None:
        """Begin an epoch where there is none. Returns why dispatch may have lost data, or None if it has not.

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
            await self._apart.each([None], lambda _: self._check())
        except ServerUnreachable:
            self._reason = self._reason or "dispatch was out of reach"
            raise
        reason, self._reason = self._reason, None
        return reason

    async def _check(self) -> None:
        before, found = self._epoch, await self._survey.epoch()
        if found is None:
            reach("epoch.beginning")
        self._epoch = found or await self._survey.begin_epoch(uuid4().hex)
        if before is not None and before != self._epoch:
            self._reason = "the epoch of dispatch has changed"
            emit("epoch.changed", before=before, found=found, now=self._epoch)


__all__ = ["Epochs"]
