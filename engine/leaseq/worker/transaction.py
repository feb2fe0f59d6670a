"""How do a handler's writes and the completion of its task become one commit?

One transaction for each attempt, opened when the handler first asks for it, on a pool of its own whose sessions carry
the incarnation's name, so that a reap can end them. Each `transaction()` block is a savepoint in it. After the
handler has returned, the fenced settle is the last statement; then it commits. If the fence refuses, or the handler
raised, everything is rolled back. Then the connection serves another attempt, and whatever the first one left running (a task
that it forgot, a thread that overran) is refused (`lent.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Any, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from leaseq.connect import PLANS, Connection, ImpatientConnection, Pool
from leaseq.context import BlockingConnection
from leaseq.errors import Fenced, TransactionEnded
from leaseq.failpoints import reach
from leaseq.ledger.ledger import Ledger
from leaseq.ledger.session import TOO_LARGE, UNAVAILABLE, check_replicated, unreachable
from leaseq.model import Settled, Settlement
from leaseq.worker.lent import Loan

T = TypeVar("T")

QUIET_SECONDS = 1.0


class AttemptTransaction:
    """The one transaction of an attempt; does nothing until somebody enters a block."""

    def __init__(self, pool: Pool, loan: Loan) -> None:
        self._pool = pool
        self.loan = loan
        self._stack = AsyncExitStack()
        self._outer: AbstractAsyncContextManager[psycopg.AsyncTransaction] | None = None
        self._handle: psycopg.AsyncTransaction | None = None
        self._opening = asyncio.Lock()
        self.starved = False  # was the handler interrupted while it waited for a connection?
        self.conn: ImpatientConnection | None = None

    @property
    def is_open(self) -> bool:
        return self._outer is not None

    @property
    def broken(self) -> bool:
        """Did the connection die under the handler?"""
        return self.conn is not None and self.conn.broken

    @property
    def ended(self) -> bool:
        """Has the handler sent a COMMIT or ROLLBACK of its own, or closed the connection?"""
        if self.conn is None or self.conn.broken:
            return False
        return self.conn.closed or self.conn.info.transaction_status is TransactionStatus.IDLE

    async def begin(self) -> Connection:
        """The connection, with the transaction open. Raises `Fenced` once the attempt is over: a thread that outlived its
        time-out gets nothing more."""
        async with self._opening:
            self.loan.check()
            if self.conn is None:
                await self._open()
            assert self.conn is not None, "just opened"
            return self.conn

    async def _open(self) -> None:
        async with AsyncExitStack() as stack:
            try:
                self.starved = True
                conn = await stack.enter_async_context(self._pool.connection())
                self.starved = False
            except Exception:
                self.starved = False  # it was told, and may go on
                raise
            self.loan.check()  # the attempt may have ended while this waited
            outer = conn.transaction()
            self._handle = await outer.__aenter__()
            if self.loan.over:  # it ended meanwhile, and found nothing to undo; nobody comes back for what would be opened now
                await conn.close()
                self.loan.check()
            self.conn, self._outer, self._stack = conn, outer, stack.pop_all()
        reach("transaction.open", lost=psycopg.OperationalError)

    async def commit(self, ledger: Ledger, settlement: Settlement) -> Settled:
        """Settle and commit. Raises `Fenced` (rolled back), `ServerUnreachable` (unknown), `TransactionEnded`, and
        `RuntimeError` where the handler returned in the middle of a statement."""
        assert self.conn is not None, "nothing to commit"
        assert self._outer is not None, "nothing to commit"
        self.loan.end()
        if self.ended:
            await self.abandon(discard=True)
            raise TransactionEnded
        if self._busy:
            raise RuntimeError("a statement of the handler was still running when it returned")
        try:
            await self.conn.execute(PLANS, {"local": True}, prepare=True)
            settled = (await ledger.settle([settlement], conn=self.conn)).get(settlement.lease.task_id)
            if settled is None:
                await self.abandon()
                raise Fenced(f"attempt {settlement.lease.attempt} of {settlement.lease.task_id} was taken away")
            reach("transaction.settled", lost=psycopg.OperationalError)
            outer, self._outer = self._outer, None
            await outer.__aexit__(None, None, None)
            check_replicated(self.conn)
            reach("commit.sent", lost=psycopg.OperationalError)
        except TOO_LARGE:
            raise
        except UNAVAILABLE as error:
            raise unreachable(error) from error
        finally:
            await self._close()
        return settled

    async def abandon(self, *, discard: bool = False) -> None:
        """Undo everything; also what a dead connection has undone already. With `discard` the connection is not used again,
        because the handler still runs and may hold it. A statement that still runs is ended, in Postgres too: the attempt
        that comes next would wait for its locks."""
        self.loan.end()
        outer, self._outer = self._outer, None
        if outer is not None and self.conn is not None and not self.conn.closed:
            try:
                await self._quieten(self.conn)
                if discard:
                    await self.conn.close()
                else:
                    await outer.__aexit__(psycopg.Rollback, psycopg.Rollback(self._handle), None)
            except (*UNAVAILABLE, psycopg.Error):
                await self.conn.close()
        await self._close()

    @property
    def _busy(self) -> bool:
        return self.conn is not None and self.conn.info.transaction_status is TransactionStatus.ACTIVE

    async def _quieten(self, conn: Connection) -> None:
        """End the statement that still runs, and wait for whoever runs it. To close a connection under a waiting psycopg is no
        way: the number of its socket is soon another's, and it would wait on that one for ever."""
        if self._busy:
            await conn.cancel_safe()
        async with asyncio.timeout(QUIET_SECONDS), conn.lock:
            return

    async def _close(self) -> None:
        if self._outer is not None and self.conn is not None:
            # The commit did not come back: whatever became of it, this connection is of no more use.
            await self.conn.close()
        stack, self._stack = self._stack, AsyncExitStack()
        self._outer = None
        await stack.aclose()


class Scope:
    """One block of a handler: a savepoint in the attempt's transaction, which is `lend`ed in the event loop."""

    def __init__(self, lend: Callable[[], AttemptTransaction], loop: asyncio.AbstractEventLoop) -> None:
        self._lend = lend
        self._loop = loop
        self._savepoint: AbstractAsyncContextManager[psycopg.AsyncTransaction] | None = None

    async def __aenter__(self) -> Connection:
        try:
            conn = await self._lend().begin()
            savepoint = conn.transaction()
            await savepoint.__aenter__()
        except UNAVAILABLE as error:
            raise unreachable(error) from error
        self._savepoint = savepoint
        return conn

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        transaction = self._lend()
        if self._savepoint is None or transaction.broken or transaction.loan.over:
            return None
        if transaction.ended:
            raise TransactionEnded
        return await self._savepoint.__aexit__(kind, error, trace)

    def __enter__(self) -> BlockingConnection:
        self._wait(self.__aenter__())
        return Blocking(self._lend, self._loop)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool | None:
        return self._wait(self.__aexit__(kind, error, trace))

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


class Blocking:
    """The transaction for a handler that runs in a thread."""

    def __init__(self, lend: Callable[[], AttemptTransaction], loop: asyncio.AbstractEventLoop) -> None:
        self._lend = lend
        self._loop = loop

    def execute(self, query: str, params: Any = None) -> list[tuple[Any, ...]]:
        """Run one statement on the event loop's connection, and wait for its rows here."""
        return asyncio.run_coroutine_threadsafe(self._execute(query, params), self._loop).result()

    async def lent_connection(self) -> Connection:
        """The connection behind it."""
        return await self._lend().begin()

    async def _execute(self, query: str, params: Any) -> list[tuple[Any, ...]]:
        conn = await self._lend().begin()
        cursor = await conn.execute(query.encode(), params)
        return await cursor.fetchall() if cursor.description else []


__all__ = ["AttemptTransaction", "Scope"]
