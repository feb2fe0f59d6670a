"""The connection that a handler gets: a handle around a connection of the pool.

Each attempt has a separate `HandlerConnection`, so that nothing which a handler sets on the Python
object (row factory, cursor factory, adapters, handlers of notices, prepared statements) reaches
another attempt.

Invariants. Every round trip of psycopg, of a cursor, a savepoint, a pipeline or COPY, goes through
`wait`, and `wait` serves only code that runs on behalf of the attempt, while the attempt lasts.
When the access token is revoked, the statements that still wait are interrupted. Afterwards the
handle refers to a closed connection.
"""

from __future__ import annotations

import asyncio
import os
from contextvars import ContextVar
from functools import cache
from types import TracebackType
from typing import Any, Never, Self

import psycopg
from psycopg import pq
from psycopg.abc import RV, PQGen
from psycopg.pq import ConnStatus, TransactionStatus

from leaseq.connections.postgres_connection import Connection, FastCancelConnection
from leaseq.errors import Fenced, TransactionEnded, TransactionForeign

_access: ContextVar[AccessToken | None] = ContextVar("leaseq_access", default=None)


class AccessToken:
    """The right of one attempt to its transaction and progress. Belongs to the event loop in which
    it is made."""

    def __init__(self) -> None:
        self.revoked = False
        self._loop = asyncio.get_running_loop()
        self._waits: set[asyncio.Timeout] = set()
        self._quiet = asyncio.Event()
        self._quiet.set()

    def bind(self) -> None:
        """Make the current context (contextvars), and every task that is started from it, a part of
        this attempt."""
        _access.set(self)

    def revoke(self) -> None:
        """Refuse every use from now on, and interrupt the statements that still run."""
        if self.revoked:
            return
        self.revoked = True
        for wait in self._waits:
            wait.reschedule(self._loop.time())

    @property
    def in_use(self) -> bool:
        """Whether a statement runs."""
        return bool(self._waits)

    async def until_idle(self) -> None:
        """Wait until no statement runs."""
        await self._quiet.wait()

    def check_owner(self) -> None:
        """Raise `TransactionForeign` unless the caller is a part of this attempt."""
        if _access.get() is not self:
            raise TransactionForeign
        if _running_loop() is not self._loop:
            raise TransactionForeign(
                "the transaction of an attempt can be used in the event loop of the worker only"
            )

    def check(self) -> None:
        """Raise `TransactionForeign` unless the caller is a part of this attempt, `Fenced` once the
        attempt is over."""
        self.check_owner()
        if self.revoked:
            raise Fenced("this attempt is over")

    async def run(
        self, conn: Connection, gen: PQGen[RV], interval: float, timeout: float | None
    ) -> RV:
        """Run one operation on the pool's connection, until it is done or the access is revoked."""
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._waits.add(limit)
                self._quiet.clear()
                try:
                    return await conn.wait(gen, interval=interval, timeout=timeout)
                finally:
                    self._waits.discard(limit)
                    if not self._waits:
                        self._quiet.set()
        except TimeoutError as error:
            if limit.expired():
                raise Fenced("this attempt is over") from error
            raise


class HandlerConnection(FastCancelConnection):
    """A psycopg connection for the handler of one attempt."""

    def __init__(self, conn: FastCancelConnection, access: AccessToken) -> None:
        self._handlers = (conn.pgconn.notice_handler, conn.pgconn.notify_handler)
        super().__init__(conn.pgconn)
        self.credential = conn.credential
        self._pooled = conn
        self._access = access
        self._autocommit = True  # the transaction is begun and ended by the worker

    @property
    def ended(self) -> bool:
        """Whether the handler has closed the connection, or its transaction is visibly over."""
        if self.broken:
            return False
        return self.closed or self.pgconn.transaction_status == TransactionStatus.IDLE

    def detach(self) -> None:
        """Leave the connection to the pool: this handle, and each object that was made from it, is
        closed from now on."""
        if self.pgconn is not _closed_pgconn():
            self.pgconn.notice_handler, self.pgconn.notify_handler = self._handlers
            if self.pgconn.status == ConnStatus.OK:
                # The handler may have set these in libpq and in its socket, and no statement resets
                # them.
                self.pgconn.untrace()
                self.pgconn.nonblocking = 1
                os.set_blocking(self.pgconn.socket, False)
            self.pgconn = _closed_pgconn()
            del self._pooled

    async def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        self._access.check()
        if self.pgconn.transaction_status == TransactionStatus.IDLE:
            raise TransactionEnded
        return await self._access.run(self._pooled, gen, interval, timeout)

    def _check_connection_ok(self) -> None:
        self._access.check()  # psycopg would say "the connection is closed"
        super()._check_connection_ok()

    async def close(self) -> None:
        """Close the connection. This ends the transaction, and the task fails with
        `transaction_ended`."""
        self._access.check_owner()
        await super().close()

    def cancel(self) -> None:
        self._access.check_owner()
        super().cancel()

    async def cancel_safe(self, *, timeout: float = 1.0) -> None:
        self._access.check_owner()
        await super().cancel_safe(timeout=timeout)

    async def commit(self) -> Never:
        """Refused: the transaction commits together with the completion of the task."""
        raise psycopg.ProgrammingError(
            "commit() is not for a handler: ctx.transaction() commits with the completion of the task"
        )

    async def rollback(self) -> Never:
        """Refused: an error that leaves the block undoes it."""
        raise psycopg.ProgrammingError(
            "rollback() is not for a handler: raise an error out of the ctx.transaction() block"
        )

    async def __aenter__(self) -> Self:
        raise psycopg.ProgrammingError(
            "`async with tx` would commit: use `async with tx.transaction()` for a savepoint"
        )

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Never entered."""


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


@cache
def _closed_pgconn() -> Any:
    """The closed connection that a detached handle refers to."""
    pgconn = pq.PGconn.connect_start(b"host=/nowhere")
    pgconn.finish()
    return pgconn


__all__ = ["AccessToken", "HandlerConnection"]
