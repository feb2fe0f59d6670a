"""The ledger that a prefix in Redis belongs to.

Dispatch holds ids that only one ledger knows. A process that works on the dispatch of another ledger reaps workers that live,
parks ids that are wanted, and mixes its deliveries with those of others. So the identity of the ledger stands in Redis, under the
prefix: the first process that finds none sets it, and every process compares it with its own ledger's.

Invariants: it is compared when a connection is made, every few seconds, and before each act that destroys what others may need
(reaping, parking, opening a lease again). The path of a task has no command for it. While the prefix belongs to another ledger,
every command fails as if Redis were away (`DispatchForeign`).

Beside the identity stand the system identifier of the Postgres that holds the ledger and the highest timeline of it that any
process has seen. A process that restarts reads them, and refuses an old primary that it would otherwise believe (primary.py).
A timeline only grows there, unless the system is another one: then the ledger has moved, and the two have no order. A Redis that
has lost them knows nothing, and the next process that looks writes down what it has seen.
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

from leaseq.dispatch.deliveries import as_bytes
from leaseq.dispatch.dispatcher import reachable
from leaseq.dispatch.keys import Keys
from leaseq.dispatch.scripts import SCRIPTS, SHAS, NotLoaded, Scripts, is_odd
from leaseq.primary import Primary, Timeline, learn_timeline
from leaseq.redis_connection import Guard, Refused
from leaseq.telemetry import emit

# A timeline of Postgres.
NUMBER = re.compile(r"[0-9]{1,10}")
# The owner of a prefix whose key for it is no hash: nothing of leaseq has written that.
NO_LEDGER = "of something else (its key is no hash)"


class Owner(Struct, frozen=True):
    """What dispatch says of its ledger: the identity, and the newest timeline of its Postgres. None where it does not say."""

    ledger: str | None
    timeline: Timeline | None


class Ownership:
    """Compares the identity of this process's ledger with the one that the prefix belongs to.

    `guard` watches over all connections of this process to Redis: it lets none be made to the dispatch of another ledger.
    `primary` is what this process knows of its Postgres: both learn from each other which timeline is the newest. A process that
    only reads learns from dispatch and writes nothing there (`announces` is false).
    """

    def __init__(
        self, client: Redis, keys: Keys, guard: Guard, *, ledger_id: str, primary: Primary | None = None, announces: bool = True
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
        self._told: Timeline | None = None
        guard.admit = self._admit

    async def check(self) -> None:
        """Take the prefix for our ledger if it belongs to none, and compare timelines.

        Raises `DispatchForeign` where it belongs to another ledger: then all connections of this process are condemned.
        `ServerUnreachable`: Redis is away. A Redis that is full and knows no owner passes.
        """
        with reachable():
            try:
                await self._check()
            except ResponseError as error:
                # The prefix was ours a moment ago, and no other ledger has written this.
                if not (is_odd(error) and self._was_ours):
                    raise
                await self._client.delete(self._keys.ledger())
                await self._check()

    async def _check(self) -> None:
        with self._judged():
            owner = await ask_owner(self._scripts, self._keys, self._arguments(self.timeline, sets=False))
            if owner.ledger is not None:
                self._compare(owner)
            if self._announces and self._has_news(owner):
                told = self.timeline
                self._compare(await ask_owner(self._scripts, self._keys, self._arguments(told)))
                self._told = told

    async def _admit(self, connection: AbstractConnection) -> None:
        """The same on a connection that has just been made; raises a `RedisError`."""
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
        """The newest timeline that this process knows of its Postgres; None where Postgres does not tell."""
        return None if self._primary is None else self._primary.timeline

    def _arguments(self, seen: Timeline | None, *, sets: bool = True) -> list[str | int]:
        system, number = ("", 0) if seen is None else (seen.system, seen.number)
        return [self.ledger_id, system, number, "1" if sets else ""]

    def _has_news(self, owner: Owner) -> bool:
        """Whether this process knows what dispatch does not. Another system is told once: two that alternate have no order."""
        seen, known = self.timeline, owner.timeline
        if owner.ledger is None or seen is None or known is None:
            return owner.ledger is None or seen is not None
        if seen.system != known.system:
            return seen != self._told
        return seen.number > known.number

    @contextmanager
    def _judged(self) -> Iterator[None]:
        """What a server that knows no owner and is full says is no objection; a key that is no hash is foreign."""
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
            emit("dispatch.foreign", prefix=self._keys.prefix, ledger=self.ledger_id, found=found, error=message)
        raise Refused(message)


async def _ask(connection: AbstractConnection, *command: str | int) -> Any:
    await connection.send_command(*command)
    return await connection.read_response()


async def ask_owner(scripts: Scripts, keys: Keys, arguments: Sequence[str | int] = ("", "", 0, "")) -> Owner:
    """What dispatch says of its ledger, after it was told what these arguments of own.lua say."""
    return as_owner(*await scripts.run("own", [keys.ledger()], arguments))


def as_owner(*values: bytes | str | None) -> Owner:
    """From ledger, system and timeline. A timeline that is no number counts as none: Redis may hold any text."""
    ledger, system, number = (None if value is None else as_bytes(value).decode(errors="replace") for value in values)
    timeline = Timeline(system, int(number)) if system and number and NUMBER.fullmatch(number) else None
    return Owner(ledger or None, timeline)


def foreign(prefix: str, *, ledger_id: str, found: str) -> str:
    """What is wrong where a prefix belongs to another ledger, and what to do. `found` was read in Redis: it may be any text."""
    shown = found[:100] if found.isprintable() else ascii(found[:100])
    return (
        f"the prefix {prefix} in Redis belongs to ledger {shown}, and this Postgres holds ledger {ledger_id}: give this "
        "deployment a LEASEQ_REDIS_PREFIX of its own, or another database number in LEASEQ_REDIS_URL; if the other ledger is "
        f"gone, delete the keys that begin with {prefix}:"
    )


__all__ = ["NO_LEDGER", "Owner", "Ownership", "ask_owner", "foreign"]
