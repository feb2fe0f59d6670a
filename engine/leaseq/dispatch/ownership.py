"""Check which ledger owns a prefix in Redis.

Dispatch holds ids that only one ledger knows. A process that worked on the dispatch of another
ledger would close live workers, park ids that are wanted, and mix its deliveries with foreign ones.
So the identity of the ledger is stored in Redis, under the prefix. The first process that finds
none sets it, and every process compares it with the identity of its own ledger.

Invariants: the identity is compared when a connection is made, every few seconds, and before each
action that destroys data which others may need (recovery, parking, reopening a lease). The path of
a task has no command for it. While the prefix belongs to another ledger, every command fails as if
Redis were away (`DispatchForeign`).

Beside the identity, Redis holds the system identifier of the ledger's Postgres and its highest
timeline that any process has seen. A process that restarts reads them, and refuses an old primary
that it would otherwise accept (primary.py). The timeline only grows, unless the system is a
different one: then the ledger has moved, and the two timelines have no order. If Redis loses these
values, the next process writes the ones that it has seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from msgspec import Struct
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import NoPermissionError, NoScriptError, OutOfMemoryError, ResponseError

from leaseq.connections.primary import Primary, Timeline, learn_timeline
from leaseq.connections.redis_connection import Guard, Refused
from leaseq.dispatch.deliveries import as_bytes
from leaseq.dispatch.keys import Keys
from leaseq.dispatch.reachable import reachable
from leaseq.dispatch.scripts import SCRIPTS, SHAS, NotLoaded, Scripts, is_odd
from leaseq.observability.telemetry import emit

# A plausible timeline of Postgres.
NUMBER = re.compile(r"[0-9]{1,10}")
# The owner of a prefix whose key is not a hash, which leaseq never writes.
NO_LEDGER = "of something else (its key is no hash)"


class Owner(Struct, frozen=True):
    """The ledger that dispatch names: its identity, and the newest timeline of its Postgres. None
    for unknown parts."""

    ledger: str | None
    timeline: Timeline | None


class Ownership:
    """Compares the identity of this process's ledger with the owner of the prefix.

    `guard` watches all connections of this process to Redis, and refuses those to the dispatch of
    another ledger. `primary` is this process's knowledge of its Postgres. Both learn from each
    other which timeline is the newest. A process that only reads learns from dispatch and writes
    nothing there (`announces` is false).
    """

    def __init__(
        self,
        client: Redis,
        keys: Keys,
        guard: Guard,
        *,
        ledger_id: str,
        primary: Primary | None = None,
        announces: bool = True,
    ) -> None:
        self.guard = guard
        self.ledger_id = ledger_id
        self._client = client
        self._keys = keys
        self._scripts = Scripts(client)
        self._foreign = False
        self._was_ours = False
        self._primary = primary
        self._announces = announces
        self._announced: Timeline | None = None
        guard.admit = self._admit

    async def check(self) -> None:
        """Claim the prefix for our ledger if it has no owner, and compare timelines.

        Raises `DispatchForeign` if it belongs to another ledger: then all connections of this
        process are condemned. Raises `ServerUnreachable` if Redis is away. A full Redis without a
        known owner passes.
        """
        with reachable():
            try:
                await self._check()
            except ResponseError as error:
                # The prefix was ours a moment ago, so no other ledger has written this.
                if not (is_odd(error) and self._was_ours):
                    raise
                await self._client.delete(self._keys.ledger())
                await self._check()

    async def _check(self) -> None:
        with self._judged():
            owner = await ask_owner(
                self._scripts, self._keys, self._arguments(self.timeline, sets=False)
            )
            if owner.ledger is not None:
                self._compare(owner)
            if self._announces and self._has_news(owner):
                announced = self.timeline
                self._compare(
                    await ask_owner(self._scripts, self._keys, self._arguments(announced))
                )
                self._announced = announced

    async def _admit(self, connection: AbstractConnection) -> None:
        """The same check on a new connection. Raises a `RedisError`."""
        with self._judged():
            try:
                owner = await self._own(connection, self._arguments(self.timeline, sets=False))
            except ResponseError as error:
                if not (is_odd(error) and self._was_ours):
                    raise
                await _ask(connection, "DEL", self._keys.ledger())
                owner = Owner(None, None)
            if owner.ledger is None and self._announces:
                owner = await self._own(connection, self._arguments(self.timeline))
            if owner.ledger is not None:
                self._compare(owner)

    async def _own(self, connection: AbstractConnection, arguments: Sequence[str | int]) -> Owner:
        command = ("EVALSHA", SHAS["own"], 1, self._keys.ledger(), *arguments)
        try:
            return as_owner(*await _ask(connection, *command))
        except NoScriptError:
            try:
                await _ask(connection, "SCRIPT", "LOAD", SCRIPTS["own"])
            except NoPermissionError:
                raise NotLoaded from None
            return as_owner(*await _ask(connection, *command))

    @property
    def timeline(self) -> Timeline | None:
        """The newest timeline of Postgres that this process knows; None if Postgres does not report
        it."""
        return None if self._primary is None else self._primary.timeline

    def _arguments(self, seen: Timeline | None, *, sets: bool = True) -> list[str | int]:
        system, number = ("", 0) if seen is None else (seen.system, seen.number)
        return [self.ledger_id, system, number, "1" if sets else ""]

    def _has_news(self, owner: Owner) -> bool:
        """Whether this process knows more than dispatch. A different system is written once, since
        systems have no order."""
        seen, known = self.timeline, owner.timeline
        if owner.ledger is None or seen is None or known is None:
            return owner.ledger is None or seen is not None
        if seen.system != known.system:
            return seen != self._announced
        return seen.number > known.number

    @contextmanager
    def _judged(self) -> Iterator[None]:
        """Accept a full server without an owner. A key that is not a hash belongs to another
        program."""
        try:
            yield
        except OutOfMemoryError:
            return
        except ResponseError as error:
            if is_odd(error) and not self._was_ours:
                self._refuse(NO_LEDGER)
            raise

    def _compare(self, owner: Owner) -> None:
        if owner.ledger != self.ledger_id:
            self._refuse(str(owner.ledger))
        self._foreign, self._was_ours = False, True
        if owner.timeline is not None:
            learn_timeline(owner.timeline)

    def _refuse(self, found: str) -> NoReturn:
        message = foreign(self._keys.prefix, ledger_id=self.ledger_id, found=found)
        self.guard.condemn()
        if not self._foreign:
            self._foreign = True
            emit(
                "dispatch.foreign",
                prefix=self._keys.prefix,
                ledger=self.ledger_id,
                found=found,
                error=message,
            )
        raise Refused(message)


async def _ask(connection: AbstractConnection, *command: str | int) -> Any:
    await connection.send_command(*command)
    return await connection.read_response()


async def ask_owner(
    scripts: Scripts, keys: Keys, arguments: Sequence[str | int] = ("", "", 0, "")
) -> Owner:
    """The ledger that dispatch names, after own.lua ran with these arguments."""
    return as_owner(*await scripts.run("own", [keys.ledger()], arguments))


def as_owner(*values: bytes | str | None) -> Owner:
    """Build it from ledger, system and timeline. A timeline that is not a number counts as none:
    Redis may hold any text."""
    ledger, system, number = (
        None if value is None else as_bytes(value).decode(errors="replace") for value in values
    )
    timeline = (
        Timeline(system, int(number)) if system and number and NUMBER.fullmatch(number) else None
    )
    return Owner(ledger or None, timeline)


def foreign(prefix: str, *, ledger_id: str, found: str) -> str:
    """The error for a prefix that belongs to another ledger, and its fix. `found` was read from
    Redis and may be any text."""
    shown = found[:100] if found.isprintable() else ascii(found[:100])
    return (
        f"the prefix {prefix} in Redis belongs to ledger {shown}, and this Postgres holds ledger {ledger_id}: give this "
        "deployment a LEASEQ_REDIS_PREFIX of its own, or another database number in LEASEQ_REDIS_URL; if the other ledger is "
        f"gone, delete the keys that begin with {prefix}:"
    )


__all__ = ["NO_LEDGER", "Owner", "Ownership", "ask_owner", "foreign"]
