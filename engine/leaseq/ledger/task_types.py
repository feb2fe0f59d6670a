"""Task types in the ledger, as workers register them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256

import msgspec

from leaseq.ledger import rows
from leaseq.ledger.session import Session
from leaseq.model import Moment, TypeDefaults
from leaseq.uniqueness import UniqueRule


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
    retention_seconds: float | None = None  # of its ended tasks
    encoded: bool = False  # by the codec of its app
    redact: bytes | None = None  # a list of JSON pointers, as JSON
    limit_name: str | None = None
    limit_key: str | None = None  # the field of the payload that is the key of a task
    unique_rule: bytes | None = None  # a UniqueRule, as JSON
    unique_key: str | None = None  # the template of unique keys

    @property
    def version(self) -> str:
        """The hash of everything that a deploy can change, in twelve hexadecimal digits."""
        content = [
            self.queue,
            (self.shape or b"").decode(),
            self.max_attempts,
            self.timeout_seconds,
        ]
        # Left out while they are not used, so that a handler keeps the version that it had before.
        if self.retention_seconds is not None:
            content.append(f"retention {self.retention_seconds}")
        if self.encoded:
            content.append("encoded")
        if self.redact is not None:
            content.append(f"redact {self.redact.decode()}")
        if self.limit_name is not None:
            content.append(f"limit {self.limit_name} {self.limit_key}")
        if self.unique_rule is not None:
            content.append(f"unique {self.unique_rule.decode()} {self.unique_key}")
        return sha256(msgspec.json.encode(content)).hexdigest()[:12]

    @property
    def defaults(self) -> TypeDefaults:
        """Defaults for the submissions of this type."""
        return TypeDefaults(
            queue=self.queue,
            max_attempts=self.max_attempts,
            timeout_seconds=self.timeout_seconds,
            limit=self.limit_name,
            limit_key=self.limit_key,
            unique=None if self.unique_rule is None else _decode_rule(self.unique_rule),
            unique_key=self.unique_key,
        )


class RegisteredType(msgspec.Struct, frozen=True, kw_only=True):
    """A task type, as the worker that started last has registered it. The schema is JSON. A limit
    that is None is that of the configuration."""

    type: str
    queue: str
    payload_schema: bytes
    max_attempts: int | None
    timeout_seconds: float | None
    updated_at: datetime


class TypeVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a task type, and the number of open workers that run it."""

    version: str
    queue: str
    max_attempts: int | None
    timeout_seconds: float | None
    first_seen_at: Moment
    workers: int


_decode_rule = msgspec.json.Decoder(UniqueRule).decode
_to_type = rows.reader(TaskType)
_to_registered = rows.reader(RegisteredType)
_to_version = rows.reader(TypeVersion)


class TypeLedger:
    """The task types in Postgres, in all versions that count."""

    def __init__(self, session: Session) -> None:
        self._session = session

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
            "retentions": [t.retention_seconds for t in types],
            "encoded": [t.encoded for t in types],
            "redacts": [None if t.redact is None else t.redact.decode() for t in types],
            "limits": [t.limit_name for t in types],
            "limit_keys": [t.limit_key for t in types],
            "unique_rules": [
                None if t.unique_rule is None else t.unique_rule.decode() for t in types
            ],
            "unique_keys": [t.unique_key for t in types],
        }
        await self._session.fetch("register_types", params, idempotent=True)

    async def find_type(self, name: str) -> RegisteredType | None:
        """One task type, as the worker that started last has registered it, or None."""
        found = await self._session.fetch("find_type", {"type": name}, idempotent=True)
        return _to_registered(found[0]) if found else None

    async def list_versions(self, name: str, *, limit: int) -> list[TypeVersion]:
        """The versions of a task type, the newest first."""
        params = {"type": name, "limit": limit}
        found = await self._session.fetch("list_type_versions", params, idempotent=True)
        return [_to_version(row) for row in found]

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

    async def describe_types(self, *, after: str, limit: int) -> list[RegisteredType]:
        """The next registered types by name."""
        params = {"after": after, "limit": limit}
        found = await self._session.fetch("describe_types", params, idempotent=True)
        return [_to_registered(row) for row in found]

    async def find_retentions(self) -> dict[str, float]:
        """How long the ended tasks of a type are kept, in seconds, where its newest version says
        so."""
        newest = {source.type: source for source in reversed(await self.list_types())}
        return {
            name: source.retention_seconds
            for name, source in newest.items()
            if source.retention_seconds is not None
        }

    async def expedite(self, types: Sequence[str], queues: Sequence[str], *, limit: int) -> int:
        """Make tasks of these queues due, at most `limit`, that wait for a worker with one of these
        types; returns how many.

        A type with a number sign stands for tasks that wait for another version of its handler.
        """
        params = {"types": list(types), "queues": list(queues), "limit": limit}
        ((count,),) = await self._session.fetch("expedite_tasks", params, idempotent=True)
        return int(count)


__all__ = ["TaskType", "TypeLedger"]
