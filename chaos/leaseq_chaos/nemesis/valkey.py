"""Faults of dispatch: dead, empty, outdated, frozen, full, read-only, busy.

No fault here affects a task, since the ledger has all of them. Invariant: a heal returns when
Valkey has undone the fault. Other faults have their own heal.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from random import Random

from redis.asyncio import Redis
from redis.exceptions import RedisError

from leaseq_chaos.cluster.cluster import Cluster
from leaseq_chaos.nemesis.fault import Fault, store_must_answer
from leaseq_chaos.nemesis.nemesis import Impossible, Injury

__all__ = [
    "FillValkey",
    "FlushAll",
    "FreezeValkey",
    "KillValkey",
    "ReadonlyValkey",
    "RestoreValkey",
    "SlowValkey",
    "running_valkey",
]

COPY_AGE_SECONDS = (0.3, 2.0)
# Below any use, so that everything is refused that needs memory.
TINY_BYTES = 1024
DEAD_PORT = 1
BUSY_SCRIPT = "local over = os.clock() + ARGV[1] while os.clock() < over do end"
BUSY_SECONDS = 10  # at most: the heal ends it before
BUSY_REPLY_MILLISECONDS = 100  # from then on others hear BUSY instead of nothing
BUSY_REPLY_DEFAULT = 5000
PATIENCE_SECONDS = 60.0
POLL_SECONDS = 0.05


def running_valkey(cluster: Cluster) -> int:
    """Its pid. Raises Impossible."""
    pid = cluster.valkey.server.pid
    if pid is None:
        raise Impossible("Valkey does not run just now")
    return pid


class KillValkey(Fault):
    """SIGKILL; it restarts with the data of its files, or without them."""

    def __init__(self, name: str, seconds: tuple[float, float], *, forget: bool = False) -> None:
        super().__init__(name, seconds)
        self._forget = forget

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        pid = running_valkey(cluster)
        await cluster.valkey.kill()
        if self._forget:
            await cluster.valkey.forget()
        return Injury(target="valkey", pids=[pid])

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        await cluster.valkey.start()


class RestoreValkey(Fault):
    """A failover to a replica that was behind: the last writes are lost, and what had gone is
    back."""

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        pid = running_valkey(cluster)
        age = rng.uniform(*COPY_AGE_SECONDS)
        copy = Path(tempfile.mkdtemp(prefix="leaseq-chaos-"))
        try:
            async with store_must_answer("Valkey"):
                await cluster.valkey.keep_copy(copy / "data")
            await asyncio.sleep(age)
            await cluster.valkey.kill()
            await cluster.valkey.restore_copy(copy / "data")
        finally:
            shutil.rmtree(copy, ignore_errors=True)
        return Injury(target="valkey", pids=[pid], detail={"age_seconds": round(age, 2)})

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        await cluster.valkey.start()


class FlushAll(Fault):
    """Everything in it is gone, and it goes on."""

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        async with store_must_answer("Valkey"), cluster.valkey.client() as client:
            keys = await client.dbsize()
            await client.flushall()
        return Injury(target="valkey", detail={"keys": keys})


class FreezeValkey(Fault):
    """SIGSTOP: connections stay up without answers."""

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        pid = running_valkey(cluster)
        cluster.valkey.freeze()
        return Injury(target="valkey", pids=[pid])

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        cluster.valkey.thaw()
        await cluster.valkey.ready()


class FillValkey(Fault):
    """No memory left, nothing evicted: writes are refused."""

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        await _configure(cluster, "maxmemory", TINY_BYTES)
        return Injury(target="valkey")

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        await _insist(cluster, "config", "set", "maxmemory", 0)


class ReadonlyValkey(Fault):
    """A primary that became a replica of an unreachable server: READONLY."""

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        async with store_must_answer("Valkey"), cluster.valkey.client() as client:
            await _tell(client, "replicaof", "127.0.0.1", DEAD_PORT)
        return Injury(target="valkey")

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        await _insist(cluster, "replicaof", "no", "one")


class SlowValkey(Fault):
    """A slow foreign script: silence at first, then BUSY for all clients."""

    def __init__(self, name: str, seconds: tuple[float, float]) -> None:
        super().__init__(name, seconds)
        self._scripts: set[asyncio.Task[None]] = set()

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        await _configure(cluster, "busy-reply-threshold", BUSY_REPLY_MILLISECONDS)
        script = asyncio.create_task(self._run(cluster))
        self._scripts.add(script)
        script.add_done_callback(self._scripts.discard)
        return Injury(target="valkey")

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        with suppress(RedisError, OSError):  # it may have ended, or the server with it
            async with cluster.valkey.client() as client:
                await client.script_kill()
        await _insist(cluster, "config", "set", "busy-reply-threshold", BUSY_REPLY_DEFAULT)
        for script in tuple(self._scripts):
            await script

    async def _run(self, cluster: Cluster) -> None:
        with suppress(RedisError, OSError):  # killed, as it was to be, or our patience is over
            async with cluster.valkey.client() as client:
                await client.eval(BUSY_SCRIPT, 0, str(BUSY_SECONDS))


async def _configure(cluster: Cluster, name: str, value: int) -> None:
    async with store_must_answer("Valkey"), cluster.valkey.client() as client:
        await client.config_set(name, value)


async def _insist(cluster: Cluster, *command: str | int) -> None:
    """Repeat until it has been done: other faults have their own heal. Raises TimeoutError."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                async with cluster.valkey.client() as client:
                    await _tell(client, *command)
                return
            except (RedisError, OSError):
                await asyncio.sleep(POLL_SECONDS)


async def _tell(client: Redis, *command: str | int) -> None:
    await client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py does not say
