"""Announce this process in the ledger, so that its absence becomes visible.

A reaper, an API process and a supervisor write one row about themselves, when they start, every
BEAT_SECONDS, and when the description of their condition changes. A process that stops in an orderly
way records that. One that is killed falls silent, and counts as gone after a few missed beats
(`MISSED_BEATS`). No task and no worker depends on any of this: while Postgres is away nothing is
written, and nothing waits for it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from time import monotonic
from typing import Any
from uuid import uuid4

from leaseq.errors import ServerUnreachable
from leaseq.ledger.services import Role, ServiceLedger
from leaseq.loop import end, run_forever

BEAT_SECONDS = 10.0
# How soon a change of the description is written. The look itself is a comparison in memory.
LOOK_SECONDS = 1.0
# A server that does not answer must not delay the end of the process.
END_SECONDS = 0.3


class Announcement:
    """The row of this process."""

    def __init__(
        self, ledger: ServiceLedger, role: Role, describe: Callable[[], dict[str, Any]]
    ) -> None:
        self.service_id = uuid4().hex
        self._ledger = ledger
        self._role = role
        self._describe = describe
        self._process = (socket.gethostname(), os.getpid(), version("leaseq"))
        self._written: dict[str, Any] | None = None
        self._due = 0.0

    async def look(self) -> None:
        """Write the row if it is due, or if the description has changed."""
        detail = self._describe()
        if detail == self._written and monotonic() < self._due:
            return
        # An outage of Postgres is reported by the code that needs it. The next look tries again.
        with suppress(ServerUnreachable):
            await self._ledger.announce(
                self.service_id,
                self._role,
                process=self._process,
                beat_seconds=BEAT_SECONDS,
                detail=detail,
            )
            self._written, self._due = detail, monotonic() + BEAT_SECONDS

    async def end(self) -> None:
        """Record the end, if the ledger answers in time."""
        with suppress(ServerUnreachable, TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await self._ledger.end(self.service_id)


@asynccontextmanager
async def announced(
    ledger: ServiceLedger, role: Role, describe: Callable[[], dict[str, Any]] = dict
) -> AsyncIterator[Announcement]:
    """Announce this process for as long as the block lasts. `describe` returns a small JSON object;
    it is called often and must only read memory."""
    announcement = Announcement(ledger, role, describe)
    looks = asyncio.create_task(
        run_forever(
            announcement.look,
            name="announce",
            interval_seconds=LOOK_SECONDS,
            stop=asyncio.Event(),
        )
    )
    try:
        yield announcement
    finally:
        await end(looks)
        await announcement.end()


__all__ = ["BEAT_SECONDS", "Announcement", "announced"]
