"""Send single commands to Redis with few calls between the caller and the socket.

redis-py makes 100 to 200 calls of Python functions for a command, mostly for retries, metrics,
locks and time-outs. They cost more than the command itself. Here a command takes a connection of
redis-py's own pool and is exchanged on it (`exchange` in redis_connection.py). Connecting,
authentication, TLS and closing stay with redis-py, and so do pipelines.

Invariants: a command is sent at most once. A connection on which a reply may be outstanding is
closed before it returns to its pool. A pool that was closed lends nothing, so it leaves no
connection behind.
"""

from __future__ import annotations

from typing import Any, cast

from hiredis import pack_command
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from leaseq.connections.redis_connection import Guarded

__all__ = ["SharedPool", "SingleCommands"]


class SharedPool(BlockingConnectionPool):
    """A pool that lends an idle connection without a lock, because nothing waits in between."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._waiting = 0
        self._is_closed = False

    async def aclose(self) -> None:
        self._is_closed = True
        await super().aclose()

    async def get_connection(self, *args: Any, **options: Any) -> Any:
        self._waiting += 1
        try:
            return await super().get_connection(*args, **options)  # type: ignore[no-untyped-call]
        finally:
            self._waiting -= 1

    async def ensure_connection(self, connection: Any) -> None:
        if self._is_closed:  # perhaps while the caller waited for its turn
            raise RedisConnectionError("the connections to Redis were closed")
        await super().ensure_connection(connection)

    def borrow(self) -> Guarded | None:
        """An idle connection, which may have been closed meanwhile. None: wait for one."""
        if self._waiting or self._is_closed or not self._available_connections:
            return None
        connection = cast(Guarded, self._available_connections.pop())
        self._in_use_connections.add(connection)
        return connection

    def give_back(self, connection: Guarded) -> bool:
        """Return a connection. False if a caller waits for one: then use `release`."""
        if self._waiting:
            return False
        self._in_use_connections.remove(connection)
        self._available_connections.append(connection)
        return True


class SingleCommands:
    """Single commands over one client. A client of another class, as that of a cluster, sends them
    itself."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        pool = client.connection_pool
        is_plain = type(client) is Redis
        self._pool = pool if is_plain and isinstance(pool, SharedPool) else None
        self._is_alone = (
            is_plain
            and client.single_connection_client
            and issubclass(pool.connection_class, Guarded)
        )

    async def send(self, *words: Any) -> Any:
        """Send one command, and return its reply (bytes for strings). Raises as redis-py does."""
        pool = self._pool
        if pool is not None:
            connection = pool.borrow() or await pool.get_connection()
            try:
                return await connection.exchange(pack_command(words))
            finally:
                if not pool.give_back(connection):
                    await pool.release(connection)
        if not self._is_alone:
            return await self._client.execute_command(*words)  # type: ignore[no-untyped-call]
        if self._client.connection is None:
            _ = await self._client.initialize()
        own: Any = self._client.connection
        return await own.exchange(pack_command(words))
