"""Services in the ledger: processes that announce themselves.

Reapers, API processes and supervisors do. A row says that its process could write to Postgres a
moment ago, and nothing more. No decision about a task rests on it: it is read for people
(docs/decisions/0054-services-announce-themselves.md).
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

from leaseq.ledger import rows
from leaseq.ledger.session import Session
from leaseq.limits import KNOWN_TRAITS
from leaseq.model import Moment

Role = Literal["api", "reaper", "supervisor"]

# Beats that may be missing before a service counts as gone.
MISSED_BEATS = 3
# Services of each role that are read.
MOST_LISTED = 50


class ServiceRecord(Struct, frozen=True, kw_only=True):
    """One service, as the ledger has it. `silent_seconds`: since its last beat."""

    service_id: str
    role: str
    host: str
    pid: int
    version: str
    beat_seconds: float
    detail: bytes  # a JSON object
    started_at: Moment
    last_seen: Moment
    ended_at: Moment | None
    silent_seconds: float

    @property
    def is_alive(self) -> bool:
        """Whether it has not stopped, and has missed few beats."""
        return self.ended_at is None and self.silent_seconds < MISSED_BEATS * self.beat_seconds


class ServiceLedger:
    """The services in Postgres."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def announce(
        self,
        service_id: str,
        role: Role,
        *,
        process: tuple[str, int, str],
        beat_seconds: float,
        detail: dict[str, Any],
    ) -> None:
        """Record that a service is alive. `process`: its host, pid and version."""
        host, pid, version = process
        params = {
            "id": service_id,
            "role": role,
            "host": host,
            "pid": pid,
            "version": version,
            "beat_seconds": beat_seconds,
            "detail": msgspec.json.encode(detail).decode(),
            "traits": KNOWN_TRAITS,
        }
        await self._session.fetch("announce_service", params, idempotent=True)

    async def end(self, service_id: str) -> None:
        """Record that a service has stopped."""
        await self._session.fetch("end_service", {"id": service_id}, idempotent=True)

    async def list_services(self, *, limit: int = MOST_LISTED) -> list[ServiceRecord]:
        """The services of every role, at most `limit` of a role, the open ones first."""
        found = await self._session.fetch("list_services", {"limit": limit}, idempotent=True)
        return [_to_service(row) for row in found]


_to_service = rows.reader(ServiceRecord)

__all__ = ["MISSED_BEATS", "MOST_LISTED", "Role", "ServiceLedger", "ServiceRecord"]
