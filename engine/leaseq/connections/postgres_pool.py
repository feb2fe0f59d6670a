"""Lend an idle connection of a pool without waiting.

`getconn` and `putconn` of psycopg_pool take two locks and some forty calls for each statement of
the hot path. `take` and `put_back` do the same in the usual case, in which a sound connection is
idle and is returned in order. In every other case they do nothing, and the caller uses psycopg's
methods.

Invariants. An idle connection is always in the pool's own list, so that psycopg_pool drains,
shrinks, replaces and closes it as usual. A lent one counts as lent: `max_size` is kept. No
connection passes here that psycopg_pool would have closed or given to a caller that waits. The
attributes with an underscore are those of psycopg_pool 3.3, hence the bound in pyproject.toml.
"""

from __future__ import annotations

from time import monotonic

from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool

from leaseq.connections.postgres_connection import FastCancelConnection

# psycopg_pool varies the lifetimes, so that connections are not replaced together.
SHORTEST_LIFE = 0.95


class Pool(AsyncConnectionPool[FastCancelConnection]):
    """A pool of connections to Postgres."""

    def take(self) -> FastCancelConnection | None:
        """The connection that was returned last, whose server process is warm; None if `getconn`
        has to wait for one, or to check it."""
        idle = self._pool
        if self._closed or not idle:
            return None
        conn = idle.pop()
        if conn.left or conn.has_news():
            idle.appendleft(conn)  # the next one that `getconn` checks
            return None
        self._nconns_min = min(self._nconns_min, len(idle))
        self._stats[self._REQUESTS_NUM] += 1
        conn._pool = self  # noqa: SLF001 (as `getconn` does)
        return conn

    def put_back(self, conn: FastCancelConnection) -> bool:
        """Return a connection that `take` or `getconn` has lent. False: `putconn` must do it."""
        if (
            self._waiting
            or self._closed
            or conn.left
            or conn.pgconn.transaction_status != TransactionStatus.IDLE
            or conn.made_at <= self._drained_at
            or conn.made_at + SHORTEST_LIFE * self.max_lifetime <= monotonic()
        ):
            return False
        conn._pool = None  # noqa: SLF001 (as `putconn` does)
        self._pool.append(conn)
        return True


__all__ = ["Pool"]
