"""The transaction that commits a handler's writes with the end of its task.

Each attempt has at most one, opened when the handler first asks for it, on a connection of a
separate pool. Each `transaction()` block is a savepoint in it. After the handler has returned, the
fenced settle is the last statement; then it commits. If the fence refuses, or the handler raised,
everything is rolled back.

Invariants. The handler works through a `HandlerConnection` (`handler_connection.py`), the worker on
the connection of the pool itself, never both at a time. The settle does not depend on the settings
of the handler: before it, the worker proves that the transaction is still the one that it opened,
and resets every setting. A connection goes back to the pool only when nothing of the attempt can
reach it; the pool then resets its session.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from types import TracebackType
from typing import Any

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus

from leaseq.connections.postgres import settings_script
from leaseq.connections.postgres_connection import Connection, FastCancelConnection
from leaseq.connections.postgres_pool import Pool
from leaseq.context import BlockingConnection
from leaseq.errors import Fenced, ServerUnreachable, TransactionEnded
from leaseq.failpoints import reach
from leaseq.ledger.session import (
    MARGIN_SECONDS,
    TOO_LARGE,
    UNAVAILABLE,
    check_replicated,
    hurry,
    unreachable,
)
from leaseq.ledger.tasks import TaskLedger
from leaseq.model import Settled, Settlement
from leaseq.worker.attempt.handler_connection import AccessToken, HandlerConnection
from leaseq.worker.process.worker_loop import wait_on_worker_loop

QUIET_SECONDS = 3.0
# The references to the libpq handle of an idle connection: the connection itself, and the argument
# of getrefcount.
OWN_REFERENCES = 2

# Random for each process, so that no handler rolls back to it or releases it by a name that is in
# the code.
SAVEPOINT = f"leaseq_{secrets.token_hex(8)}"


def _script(name: str) -> bytes:
    text = (
        (files("leaseq.worker.attempt") / "sql" / f"{name}.sql")
        .read_text(encoding="utf-8")
        .rstrip()
    )
    return text.replace("leaseq_attempt", SAVEPOINT).encode()


BEGIN = _script("begin_attempt")
IDENTIFY = _script("identify_transaction")
PREPARE_SETTLE = _script("prepare_settle")
UNDO = _script("undo_attempt")
# crash_shutdown: Postgres ends every session because one of them has crashed. The crashed one gets
# no message.
CRASHED_ELSEWHERE = "57P02"


def sqlstate_of(error: ServerUnreachable) -> str | None:
    """The SQLSTATE with which Postgres refused the transaction, if it sent one."""
    cause = error.__cause__
    return cause.sqlstate if isinstance(cause, psycopg.Error) else None


class AttemptTransaction:
    """The one transaction of an attempt; does nothing until the handler enters a block."""

    def __init__(
        self, pool: Pool, access: AccessToken, *, statement_timeout_seconds: float
    ) -> None:
        self.access = access
        self.waits = False  # the handler waits for a connection
        self.starved = False  # the attempt was interrupted while it waited for one
        self.broken = False  # the connection died under the handler
        # the worker closed it, because a statement of the handler ignored its cancellation
        self.abandoned = False
        self.ended = False  # the handler has ended the transaction, or closed the connection
        # called when the server of an open transaction is left
        self.on_leave: Callable[[], None] | None = None
        self._pool = pool
        self._statement_timeout_seconds = statement_timeout_seconds
        self._opening = asyncio.Lock()
        self._conn: FastCancelConnection | None = None
        self._handler_conn: HandlerConnection | None = None
        self._identity = ""
        self._is_proven = False  # the transaction is known to be the one that was opened
        # Postgres has sent that the crash of another session ends this one
        self.crashed_elsewhere = False

    @property
    def is_open(self) -> bool:
        return self._conn is not None

    async def begin(self) -> HandlerConnection:
        """The handler's connection, with the transaction open. Raises `Fenced` once the attempt is
        over."""
        async with self._opening:
            self.access.check()
            if self._handler_conn is None:
                await self._open()
            assert self._handler_conn is not None, "just opened"
            self.look()
            return self._handler_conn

    async def _open(self) -> None:
        self.waits = True
        try:
            conn = await self._pool.getconn()
        finally:
            self.waits = False
        try:
            self.access.check()  # the attempt may have ended while this waited
            conn.on_leave = self.on_leave
            self._identity = await _answer(conn, BEGIN, -1)
            self.access.check()
            conn.check_writable()
        except BaseException:
            await self._close(conn)
            raise
        self._conn, self._handler_conn = conn, HandlerConnection(conn, self.access)
        for listened in (self._conn, self._handler_conn):
            listened.add_notice_handler(self._noticed)
        reach("transaction.open", lost=psycopg.OperationalError)

    def look(self) -> None:
        """Record whether the handler has broken or ended its connection."""
        if self._handler_conn is not None:
            self.broken = self.broken or self._handler_conn.broken
            self.abandoned = self.abandoned or (self._conn is not None and self._conn.abandoned)
            self.ended = self.ended or self._handler_conn.ended

    def _noticed(self, notice: psycopg.errors.Diagnostic) -> None:
        self.crashed_elsewhere = self.crashed_elsewhere or notice.sqlstate == CRASHED_ELSEWHERE

    async def commit(self, ledger: TaskLedger, settlement: Settlement) -> Settled:
        """Settle and commit. Raises `Fenced` (rolled back), `ServerUnreachable` (unknown),
        `TransactionEnded`, and `RuntimeError` where the handler returned in the middle of a
        statement."""
        assert self._conn is not None, "nothing to commit"
        in_use = self._is_in_use(self._conn)
        conn = await self._take_back(self._conn)
        if self.ended:
            raise TransactionEnded
        if in_use:
            raise RuntimeError("a statement of the handler was still running when it returned")
        try:
            async with asyncio.timeout(self._statement_timeout_seconds + MARGIN_SECONDS) as clock:
                conn.on_leave = lambda: hurry(clock)
                settled = await self._settle_and_commit(conn, ledger, settlement)
        except TOO_LARGE:
            raise
        except ServerUnreachable:
            await self._discard()
            raise
        except (TimeoutError, *UNAVAILABLE) as error:
            await self._discard()
            raise unreachable(error) from error
        if settled is None:
            await self.abandon()
            raise Fenced(
                f"attempt {settlement.claim.attempt} of {settlement.claim.task_id} was taken away"
            )
        await self._give_back(conn)
        return settled

    async def _settle_and_commit(
        self, conn: FastCancelConnection, ledger: TaskLedger, settlement: Settlement
    ) -> Settled | None:
        """Settle and commit on our own, and so within our own time-out. None: it was fenced, and
        nothing is committed."""
        await self._prepare_settle(conn)
        settled = await ledger.succeed(settlement.claim, settlement.ending.result, conn=conn)
        if settled is not None:
            reach("transaction.settled", lost=psycopg.OperationalError)
            await conn.commit()
            check_replicated(conn)
            if conn.left:
                raise ServerUnreachable(f"Postgres was left while it committed: {conn.left}")
            reach("commit.sent", lost=psycopg.OperationalError)
        return settled

    async def _prepare_settle(self, conn: FastCancelConnection) -> None:
        """Prove that this is the transaction that `begin` opened, and reset the settings that could
        change the settle."""
        try:
            identity = await _answer(conn, _prepare_settle(self._statement_timeout_seconds), -1)
        except psycopg.errors.InvalidSavepointSpecification:
            identity = ""
        if identity != self._identity:
            self.ended = True
            raise TransactionEnded
        self._is_proven = True

    async def abandon(self) -> None:
        """Undo everything, and find out whether the handler has ended the transaction before."""
        if self._conn is None:
            self.access.revoke()
            return
        conn = await self._take_back(self._conn)
        try:
            if not conn.closed and conn.info.transaction_status is not TransactionStatus.IDLE:
                async with asyncio.timeout(self._statement_timeout_seconds):
                    await (conn.rollback() if self._is_proven else self._undo(conn))
        except psycopg.errors.InvalidSavepointSpecification:
            self.ended = True
            await self._discard()
        except (TimeoutError, *UNAVAILABLE, psycopg.Error):
            await self._discard()
        else:
            await self._give_back(conn)

    async def _undo(self, conn: FastCancelConnection) -> None:
        if await _answer(conn, UNDO, -2) != self._identity:
            self.ended = True

    async def _take_back(self, conn: FastCancelConnection) -> FastCancelConnection:
        """Revoke the access. Afterwards only the worker uses the connection, which is closed if it
        is in no state for that."""
        self.look()
        self.access.revoke()
        is_fit = True
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                await self.access.until_idle()
                # COPY, or a stream that is read to no end
                if conn.info.transaction_status is TransactionStatus.ACTIVE:
                    await conn.cancel_safe()
        except (TimeoutError, psycopg.Error):
            is_fit = False
        self.look()
        if not is_fit or self._is_in_use(conn):
            await conn.close()
        if self._handler_conn is not None:
            self._handler_conn.detach()
            self._handler_conn = None
        return conn

    def _is_in_use(self, conn: FastCancelConnection) -> bool:
        """Whether a statement of the handler, a COPY or a pipeline has begun and not ended."""
        return (
            self.access.in_use
            or conn.info.transaction_status is TransactionStatus.ACTIVE
            or (not conn.closed and conn.pgconn.pipeline_status != PipelineStatus.OFF)
        )

    async def _give_back(self, conn: FastCancelConnection) -> None:
        """Put the connection back into the pool, which resets its session. It is closed if anything
        else still refers to it, for example a cursor that the handler has kept, or a thread that
        goes on."""
        conn.on_leave = None
        if sys.getrefcount(conn.pgconn) > OWN_REFERENCES:
            await conn.close()
        conn.remove_notice_handler(self._noticed)
        self._conn = None
        await self._pool.putconn(conn)

    async def _discard(self) -> None:
        """Close the connection, which undoes everything that is not committed."""
        conn, self._conn = self._conn, None
        if conn is not None:
            await self._close(conn)

    async def _close(self, conn: FastCancelConnection) -> None:
        conn.on_leave = None
        await conn.close()
        await self._pool.putconn(conn)


class Scope:
    """One block of a handler: a savepoint in the attempt's transaction, which is `lend`ed in the
    event loop."""

    def __init__(
        self, lend: Callable[[], AttemptTransaction], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._lend = lend
        self._loop = loop
        self._savepoint: psycopg.AsyncTransaction | None = None

    async def __aenter__(self) -> HandlerConnection:
        try:
            conn = await self._lend().begin()
            # not conn.transaction(): a generator would be finalized after the attempt
            savepoint = psycopg.AsyncTransaction(conn)
            await savepoint.__aenter__()
        except UNAVAILABLE as error:
            raise unreachable(error) from error
        self._savepoint = savepoint
        return conn

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        transaction, savepoint = self._lend(), self._savepoint
        transaction.look()
        if savepoint is None or transaction.broken or transaction.access.revoked:
            return None
        if transaction.ended:
            raise TransactionEnded
        try:
            return await savepoint.__aexit__(kind, error, trace)
        except psycopg.errors.InvalidSavepointSpecification as gone:
            transaction.ended = True
            raise TransactionEnded from gone

    def __enter__(self) -> BlockingConnection:
        wait_on_worker_loop(self.__aenter__, self._loop)
        return Blocking(self._lend, self._loop)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return wait_on_worker_loop(lambda: self.__aexit__(kind, error, trace), self._loop)


class Blocking:
    """The transaction, for a handler that runs in a thread."""

    def __init__(
        self, lend: Callable[[], AttemptTransaction], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._lend = lend
        self._loop = loop

    def execute(self, query: str, params: Any = None) -> list[tuple[Any, ...]]:
        """Run one statement on the event loop's connection, and wait for its rows here."""
        return wait_on_worker_loop(lambda: self._execute(query, params), self._loop)

    async def lent_connection(self) -> Connection:
        """The connection behind it."""
        return await self._lend().begin()

    async def _execute(self, query: str, params: Any) -> list[tuple[Any, ...]]:
        conn = await self._lend().begin()
        cursor = await conn.execute(query.encode(), params)
        return await cursor.fetchall() if cursor.description else []


@cache
def _prepare_settle(statement_timeout_seconds: float) -> bytes:
    return b";\n".join([PREPARE_SETTLE, settings_script(statement_timeout_seconds), IDENTIFY])


async def _answer(conn: Connection, script: bytes, place: int) -> str:
    """Send a message of several statements; the one value that the statement at this place
    returns."""
    cursor = await conn.execute(script)
    await cursor.set_result(place)
    row = await cursor.fetchone()
    assert row is not None, "it reads no table"
    return str(row[0])


__all__ = ["AttemptTransaction", "Scope", "sqlstate_of"]
