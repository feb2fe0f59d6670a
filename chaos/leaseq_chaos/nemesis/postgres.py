"""Faults of the ledger's server.

Sessions ended, crashed, restarted, frozen, out of connections, read-only, locked.

Invariants: nothing it has acknowledged is ever taken from it (its files are not touched, fsync
stays on); what a fault holds open is closed by its heal; a heal returns when a new connection is
answered.
"""

from __future__ import annotations

import asyncio
import signal
from itertools import count
from random import Random
from typing import Any

import psutil
import psycopg

from leaseq_chaos.cluster.cluster import Cluster
from leaseq_chaos.cluster.stores import send
from leaseq_chaos.nemesis.fault import Fault, store_must_answer
from leaseq_chaos.nemesis.nemesis import Impossible, Injury
from leaseq_chaos.statements import STATEMENTS

__all__ = [
    "ExhaustPostgres",
    "FreezePostgres",
    "KillBackendHard",
    "KillBackends",
    "LockTasks",
    "LongSnapshot",
    "ReadonlyPostgres",
    "RestartPostgres",
]

MOST_CONNECTIONS = 500
LOCKED_TASKS = (1, 50)
NOTICE_SECONDS = 5.0
POLL_SECONDS = 0.01

Connection = psycopg.AsyncConnection[Any]


class KillBackends(Fault):
    """Some or all of the sessions of leaseq are ended, as by an operator."""

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        async with store_must_answer("Postgres"):
            pids = await _sessions(cluster)
            pids = sorted(rng.sample(pids, rng.randint(1, len(pids))))
            await cluster.postgres.fetch("terminate_sessions", {"pids": pids})
        return Injury(target="postgres", pids=pids)


class KillBackendHard(Fault):
    """SIGKILL to one backend: the server takes its shared memory for spoilt, ends all sessions and
    recovers."""

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        async with store_must_answer("Postgres"):
            pid = rng.choice(await _sessions(cluster))
        if not send(pid, signal.SIGKILL):
            raise Impossible("the session has just ended")
        return Injury(target="postgres", pids=[pid])

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        await _collected(injury.pids)
        await cluster.postgres.ready()


class RestartPostgres(Fault):
    """Stopped without a checkpoint; the start has to recover."""

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        pids = _running(cluster)
        await cluster.postgres.stop("immediate")
        return Injury(target="postgres", pids=pids[:1])

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        await cluster.postgres.start()


class FreezePostgres(Fault):
    """SIGSTOP to the postmaster and all backends: connections stay up without answers."""

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        pids = _running(cluster)
        cluster.postgres.freeze()
        return Injury(target="postgres", pids=pids)

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        cluster.postgres.thaw()
        await cluster.postgres.ready()


class Holding(Fault):
    """A fault that lasts as long as some connections of ours are open."""

    def __init__(self, name: str, seconds: tuple[float, float]) -> None:
        super().__init__(name, seconds)
        self._held: dict[int, list[Connection]] = {}
        self._numbers = count(1)

    def _keep(self, connections: list[Connection], **detail: Any) -> Injury:
        number = next(self._numbers)
        self._held[number] = connections
        return Injury(
            target="postgres", detail={"hold": number, "connections": len(connections)} | detail
        )

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        # The server rolls back their open transactions.
        for conn in self._held.pop(injury.detail.get("hold", 0), []):
            await conn.close()
        await cluster.postgres.ready()


class ExhaustPostgres(Holding):
    """No connection is left, and some of leaseq's have just been ended."""

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        taken: list[Connection] = []
        try:
            async with store_must_answer("Postgres", seconds=10):
                pids = await _sessions(cluster)
                pids = rng.sample(pids, rng.randint(1, len(pids)))
                await _take_all(cluster, taken)
                await taken[0].execute(STATEMENTS["terminate_sessions"].encode(), {"pids": pids})
                await _take_all(cluster, taken)
        except BaseException:
            for conn in taken:
                await conn.close()
            raise
        return self._keep(taken, ended=len(pids))


class LockTasks(Holding):
    """A foreign transaction holds the rows of tasks that wait or run."""

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        async with store_must_answer("Postgres"):
            conn = await cluster.postgres.connect()
            try:
                await conn.set_autocommit(False)
                cursor = await conn.execute(
                    STATEMENTS["lock_tasks"].encode(), {"count": rng.randint(*LOCKED_TASKS)}
                )
                if not cursor.rowcount:
                    raise Impossible("no task waits or runs just now")
            except BaseException:
                await conn.close()
                raise
        return self._keep([conn], tasks=cursor.rowcount)


class LongSnapshot(Holding):
    """Another application's transaction keeps its snapshot, so that no row version that dies
    meanwhile can be cleared away."""

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        async with store_must_answer("Postgres"):
            conn = await cluster.postgres.connect()
            try:
                await conn.set_autocommit(False)
                await conn.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
                await conn.execute(STATEMENTS["ping"].encode())
            except BaseException:
                await conn.close()
                raise
        return self._keep([conn])


class ReadonlyPostgres(Fault):
    """Every transaction is read-only unless it says otherwise, as on a server that is being failed
    over."""

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        async with store_must_answer("Postgres"):
            await _set_readonly(cluster, "on")
        return Injury(target="postgres")

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        await cluster.postgres.ready()
        await _set_readonly(cluster, None)


async def _collected(pids: list[int]) -> None:
    """Wait until the postmaster has noticed that these are dead: before that the server would still
    answer."""
    async with asyncio.timeout(NOTICE_SECONDS):
        while True:
            if not any(psutil.pid_exists(pid) for pid in pids):
                return
            await asyncio.sleep(POLL_SECONDS)


def _running(cluster: Cluster) -> list[int]:
    pids = cluster.postgres.pids()
    if not pids:
        raise Impossible("Postgres does not run just now")
    return pids


async def _sessions(cluster: Cluster) -> list[int]:
    """The backends that serve leaseq. Raises Impossible."""
    pids = [int(pid) for (pid,) in await cluster.postgres.fetch("find_sessions")]
    if not pids:
        raise Impossible("leaseq has no session in Postgres just now")
    return pids


async def _take_all(cluster: Cluster, taken: list[Connection]) -> None:
    """Connect until Postgres refuses. Raises Impossible if it refuses immediately, since that has
    another cause."""
    while len(taken) < MOST_CONNECTIONS:
        try:
            taken.append(await cluster.postgres.connect())
        except psycopg.OperationalError as error:
            if not taken:
                raise Impossible(f"Postgres takes no connection as it is: {error}") from error
            return


async def _set_readonly(cluster: Cluster, value: str | None) -> None:
    async with await cluster.postgres.connect() as conn:
        await cluster.postgres.set(conn, "default_transaction_read_only", value)
    await cluster.postgres.fetch("reload_settings")
