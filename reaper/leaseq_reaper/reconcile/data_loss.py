"""Detect that dispatch has lost data since the last read.

Dispatch has an epoch, a random value. It is missing or different after FLUSHALL or a restart
without data. A server that was restored from an older copy has the old epoch but another run id,
and so has a promoted replica. If the Redis user may not read the run id, a promoted replica is
noticed only if the old master has refused a write of ours before (redis_connection.py). Otherwise
the scans along the ledger find the losses of the failover, as they do for single lost keys. While
we could not read, other processes could not push. The consequence is the same for every reason:
nothing that dispatch held before is trusted.
"""

from __future__ import annotations

from uuid import uuid4

from leaseq.dispatch.dispatch_server import DispatchServer
from leaseq.dispatch.ownership import Ownership
from leaseq.errors import ServerUnreachable
from leaseq.failpoints import reach
from leaseq.observability.telemetry import emit
from leaseq_reaper.isolation import FailureIsolation


class DataLossDetector:
    """Remembers the epoch and the run id of the server."""

    def __init__(
        self, server: DispatchServer, ownership: Ownership, *, isolation: FailureIsolation
    ) -> None:
        self._dispatch_server = server
        self._ownership = ownership
        self._left = ownership.guard.generation
        self._isolation = isolation
        self._epoch: str | None = None
        self._server: str | None = None
        self._reason: str | None = None

    async def check(self) -> str | None:
        """Begin an epoch if there is none. Returns why dispatch may have lost data, or None if it
        has not.

        A server that is seen for the first time is new, not lost: the full scan at the reaper's
        start covers it. A reason that was found before an error is returned after it.
        """
        try:
            # First: the epochs of another ledger would look like a loss, and all waiting tasks
            # would be delivered there.
            await self._ownership.check()
            server = await self._dispatch_server.run_id()
            if self._left != self._ownership.guard.generation:
                self._left = self._ownership.guard.generation
                self._reason = (
                    self._reason or "a server of dispatch was left because it took no writes"
                )
            if None not in (server, self._server) and self._server != server:
                self._reason = "the server of dispatch is another one"
            self._server = server
            await self._isolation.each([None], lambda _: self._check())
        except ServerUnreachable:
            self._reason = self._reason or "dispatch was out of reach"
            raise
        reason, self._reason = self._reason, None
        return reason

    async def _check(self) -> None:
        before, found = self._epoch, await self._dispatch_server.epoch()
        if found is None:
            reach("epoch.beginning")
        self._epoch = found or await self._dispatch_server.begin_epoch(uuid4().hex)
        if before is not None and before != self._epoch:
            self._reason = "the epoch of dispatch has changed"
            emit("epoch.changed", before=before, found=found, now=self._epoch)


__all__ = ["DataLossDetector"]
