"""Has dispatch lost data since we last looked?

Each queue has an epoch, a random value. It is missing or another one after FLUSHALL, eviction or a restart without data; a server that
came back from an older copy has the old epoch but another identity, and so has a promoted replica. Whatever the reason, what follows
is the same: nothing that dispatch held before is taken for granted.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import uuid4

from leaseq.dispatch.survey import Survey
from leaseq.errors import ServerUnreachable
from leaseq.telemetry import emit
from leaseq_reaper.apart import apart


class Epochs:
    """Remembers epochs and the identity of the server."""

    def __init__(self, survey: Survey) -> None:
        self._survey = survey
        self._epochs: dict[str, str] = {}
        self._server: str | None = None
        self._away = False

    async def check(self, queues: Iterable[str]) -> str | None:
        """Begin epochs where there are none. Returns why dispatch may have lost data, or None if it has not.

        What was never seen before is new, not lost: of it the sweep at the reaper's start knows.
        """
        reasons: list[str] = []

        async def check_one(queue: str) -> None:
            before = self._epochs.get(queue)
            found = await self._survey.epoch(queue)
            now = found or await self._survey.begin_epoch(queue, uuid4().hex)
            self._epochs[queue] = now
            if before is not None and before != now:
                emit("epoch.changed", queue=queue, before=before, found=found, now=now)
                reasons.append(f"the epoch of queue {queue} has changed")

        try:
            server = await self._survey.run_id()
            if self._server is not None and self._server != server:
                reasons.append("the server of dispatch is another one")
            self._server = server
            await apart(queues, check_one)
        except ServerUnreachable:
            self._away = True
            if reasons:
                # What was noticed before the failure must not be forgotten with it.
                return reasons[0]
            raise
        if self._away:
            self._away = False
            reasons.append("dispatch was out of reach")
        return reasons[0] if reasons else None


__all__ = ["Epochs"]
