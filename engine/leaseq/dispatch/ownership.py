"""The ledger that a prefix in Redis belongs to.

Dispatch holds ids that only one ledger knows. A process that works on the dispatch of another ledger reaps workers that live,
parks ids that are wanted, and mixes its deliveries with those of others. So the identity of the ledger stands in Redis, under the
prefix: the first process that finds none sets it, and every process compares it with its own ledger's.

Invariants: it is compared when a connection is made, every few seconds, and before each act that destroys what others may need
(reaping, parking, opening a lease again). The path of a task has no command for it. While the prefix belongs to another ledger,
every command fails as if Redis were away (`DispatchForeign`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import NoScriptError, OutOfMemoryError, RedisError, ResponseError

from leaseq.dispatch.deliveries import as_bytes
from leaseq.dispatch.dispatcher import reachable
from leaseq.dispatch.keys import Keys
from leaseq.dispatch.scripts import SCRIPTS, SHAS, Scripts
from leaseq.redis_connection import Guard, Refused
from leaseq.telemetry import emit

FIELD = "ledger"
# The owner of a prefix whose key for it is no hash: nothing of leaseq has written that.
NO_LEDGER = "of something else (its key is no hash)"


class Ownership:
    """Compares the identity of this process's ledger with the one that the prefix belongs to.

    `guard` watches over all connections of this process to Redis: it lets none be made to the dispatch of another ledger.
    """

    def __init__(self, client: Redis, keys: Keys, guard: Guard, *, ledger_id: str) -> None:
        self.guard = guard
        self.ledger_id = ledger_id
        self._client = client
        self._keys = keys
        self._scripts = Scripts(client)
        self._foreign = False
        guard.admit = self._admit

    async def check(self) -> None:
        """Take the prefix for our ledger if it belongs to none.

        Raises `DispatchForeign` where it belongs to another ledger: then all connections of this process are condemned.
        `ServerUnreachable`: Redis is away. A Redis that is full and knows no owner passes.
        """
        name = self._keys.ledger()
        with reachable(), self._judged():
            self._compare(await self._client.hget(name, FIELD) or await self._scripts.run("own", [name], [self.ledger_id]))

    async def _admit(self, connection: AbstractConnection) -> None:
        """The same on a connection that has just been made; raises a `RedisError`."""
        with self._judged():
            self._compare(await _ask(connection, "HGET", self._keys.ledger(), FIELD) or await self._own(connection))

    async def _own(self, connection: AbstractConnection) -> bytes:
        command = ("EVALSHA", SHAS["own"], 1, self._keys.ledger(), self.ledger_id)
        try:
            return bytes(await _ask(connection, *command))
        except NoScriptError:
            await _ask(connection, "SCRIPT", "LOAD", SCRIPTS["own"])
            return bytes(await _ask(connection, *command))

    @contextmanager
    def _judged(self) -> Iterator[None]:
        """What a server that knows no owner and is full says is no objection; a key that is no hash is foreign."""
        try:
            yield
        except OutOfMemoryError:
            return
        except ResponseError as error:
            if is_of_another_type(error):
                self._refuse(NO_LEDGER)
            raise

    def _compare(self, owner: bytes | str) -> None:
        found = as_bytes(owner).decode(errors="replace")
        if found == self.ledger_id:
            self._foreign = False
            return
        self._refuse(found)

    def _refuse(self, found: str) -> None:
        message = foreign(self._keys.prefix, ledger_id=self.ledger_id, found=found)
        self.guard.condemn()
        if not self._foreign:
            self._foreign = True
            emit("dispatch.foreign", prefix=self._keys.prefix, ledger=self.ledger_id, found=found, error=message)
        raise Refused(message)


async def _ask(connection: AbstractConnection, *command: str | int) -> Any:
    await connection.send_command(*command)
    return await connection.read_response()


def is_of_another_type(error: RedisError) -> bool:
    """Is the key of the owner no hash?"""
    return "WRONGTYPE" in str(error)


def foreign(prefix: str, *, ledger_id: str, found: str) -> str:
    """What is wrong where a prefix belongs to another ledger, and what to do. `found` was read in Redis: it may be any text."""
    shown = found[:100] if found.isprintable() else ascii(found[:100])
    return (
        f"the prefix {prefix} in Redis belongs to ledger {shown}, and this Postgres holds ledger {ledger_id}: give this "
        "deployment a LEASEQ_REDIS_PREFIX of its own, or another database number in LEASEQ_REDIS_URL; if the other ledger is "
        f"gone, delete the keys that begin with {prefix}:"
    )


__all__ = ["FIELD", "NO_LEDGER", "Ownership", "foreign", "is_of_another_type"]
