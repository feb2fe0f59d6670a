"""The two stores of a run: how they are started, broken and repaired.

Real servers on TCP ports of the loopback, in a directory of the run. Blocking calls run in a
thread, one at a time for each store. Invariant: `ready` returns only when a new connection is
answered.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import psutil
import psycopg
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from leaseq.embedded import PostgresServer, ValkeyServer
from leaseq.errors import ServerUnreachable
from leaseq_chaos.cluster.ports import free_port
from leaseq_chaos.statements import STATEMENTS

__all__ = ["REDIS_PREFIX", "Postgres", "Valkey", "send"]

T = TypeVar("T")

# The prefix of the keys of a run: the default, since a mixed-in older version may know no other.
REDIS_PREFIX = "leaseq"
READY_SECONDS = 60.0
POLL_SECONDS = 0.05
TORN = "Bad file format reading the append only file"
# The slot that tells the order of commits needs logical.
POSTGRES_SETTINGS = {
    "wal_level": "logical",
    "max_connections": "200",
    "max_wal_size": "256MB",
    "shared_buffers": "128MB",
    "log_min_messages": "fatal",
    # For standbys: enough to catch up from after a few seconds, and no vacuum that a query on one
    # would have to give way to.
    "wal_keep_size": "256MB",
    "hot_standby_feedback": "on",
}


def send(pid: int, number: signal.Signals) -> bool:
    """Signal a process, if it still is."""
    try:
        psutil.Process(pid).send_signal(number)
    except psutil.NoSuchProcess:
        return False
    return True


class Server:
    """Runs blocking calls in a thread, one at a time."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def _do(self, work: Callable[[], T]) -> T:
        async with self._turn:
            return await asyncio.to_thread(work)


class Postgres(Server):
    """The ledger's server."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory
        self.server = PostgresServer(directory, free_port())
        self.timeline = 1  # its place among the primaries of a run
        # where its successor went another way: a position in the log, in bytes
        self.branched: int | None = None
        self.sealed = False  # a former primary in which nothing is committed any more
        self._frozen: list[int] = []

    @property
    def port(self) -> int:
        assert self.server.port is not None, "it listens on TCP"
        return self.server.port

    @property
    def url(self) -> str:
        """Directly, past every proxy."""
        return self.server.url

    async def create(self) -> None:
        """Make the cluster, with settings of our own, and serve."""
        await self._do(self.server.start)
        async with await self.connect() as conn:
            for name, value in POSTGRES_SETTINGS.items():
                await self.set(conn, name, value)
        await self.restart()

    @property
    def answers(self) -> bool:
        """Does it run, and is it not frozen by us?"""
        return not self._frozen and self.server.pid is not None

    async def copy(
        self, primary: Postgres, *, port: int, settings: Mapping[str, str] | None = None
    ) -> None:
        """Become a streaming standby of another server, which is reached on `port`, and serve
        reads."""
        await self._do(lambda: self.server.start_standby(primary.server))
        parts = urlsplit(primary.url)
        way = f"host=127.0.0.1 port={port} user={parts.username} password={parts.password}"
        async with await self.connect() as conn:
            for name, value in {"primary_conninfo": way, **(settings or {})}.items():
                await self.set(conn, name, value)
        await self.fetch("reload_settings")

    async def connect(self) -> psycopg.AsyncConnection[Any]:
        """A connection of the harness: direct, autocommit. Raises psycopg.OperationalError."""
        return await psycopg.AsyncConnection.connect(
            self.url, autocommit=True, connect_timeout=5, application_name="chaos"
        )

    async def set(self, conn: psycopg.AsyncConnection[Any], name: str, value: str | None) -> None:
        """ALTER SYSTEM; None resets. Takes effect on reload or restart."""
        statement = psycopg.sql.SQL("reset {}" if value is None else "set {} = {}")
        parts = [
            psycopg.sql.Identifier(name),
            *([] if value is None else [psycopg.sql.Literal(value)]),
        ]
        await conn.execute(psycopg.sql.SQL("alter system ") + statement.format(*parts))

    async def fetch(
        self, name: str, params: Mapping[str, Any] | None = None
    ) -> list[tuple[Any, ...]]:
        """Run one of our statements on a connection of its own."""
        async with await self.connect() as conn:
            cursor = await conn.execute(STATEMENTS[name].encode(), params)
            return await cursor.fetchall() if cursor.description else []

    async def start(self) -> None:
        await self._do(self.server.start)
        await self.ready()

    async def stop(self, mode: Literal["fast", "immediate"] = "immediate") -> None:
        await self._do(lambda: self.server.stop(mode))

    async def kill(self) -> None:
        """SIGKILL to the postmaster and every backend."""
        await self._do(self.server.kill)

    async def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        await self.stop(mode)
        await self.start()

    def pids(self) -> list[int]:
        """The postmaster first, then everything it has started."""
        pid = self.server.pid
        if pid is None:
            return []
        try:
            return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
        except psutil.NoSuchProcess:
            return []

    def freeze(self) -> None:
        """SIGSTOP to all of it, the postmaster first, so that it starts nothing meanwhile."""
        for pid in self.pids()[:1]:
            self._frozen += [pid] * send(pid, signal.SIGSTOP)
        for pid in self.pids()[1:]:
            self._frozen += [pid] * send(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        frozen, self._frozen = self._frozen, []
        for pid in reversed(frozen):
            send(pid, signal.SIGCONT)

    async def ready(self) -> None:
        """Wait until a new connection is answered. Raises TimeoutError."""
        async with asyncio.timeout(READY_SECONDS):
            while True:
                try:
                    async with asyncio.timeout(5):
                        await self.fetch("ping")
                    return
                except (psycopg.OperationalError, TimeoutError):
                    await asyncio.sleep(POLL_SECONDS)

    async def seal(self) -> None:
        """Of a former primary: run, so that it can be read, and end every session that was left in
        it."""
        self.thaw()
        await self.start()
        while pids := [pid for (pid,) in await self.fetch("find_sessions")]:
            await self.fetch("terminate_sessions", {"pids": pids})
            await asyncio.sleep(POLL_SECONDS)
        self.sealed = True

    async def destroy(self) -> None:
        """Kill it and delete its data. Twice does no harm."""
        self.thaw()
        await self._do(self.server.destroy)


class Valkey(Server):
    """The server of dispatch."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory
        self.server = ValkeyServer(directory, free_port())
        self._frozen: int | None = None

    @property
    def port(self) -> int:
        assert self.server.port is not None, "it listens on TCP"
        return self.server.port

    @property
    def url(self) -> str:
        """Directly, past every proxy."""
        return self.server.url

    async def copy(self, primary: Valkey) -> None:
        """Become a replica of another server, with its password, and return when everything has
        been copied."""
        await self._do(lambda: _share_password(primary.server, self.server))
        await self.start()
        async with primary.client() as client:
            # no other replica will come that could share the copy
            await client.config_set("repl-diskless-sync-delay", 0)
        await self.follow(primary)
        async with asyncio.timeout(READY_SECONDS), self.client() as client:
            while True:
                if (await client.info("replication")).get("master_link_status") == "up":
                    return
                await asyncio.sleep(POLL_SECONDS)

    async def follow(self, primary: Valkey | None) -> None:
        """Be a replica of another server from now on, or of none."""
        async with self.client() as client:
            await client.config_set("masterauth", urlsplit(self.url).password or "")
            where = ("no", "one") if primary is None else ("127.0.0.1", str(primary.port))
            await client.replicaof(*where)

    @property
    def files(self) -> Path:
        """Where its data lies (appendonlydir)."""
        return self.server.directories.files

    def client(self) -> Redis:
        """A client of the harness: direct, no retries, answers within 3 s or raises. The caller
        closes it."""
        client: Redis = Redis.from_url(
            self.url,
            socket_timeout=3,
            socket_connect_timeout=3,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        )
        return client

    async def start(self) -> None:
        """Start it, without its data if it cannot load them: a disk that is full may leave half a
        command in the file. The person on call would do the same, because leaseq brings back what
        dispatch has lost."""
        try:
            await self._do(self.server.start)
        except ServerUnreachable as error:
            if TORN not in str(error):
                raise
            await self.forget()
            await self._do(self.server.start)
        await self.ready()

    async def stop(self) -> None:
        await self._do(self.server.stop)

    async def kill(self) -> None:
        """SIGKILL."""
        await self._do(self.server.kill)

    def freeze(self) -> None:
        """SIGSTOP."""
        pid = self.server.pid
        if pid is not None and send(pid, signal.SIGSTOP):
            self._frozen = pid

    def thaw(self) -> None:
        pid, self._frozen = self._frozen, None
        if pid is not None:
            send(pid, signal.SIGCONT)

    async def forget(self) -> None:
        """Delete its data. It must not be running."""
        await self._do(lambda: shutil.rmtree(self.files / "appendonlydir", ignore_errors=True))

    async def keep_copy(self, target: Path) -> None:
        """Copy its data as it is on disk just now, the way a snapshot of a volume would."""
        await self._do(lambda: _copy(self.files / "appendonlydir", target))

    async def restore_copy(self, source: Path) -> None:
        """Put an older copy in the place of its data. It must not be running."""
        await self._do(lambda: _copy(source, self.files / "appendonlydir"))

    async def ready(self) -> None:
        """Wait until it answers and has loaded its data. Raises TimeoutError."""
        async with asyncio.timeout(READY_SECONDS):
            while True:
                try:
                    async with self.client() as client:
                        await client.ping()
                    return
                except (RedisError, OSError):
                    await asyncio.sleep(POLL_SECONDS)

    async def destroy(self) -> None:
        """Kill it and delete its data."""
        self.thaw()
        await self._do(self.server.destroy)


def _share_password(original: ValkeyServer, copy: ValkeyServer) -> None:
    """Give a server that has not been started yet the password of another."""
    file = copy.directories.files / "password"
    file.touch(mode=0o600)
    file.write_bytes((original.directories.files / "password").read_bytes())


def _copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
