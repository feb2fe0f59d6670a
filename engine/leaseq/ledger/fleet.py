"""Workers, queues and task types in the ledger.

`workers.closed_at` is the one authority on whether an incarnation may still act; it is set once and
never cleared.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256

import msgspec
import psycopg

from leaseq.errors import QueueUnknown, SchemaMismatch
from leaseq.ledger import rows
from leaseq.ledger.session import Connection, Session
from leaseq.model import QueueRecord, TypeDefaults, WorkerRecord

# While so many queues are paused, a queue that is not known cannot be. Operators pause queues
# before their first task, and clients can make up names.
MOST_PAUSED = 1000


class TaskType(msgspec.Struct, frozen=True):
    """One version of a task type: its queue, the shape of its payload (as JSON), the limits of its
    handler.

    Workers also register a JSON Schema. It comes back only where there is no shape, which is for
    types of older workers.
    """

    type: str
    queue: str
    shape: bytes | None
    max_attempts: int | None = None
    timeout_seconds: float | None = None
    payload_schema: bytes | None = None

    @property
    def version(self) -> str:
        """The hash of everything that a deploy can change, in twelve hexadecimal digits."""
        said = [self.queue, (self.shape or b"").decode(), self.max_attempts, self.timeout_seconds]
        return sha256(msgspec.json.encode(said)).hexdigest()[:12]

    @property
    def defaults(self) -> TypeDefaults:
        """Defaults for the submissions of this type."""
        return TypeDefaults(
            queue=self.queue, max_attempts=self.max_attempts, timeout_seconds=self.timeout_seconds
        )


class Watched(msgspec.Struct, frozen=True):
    """An incarnation as a reaper watches it: open, stale (open, and silent for longer than a lease)
    or closed a moment ago."""

    worker_id: str
    queues: list[str]  # all of them, or the home queue alone where it is open and not stale
    closed: bool
    stale: bool


class Sessions(msgspec.Struct, frozen=True):
    """Sessions of an incarnation in Postgres: how many were ended, and how many belong to a role
    that we may not signal."""

    ended: int
    kept: int


class SessionIdentity(msgspec.Struct, frozen=True):
    """One session of Postgres. A pid alone is reused by later ones."""

    pid: int
    backend_start: datetime


class ServerSettings(msgspec.Struct, frozen=True):
    """Settings of Postgres that a promise rests on."""

    fsync: str
    full_page_writes: str
    synchronous_commit: str
    default_synchronous_commit: str
    read_only: str
    in_recovery: bool
    synchronous_standby_names: str
    # connected ones; for a role without pg_read_all_stats also those that commits do not wait for
    standbys: int
    version: int
    pooled: bool = False  # seen by the connection itself, not by a statement


_to_type = rows.reader(TaskType)


class Fleet:
    """Workers, queues and task types in Postgres."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def open_worker(
        self, worker_id: str, *, host: str, pid: int, queues: Sequence[str], version: str
    ) -> None:
        """Record a new incarnation, before its first pull."""
        params = {
            "worker_id": worker_id,
            "host": host,
            "pid": pid,
            "queues": list(queues),
            "version": version,
        }
        await self._session.fetch("open_worker", params)

    async def set_secret(self, worker_id: str, secret: str) -> bool:
        """Let this incarnation act on connections of handlers by this secret. False if it is
        closed."""
        return bool(
            await self._session.fetch(
                "set_secret", {"worker_id": worker_id, "secret": secret}, idempotent=True
            )
        )

    async def touch(self, worker_ids: Sequence[str]) -> set[str]:
        """Say that incarnations are alive. Returns those that are open; the others must stop."""
        found = await self._session.fetch(
            "touch_workers", {"worker_ids": list(worker_ids)}, idempotent=True
        )
        return {row[0] for row in found}

    async def find_locked(self, worker_ids: Sequence[str]) -> set[str]:
        """Which of these incarnations another transaction has locked now."""
        found = await self._session.fetch(
            "find_locked_workers", {"worker_ids": list(worker_ids)}, idempotent=True
        )
        return {row[0] for row in found}

    async def close_worker(
        self, worker_id: str, *, reason: str, stale_after: float | None = None
    ) -> bool:
        """Close an incarnation; with `stale_after` (seconds) only if it was not seen for that long.
        True if this call did it."""
        params = {"worker_id": worker_id, "reason": reason, "stale_after": stale_after}
        return bool(
            await self._session.fetch("close_worker", params, idempotent=stale_after is None)
        )

    async def identify_session(self, conn: Connection) -> SessionIdentity:
        """Identify the session of this connection among all others."""
        return SessionIdentity(*(await self._session.fetch("identify_session", conn=conn))[0])

    async def register_session(self, worker_id: str, session: SessionIdentity) -> bool:
        """Record that handlers of this incarnation use a session. False if the incarnation is
        closed."""
        params = {
            "worker_id": worker_id,
            "pid": session.pid,
            "backend_start": session.backend_start,
        }
        return bool(await self._session.fetch("register_session", params, idempotent=True))

    async def end_sessions(self, worker_id: str, *, application_name: str) -> Sessions:
        """End the Postgres sessions of an incarnation's handlers, those that we may end."""
        params = {"worker_id": worker_id, "application_name": application_name}
        try:
            found = await self._session.fetch("end_sessions", params)
        except psycopg.errors.InsufficientPrivilege:  # its rules differ from release to release
            return Sessions(ended=0, kept=1)
        return Sessions(
            ended=sum(row[1] is True for row in found), kept=sum(row[1] is None for row in found)
        )

    async def watch(self, *, stale_after: float, closed_within: float) -> list[Watched]:
        """The open incarnations, and those that were closed within so many seconds."""
        params = {"stale_after": stale_after, "closed_within": closed_within}
        found = await self._session.fetch("watch_workers", params, idempotent=True)
        return [Watched(row.id, row.queues, row.closed, row.stale) for row in found]

    async def list_workers(self, *, closed: bool = False, limit: int = 200) -> list[WorkerRecord]:
        """Incarnations, newest first."""
        found = await self._session.fetch(
            "list_workers", {"closed": closed, "limit": limit}, idempotent=True
        )
        return [rows.to_worker(row) for row in found]

    async def find_worker(self, worker_id: str) -> WorkerRecord | None:
        """One incarnation, or None."""
        found = await self._session.fetch("find_worker", {"worker_id": worker_id}, idempotent=True)
        return rows.to_worker(found[0]) if found else None

    async def find_open(self, worker_ids: Sequence[str]) -> set[str]:
        """Which of these are open; the others are closed or unknown."""
        found = await self._session.fetch(
            "find_open_workers", {"worker_ids": list(worker_ids)}, idempotent=True
        )
        return {row[0] for row in found}

    async def find_known(self, worker_ids: Sequence[str]) -> set[str]:
        """Which of these are incarnations, open or closed."""
        found = await self._session.fetch(
            "find_known_workers", {"worker_ids": list(worker_ids)}, idempotent=True
        )
        return {row[0] for row in found}

    async def list_served(self) -> list[str]:
        """The queues that open incarnations serve."""
        return [row[0] for row in await self._session.fetch("list_served_queues", idempotent=True)]

    async def register_types(
        self, types: Sequence[TaskType], *, worker_id: str | None = None
    ) -> None:
        """Record what an app can run, and that this worker runs it."""
        params = {
            "worker_id": worker_id,
            "types": [t.type for t in types],
            "versions": [t.version for t in types],
            "queues": [t.queue for t in types],
            "shapes": [(t.shape or b"null").decode() for t in types],
            "schemas": [(t.payload_schema or b"{}").decode() for t in types],
            "max_attempts": [t.max_attempts for t in types],
            "timeouts": [t.timeout_seconds for t in types],
        }
        await self._session.fetch("register_types", params, idempotent=True)

    async def expedite(self, types: Sequence[str], queues: Sequence[str], *, limit: int) -> int:
        """Make tasks of these queues due, at most `limit`, that wait for a worker with one of these
        types; returns how many.

        A type with a number sign stands for tasks that wait for another version of its handler.
        """
        params = {"types": list(types), "queues": list(queues), "limit": limit}
        ((count,),) = await self._session.fetch("expedite_tasks", params, idempotent=True)
        return int(count)

    async def find_outdated(self, types: Sequence[TaskType]) -> set[str]:
        """The names of these types of which an open worker has a newer version."""
        params = {"types": [t.type for t in types], "versions": [t.version for t in types]}
        return {
            row[0]
            for row in await self._session.fetch("find_outdated_types", params, idempotent=True)
        }

    async def list_types(self) -> list[TaskType]:
        """The versions of every registered task type that count, the newest of a type first."""
        found = await self._session.fetch("list_types", idempotent=True)
        return [_to_type(row) for row in found]

    async def register_queues(self, names: Sequence[str]) -> None:
        """Make queues known."""
        await self._session.fetch("register_queues", {"names": list(names)}, idempotent=True)

    async def list_queues(self) -> list[QueueRecord]:
        """Every known queue."""
        found = await self._session.fetch("list_queues", idempotent=True)
        return [rows.to_queue(row) for row in found]

    async def survey_queues(self) -> list[tuple[str, bool]]:
        """Every known queue, and whether it may be forgotten if no task names it."""
        return [
            (row[0], row[1]) for row in await self._session.fetch("survey_queues", idempotent=True)
        ]

    async def forget_queues(self, names: Sequence[str]) -> list[str]:
        """Forget queues that no task names; returns those that were neither paused nor served
        meanwhile."""
        return [
            row[0]
            for row in await self._session.fetch(
                "forget_queues", {"names": list(names)}, idempotent=True
            )
        ]

    async def list_paused(self, *, after: str = "", limit: int) -> list[str]:
        """The next names of queues that are paused; fewer than `limit`: there are no more."""
        return [
            row[0]
            for row in await self._session.fetch(
                "list_paused_queues", {"after": after, "limit": limit}, idempotent=True
            )
        ]

    async def find_paused(self, names: Sequence[str]) -> set[str]:
        """Which of these queues are paused."""
        return {
            row[0]
            for row in await self._session.fetch(
                "find_paused_queues", {"names": list(names)}, idempotent=True
            )
        }

    async def pause(self, name: str, *, paused: bool) -> QueueRecord:
        """Pause or resume a queue. Raises `QueueUnknown` for one to be paused that is not known,
        while `MOST_PAUSED` are."""
        found = await self._session.fetch(
            "pause_queue", {"name": name, "paused": paused, "most": MOST_PAUSED}, idempotent=True
        )
        if paused and not found:
            raise QueueUnknown(
                f"queue {name} is not known, and {MOST_PAUSED} queues or more are paused: is the name right? If it is, pause the "
                "queue after its first task or its first worker, or resume queues that are not in use"
            )
        return QueueRecord(name=name, paused=paused)

    async def ledger_id(self) -> str:
        """The identity of this ledger. Raises `SchemaMismatch` where the schema has none yet, or it
        was deleted."""
        try:
            found = await self._session.fetch("find_ledger", idempotent=True)
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
            raise SchemaMismatch(
                "the schema in Postgres is older than this code: run `leaseq migrate`"
            ) from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise SchemaMismatch(
                "this role may not read leaseq.ledger: run `leaseq migrate --grants`"
            ) from error
        if not found:
            raise SchemaMismatch(
                "leaseq.ledger has lost its row, the identity of this ledger: insert one row of defaults there"
            )
        return str(found[0][0])

    async def server_settings(self) -> ServerSettings:
        """Read the settings that could break a promise."""
        (row,) = await self._session.fetch("check_server", idempotent=True)
        return ServerSettings(**row._asdict())


__all__ = ["Fleet", "ServerSettings", "SessionIdentity", "Sessions", "TaskType", "Watched"]
