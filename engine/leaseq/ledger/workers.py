"""Workers in the ledger, with their heartbeats and the sessions of their handlers.

`workers.closed_at` is the one authority on whether a worker may still act; it is set once and
never cleared.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
import psycopg

from leaseq.ledger import rows
from leaseq.ledger.session import Connection, Session
from leaseq.limits import KNOWN_TRAITS
from leaseq.model import WorkerRecord


class Watched(msgspec.Struct, frozen=True):
    """A worker as a reaper watches it: open, stale (open, and silent for longer than a lease)
    or closed a moment ago."""

    worker_id: str
    queues: list[str]  # all of them, or the home queue alone where it is open and not stale
    closed: bool
    stale: bool


class Sessions(msgspec.Struct, frozen=True):
    """Sessions of a worker in Postgres: how many were ended, and how many belong to a role
    that we may not signal."""

    ended: int
    kept: int


class SessionIdentity(msgspec.Struct, frozen=True):
    """One session of Postgres. A pid alone is reused by later ones."""

    pid: int
    backend_start: datetime


class WorkerLedger:
    """The workers in Postgres."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def open_worker(
        self,
        worker_id: str,
        *,
        host: str,
        pid: int,
        queues: Sequence[str],
        version: str,
        app_version: str | None = None,
    ) -> None:
        """Record a new worker, before its first pull. `version` is that of leaseq."""
        params = {
            "worker_id": worker_id,
            "host": host,
            "pid": pid,
            "queues": list(queues),
            "version": version,
            "app_version": app_version,
            "traits": KNOWN_TRAITS,
        }
        await self._session.fetch("open_worker", params)

    async def set_secret(self, worker_id: str, secret: str) -> bool:
        """Let this worker act on connections of handlers by this secret. False if it is
        closed."""
        return bool(
            await self._session.fetch(
                "set_secret", {"worker_id": worker_id, "secret": secret}, idempotent=True
            )
        )

    async def touch(self, worker_ids: Sequence[str]) -> set[str]:
        """Record that workers are alive. Returns those that are open; the others must stop."""
        found = await self._session.fetch(
            "touch_workers", {"worker_ids": list(worker_ids)}, idempotent=True
        )
        return {row[0] for row in found}

    async def find_locked(self, worker_ids: Sequence[str]) -> set[str]:
        """The workers among these that another transaction has locked now."""
        found = await self._session.fetch(
            "find_locked_workers", {"worker_ids": list(worker_ids)}, idempotent=True
        )
        return {row[0] for row in found}

    async def close_worker(
        self, worker_id: str, *, reason: str, stale_after: float | None = None
    ) -> bool:
        """Close a worker; with `stale_after` (seconds) only if it was not seen for that long.
        True if this call did it."""
        params = {"worker_id": worker_id, "reason": reason, "stale_after": stale_after}
        return bool(
            await self._session.fetch("close_worker", params, idempotent=stale_after is None)
        )

    async def identify_session(self, conn: Connection) -> SessionIdentity:
        """Identify the session of this connection among all others."""
        return SessionIdentity(*(await self._session.fetch("identify_session", conn=conn))[0])

    async def register_session(self, worker_id: str, session: SessionIdentity) -> bool:
        """Record that handlers of this worker use a session. False if the worker is
        closed."""
        params = {
            "worker_id": worker_id,
            "pid": session.pid,
            "backend_start": session.backend_start,
        }
        return bool(await self._session.fetch("register_session", params, idempotent=True))

    async def end_sessions(self, worker_id: str, *, application_name: str) -> Sessions:
        """End the Postgres sessions of a worker's handlers, those that we may end."""
        params = {"worker_id": worker_id, "application_name": application_name}
        try:
            found = await self._session.fetch("end_sessions", params)
        except psycopg.errors.InsufficientPrivilege:  # its rules differ from release to release
            return Sessions(ended=0, kept=1)
        return Sessions(
            ended=sum(row[1] is True for row in found), kept=sum(row[1] is None for row in found)
        )

    async def watch(self, *, stale_after: float, closed_within: float) -> list[Watched]:
        """The open workers, and those that were closed within so many seconds."""
        params = {"stale_after": stale_after, "closed_within": closed_within}
        found = await self._session.fetch("watch_workers", params, idempotent=True)
        return [Watched(row.id, row.queues, row.closed, row.stale) for row in found]

    async def list_workers(self, *, closed: bool = False, limit: int = 200) -> list[WorkerRecord]:
        """Workers, newest first."""
        found = await self._session.fetch(
            "list_workers", {"closed": closed, "limit": limit}, idempotent=True
        )
        return [rows.to_worker(row) for row in found]

    async def find_worker(self, worker_id: str) -> WorkerRecord | None:
        """One worker, or None."""
        found = await self._session.fetch("find_worker", {"worker_id": worker_id}, idempotent=True)
        return rows.to_worker(found[0]) if found else None

    async def find_open(self, worker_ids: Sequence[str]) -> set[str]:
        """The workers among these that are open; the others are closed or unknown."""
        found = await self._session.fetch(
            "find_open_workers", {"worker_ids": list(worker_ids)}, idempotent=True
        )
        return {row[0] for row in found}

    async def find_known(self, worker_ids: Sequence[str]) -> set[str]:
        """The names among these that belong to workers, open or closed."""
        found = await self._session.fetch(
            "find_known_workers", {"worker_ids": list(worker_ids)}, idempotent=True
        )
        return {row[0] for row in found}


__all__ = ["SessionIdentity", "Sessions", "Watched", "WorkerLedger"]
