"""A connection to Postgres that gives up soon on a server that is silent.

psycopg waits up to five seconds for the answer to a cancel request and then five more for the
query, and the cancelled task waits with it (docs/pitfalls.md#p22). Such a wait ends here within a
second or two.

Invariants. When a server answers neither a statement in time nor the request to cancel it, every
connection to it is left. When it answers the request but the statement goes on, only this
connection is closed, and its session is ended. The primary decides which connections are left
(primary.py).
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic
from typing import Any, Protocol, Self

import psycopg
from psycopg import abc, postgres, waiting
from psycopg.abc import RV, PQGen
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.errors import error_from_result
from psycopg.generators import execute
from psycopg.pq import ConnStatus, ExecStatus, Format, TransactionStatus
from psycopg.pq.abc import PGresult
from psycopg.types.array import register_all_arrays

from leaseq.connections.postgres_exchange import Exchange
from leaseq.connections.server_identity import UNKNOWN
from leaseq.connections.urls import check_postgres_url
from leaseq.model import Credential
from leaseq.safe_text.unreachable import postgres_reason

__all__ = ["ADAPTERS", "Connection", "ConnectionGuard", "FastCancelConnection", "Refused"]

Connection = psycopg.AsyncConnection[Any]

CANCEL_SECONDS = 1.0
# For ending a statement whose cancellation was answered.
END_SECONDS = 2.0
DONE = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)


def _build_adapters() -> AdaptersMap:
    adapters = AdaptersMap(types=postgres.types)
    postgres.register_default_adapters(adapters)
    register_all_arrays(adapters)
    return adapters


# psycopg's default conversion of values. `psycopg.adapters` belongs to the app, which may register
# other loaders and dumpers there, so no statement of leaseq depends on it.
ADAPTERS = _build_adapters()


class Refused(psycopg.OperationalError):
    """The server answers, but it is not the primary."""


class ConnectionGuard(Protocol):
    """The primary of a connection: it makes the connection, and decides which ones are left."""

    async def connect(
        self, connect: Callable[..., Any], conninfo: str, options: dict[str, Any]
    ) -> Any:
        """Connect to the primary among the hosts of a URL."""

    def leave_refusing(self, conn: FastCancelConnection, reason: str) -> None:
        """The server of this connection takes no writes, or has ended it."""

    def leave_silent(self, conn: FastCancelConnection, asked_at: float) -> None:
        """The server answers neither a statement nor the request to cancel it."""

    def abandon(self, conn: FastCancelConnection, asked_at: float) -> None:
        """A statement continues although the server answered its cancellation."""


class FastCancelConnection(psycopg.AsyncConnection[Any]):
    """A connection that is closed when the server does not even answer a cancel request.

    `unreplicated`: a commit of this connection stopped waiting for its standby. The server reports
    that in a warning, and answers as if it had waited. `left`: why this connection must not be used
    any more. `on_leave` is called when that is decided. `abandoned`: it was closed because a
    statement continued after the server had answered the cancellation.
    """

    credential: Credential | None = None  # of a connection for handlers

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.unreplicated = False
        self.left = ""
        self.abandoned = False
        self.prepared: set[bytes] = set()  # names of the statements of ledger/prepared.py
        self._rows: dict[bytes, abc.Transformer] = {}  # how to read their rows
        self._exchange: Exchange | None = None
        self._readable: select.poll | None = None
        self.on_leave: Callable[[], None] | None = None
        self.primary: ConnectionGuard | None = None
        # to the same server
        self.connect_again: Callable[[], Awaitable[FastCancelConnection]] | None = None
        self.identity = UNKNOWN
        self.address = ""
        self.made_at = self.received_at = monotonic()
        self.add_notice_handler(self._note_warning)

    @classmethod
    async def connect(  # type: ignore[override]
        cls, conninfo: str = "", *, primary: ConnectionGuard | None = None, **options: Any
    ) -> Self:
        """Connect to the `primary`, or without one to any server that answers. Raises
        psycopg.OperationalError."""
        options = {"context": ADAPTERS} | options
        check_postgres_url(conninfo)
        try:
            if primary is None:
                return await super().connect(conninfo, **options)
            conn: Self = await primary.connect(super().connect, conninfo, options)
            return conn
        except Refused:
            raise
        except (psycopg.OperationalError, UnicodeError) as error:
            # the driver quotes the URL
            raise psycopg.OperationalError(postgres_reason(str(error))) from None

    async def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Like psycopg's, but a server that has gone silent is abandoned within a second or two."""
        if self._exchange is not None:
            self._exchange.suspend()
        asked_at = monotonic()
        try:
            answer = await waiting.wait_async(
                gen, self.pgconn.socket, interval=interval, timeout=timeout
            )
        except asyncio.CancelledError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                await self._interrupt(gen, asked_at)
            raise
        self.received_at = monotonic()
        return answer

    async def query_prepared(
        self, name: bytes, text: bytes, values: list[bytes | None], deadline: float | None = None
    ) -> list[tuple[Any, ...]]:
        """Run a statement by its name, which its first use on this connection prepares, and return
        its rows as a cursor does.

        It runs in a transaction of its own, and no other task may use the connection meanwhile.
        `deadline`: by the clock of the event loop. Raises `psycopg.Error`, and `TimeoutError` once
        the statement is cancelled.
        """
        pgconn = self.pgconn
        if name not in self.prepared:
            # It may have been prepared for a caller that was cancelled.
            with suppress(psycopg.errors.DuplicatePreparedStatement):
                await self._ask(deadline, pgconn.send_prepare, name, text)
            self.prepared.add(name)
        try:
            result = await self._ask(
                deadline, pgconn.send_query_prepared, name, values, None, Format.BINARY
            )
        except psycopg.errors.InvalidSqlStatementName:
            self.prepared.discard(name)  # it was deallocated, and has done nothing
            return await self.query_prepared(name, text, values, deadline)
        rows = self._rows.get(name)
        if rows is None:
            rows = self._rows[name] = Transformer(self)
            rows.set_pgresult(result)
        else:  # its columns are those of the last time
            rows.set_pgresult(result, set_loaders=False)
        found = rows.load_rows(0, result.ntuples, tuple)
        rows.set_pgresult(None, set_loaders=False)  # which would keep the answer in memory
        return found

    async def _ask(self, deadline: float | None, send: Callable[..., None], *args: Any) -> PGresult:
        asked_at = monotonic()
        exchange = self._exchange
        if exchange is None:
            exchange = self._exchange = Exchange(self.pgconn)
        answer = exchange.begin(send, *args)
        timer = None if deadline is None else answer.get_loop().call_at(deadline, self._time_out)
        try:
            result = (await answer)[-1]
        except (asyncio.CancelledError, TimeoutError):
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                await self._interrupt(execute(self.pgconn), asked_at)
            if not answer.cancelled():
                answer.exception()  # of an answer that came with the cancellation
            raise
        finally:
            if timer is not None:
                timer.cancel()
        self.received_at = monotonic()
        if result.status not in DONE:
            raise error_from_result(result)
        return result

    def _time_out(self) -> None:
        if self._exchange is not None:
            self._exchange.fail(TimeoutError())

    def has_news(self) -> bool:
        """Whether the server has sent something while this connection was idle, or closed it."""
        if self.pgconn.status != ConnStatus.OK:
            return True
        if self._readable is None:
            self._readable = select.poll()
            self._readable.register(self.pgconn.socket, select.POLLIN)
        return bool(self._readable.poll(0))

    async def close(self) -> None:
        """Close the connection. A statement that waits for its answer fails."""
        self._end_exchange()
        self._rows.clear()
        await super().close()

    async def cancel_safe(self, *, timeout: float = CANCEL_SECONDS) -> None:
        """Ask the server to cancel the running statement. Closes the connection if there is no
        answer within a second."""
        try:
            await super().cancel_safe(timeout=min(timeout, CANCEL_SECONDS))
        except psycopg.errors.CancellationTimeout:
            self._finish()
            raise

    def leave(self, reason: str) -> None:
        """Decide that this connection must not be used any more. It is closed when it is
        returned."""
        if not self.left:
            self.left = reason
            self._time_out()
            if self.on_leave is not None:
                self.on_leave()

    def check_writable(self) -> None:
        """Leave a server that became read-only after this connection was made. Raises `Refused`.

        Uses the values that Postgres reports without being asked. Called at the beginning of a
        transaction, before a handler can have changed them.
        """
        for name in ("default_transaction_read_only", "in_hot_standby"):
            if self.info.parameter_status(name) == "on":
                if self.primary is not None:
                    self.primary.leave_refusing(self, f"the server takes no writes: {name} is on")
                raise Refused(f"the server takes no writes: {name} is on")

    async def _interrupt(self, gen: PQGen[Any], asked_at: float) -> None:
        """End the running statement, or the connection. If the server does not answer, all
        connections to it are left."""
        if self._exchange is not None:
            self._exchange.suspend()
        if self.left:
            self._finish()
            return
        is_answered = False
        try:
            await self.cancel_safe()
            is_answered = True
            await waiting.wait_async(gen, self.pgconn.socket, interval=0.1, timeout=END_SECONDS)
        except psycopg.errors.QueryCanceled:
            self.received_at = monotonic()
        except (psycopg.Error, OSError):
            # not a connection that its server has ended
            is_answered = is_answered and self.pgconn.status == ConnStatus.OK
            self._finish()
            if self.primary is not None:
                (self.primary.abandon if is_answered else self.primary.leave_silent)(self, asked_at)
        except BaseException:
            self._finish()
            raise
        else:
            self.received_at = monotonic()

    def _end_exchange(self) -> None:
        """Before the socket is closed."""
        if self._exchange is not None:
            self._exchange.suspend()
            self._exchange.fail(psycopg.OperationalError("the connection is closed"))

    def _finish(self) -> None:
        self._end_exchange()
        self.pgconn.finish()

    def _note_warning(self, notice: psycopg.errors.Diagnostic) -> None:
        # Identified by the server's function, since the text is translated.
        text = notice.message_primary or ""
        if (
            notice.source_function == "SyncRepWaitForLSN"
            or "wait for synchronous replication" in text
        ):
            self.unreplicated = True
