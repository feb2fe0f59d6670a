"""Refuse tasks with traits while a process of an older version is alive.

A worker of an older version would settle such a task and leave its permit behind, and a reaper of an
older version would promote it past its limit. The look is repeated every few seconds at most. A
process of an older version that starts in between leaves rows behind that the audit repairs.
"""

from __future__ import annotations

import time

from leaseq.errors import FeatureNeedsUpgrade
from leaseq.ledger.session import Session
from leaseq.limits import KNOWN_TRAITS

LOOK_SECONDS = 5.0
# A service that was not seen for so long counts as gone.
PATIENCE_SECONDS = 35.0


class OlderProcesses:
    """The look for them, and its last result."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._none_at = float("-inf")

    def forget(self) -> None:
        """Look again at the next submission."""
        self._none_at = float("-inf")

    async def refuse(self) -> None:
        """Raise `FeatureNeedsUpgrade` where one is alive."""
        if time.monotonic() - self._none_at < LOOK_SECONDS:
            return
        params = {"traits": KNOWN_TRAITS, "patience": PATIENCE_SECONDS}
        found = await self._session.fetch("find_older", params, idempotent=True)
        if found:
            role, process_id, host = found[0]
            raise FeatureNeedsUpgrade(
                f"{role} {process_id} on host {host} has an older version of leaseq, which does not know "
                "limits: replace it, then submit again"
            )
        self._none_at = time.monotonic()


__all__ = ["OlderProcesses"]
