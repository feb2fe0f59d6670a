"""Send statements to Postgres, and classify its refusals and outages.

One round trip a statement, one transaction each (autocommit). A statement that did not come back
may or may not have been committed: `ServerUnreachable` means "unknown", and the caller knows how to
find out (docs/lifecycle.md). The statements of submit, claim and settle are sent by name, past
psycopg's cursor (prepared.py), except on a connection of the caller.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import random
from typing import Any

import psycopg
from msgspec.structs import asdict
from psycopg.adapt import AdaptersMap
from psycopg.rows import namedtuple_row, tuple_row
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from leaseq.connections.postgres_connection import ADAPTERS, Connection, FastCancelConnection
from leaseq.connections.postgres_pool import Pool
from leaseq.connections.primary import Primary
from leaseq.errors import ServerUnreachable
from leaseq.ledger.prepared import PREPARED, Prepared, run_prepared
from leaseq.ledger.statements import STATEMENTS
from leaseq.metrics.tally import TALLY
from leaseq.safe_text.exceptions import text_of

# Named tuples, or plain ones (`POSITIONAL`).
Rows = list[Any]

TRIES = 3
DURATION = "leaseq_statement_duration_seconds"
# A statement that the server has not ended by its own time-out is given up so much later.
MARGIN_SECONDS = 0.5

# Postgres has refused for now or is gone: the outcome is unknown or "not done", never "done wrong".
UNAVAILABLE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
    PoolTimeout,
    PoolClosed,
    TooManyRequests,
    OSError,
)

# Postgres undid the statement for the sake of another transaction. Nothing was done, and it may
# succeed when it is sent again. Our sessions are `read committed`, but a trigger or a pooler that
# resets a setting may bring this answer all the same.
CONFLICTS = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)

# Classes of SQLSTATE with which Postgres says that it goes away: the connection, and operator
# intervention. Every other SQLSTATE is the answer of a server that is there, also where psycopg
# calls the error operational: conflicts (40), resources (53), locks (55), cancelled statements
# (57014), errors of the system (58).
GOING = ("08", "57P")

# Errors after which a connection is closed: its server takes no writes, or has ended it.
REFUSING = (
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.AdminShutdown,
    psycopg.errors.CrashShutdown,
    psycopg.errors.CannotConnectNow,
)

# Operational errors by their class, but about the statement: it will be refused however often it is
# sent.
TOO_LARGE = (
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.StatementTooComplex,
    psycopg.errors.TooManyArguments,
    psycopg.errors.TooManyColumns,
)


# A second try would take as long.
TOO_LONG = (PoolTimeout, TimeoutError, psycopg.errors.QueryCanceled)

# Statements that connections of handlers, whose role has no right on tables, send instead.
FOR_HANDLERS = {
    "expire_keys": STATEMENTS["handler_expire_keys"],
    "find_keys": STATEMENTS["handler_find_keys"],
    "find_uniques": STATEMENTS["handler_find_uniques"],
    "debounce_task": STATEMENTS["handler_debounce_task"],
    "adopt_keys": STATEMENTS["handler_adopt_keys"],
    "submit_labelled": STATEMENTS["handler_submit_labelled"],
    "submit_bound": STATEMENTS["handler_submit_bound"],
    "submit_unique": STATEMENTS["handler_submit_unique"],
    "submit_tasks": STATEMENTS["handler_submit_tasks"],
}


# Statements of the hot path, whose rows are read by position: rows of names cost more. All others
# are read by name.
POSITIONAL = {
    "submit_plain",
    "submit_tasks",
    "submit_counted",
    "submit_labelled",
    "submit_bound",
    "submit_unique",
    "claim_tasks",
    "find_claimed",
    "succeed_attempts",
    "settle_attempts",
    "settle_failed",
    "settle_errored",
    "settle_bound",
    "admit_tasks",
    "handler_succeed",
    "handler_succeed_bound",
    "find_states",
    "find_changed",
    "take_tokens",
}


class Locked(ServerUnreachable):
    """Another transaction holds a row that the statement needs, and did not let go in time; nothing
    was done."""


class Session:
    """Runs statements by name on a pool, each within `deadline_seconds` by this machine's clock.

    The deadline is ours because a frozen server keeps the TCP connection alive and its own
    time-outs frozen (reference: psycopg#1371).
    """

    def __init__(self, pool: Pool, *, deadline_seconds: float) -> None:
        self.pool = pool
        self.unanswered = 0  # how often Postgres was found to be away
        self._deadline = deadline_seconds

    async def fetch(
        self,
        name: str,
        params: Mapping[str, Any] | None = None,
        *,
        conn: Connection | None = None,
        idempotent: bool = False,
    ) -> Rows:
        """Run one statement and return its rows.

        `conn` runs it inside a transaction of the caller, whose errors are the caller's.
        `idempotent` says that running it twice does no harm: then a connection that had died while
        idle costs nothing but a second try. The victim of a conflict has done nothing, and tries
        again in any case. Raises `Locked` where a row was not to be had in time.
        """
        if conn is not None:
            return await _run(conn, name, params)
        for attempt in range(TRIES):
            try:
                if params is not None and name in PREPARED:
                    return await self._fetch_prepared(PREPARED[name], params)
                async with asyncio.timeout(self._deadline) as clock, self.pool.connection() as own:
                    return await _run_own(own, clock, name, params)
            except psycopg.errors.LockNotAvailable as error:
                raise Locked(
                    f"a row is locked in Postgres: {error.diag.message_primary}"
                ) from error
            except TOO_LARGE:
                raise
            except CONFLICTS as error:
                if attempt == TRIES - 1:
                    raise unreachable(error) from error
                # The other one is only now being woken: let it go first, or we meet again.
                await asyncio.sleep(0.02 + 0.1 * random())
            except (TimeoutError, *UNAVAILABLE) as error:
                self.unanswered += _is_away(error)
                if attempt > 0 or not idempotent or isinstance(error, TOO_LONG):
                    raise unreachable(error, refusal=self._refusal) from error
        raise AssertionError("unreachable code")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[FastCancelConnection]:
        """Run several statements in one transaction, within the deadline: `fetch` takes `conn`.

        Nothing was done where this raises `Locked`. Where it raises `ServerUnreachable`, the
        transaction may have been committed, and the caller has to find out.
        """
        try:
            async with (
                asyncio.timeout(self._deadline) as clock,
                self.pool.connection() as own,
                _own(own, clock),
                own.transaction(),
            ):
                yield own
        except psycopg.errors.LockNotAvailable as error:
            raise Locked(f"a row is locked in Postgres: {error.diag.message_primary}") from error
        except TOO_LARGE:
            raise
        except (TimeoutError, *CONFLICTS, *UNAVAILABLE) as error:
            self.unanswered += _is_away(error)
            raise unreachable(error, refusal=self._refusal) from error

    async def _fetch_prepared(self, statement: Prepared, params: Mapping[str, Any]) -> Rows:
        """Run a statement of the hot path on an idle connection, or on the first that is free."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        deadline = began + self._deadline
        conn = self.pool.take()
        if conn is None:
            async with asyncio.timeout_at(deadline):
                conn = await self.pool.getconn()
        try:
            conn.unreplicated = False  # of a statement before, which was given up
            found = await run_prepared(conn, statement, params, deadline=deadline)
            _check_answer(conn)
            TALLY.observe(DURATION, loop.time() - began, statement.verb)
            return found
        except REFUSING as error:
            await _leave_refusing(conn, error)
            raise
        finally:
            if not self.pool.put_back(conn):
                await self.pool.putconn(conn)

    @property
    def _refusal(self) -> str:
        """Why the server behind the pool is refused, or an empty string. A pool does not tell why
        its connections fail."""
        options = self.pool.kwargs
        primary = options.get("primary") if isinstance(options, dict) else None
        return primary.refusal if isinstance(primary, Primary) else ""


def _is_away(error: BaseException) -> bool:
    """Whether Postgres is gone or going, in distinction from one that refuses a statement (class
    57P: operator intervention)."""
    return (
        not isinstance(error, psycopg.Error)
        or error.sqlstate is None
        or error.sqlstate.startswith((*GOING, "25006"))
    )


async def _run_own(
    conn: FastCancelConnection, clock: asyncio.Timeout, name: str, params: Mapping[str, Any] | None
) -> Rows:
    """Run a statement on a connection of ours, and judge the connection by the answer."""
    async with _own(conn, clock):
        return await _run(conn, name, params)


@asynccontextmanager
async def _own(conn: FastCancelConnection, clock: asyncio.Timeout) -> AsyncIterator[None]:
    """Judge a connection of ours by the answers within the block."""
    conn.on_leave = lambda: hurry(clock)
    conn.unreplicated = False  # of a statement before, which was given up
    try:
        yield
    except REFUSING as error:
        await _leave_refusing(conn, error)
        raise
    finally:
        conn.on_leave = None
    _check_answer(conn)


async def _leave_refusing(conn: FastCancelConnection, error: psycopg.Error) -> None:
    if conn.primary is not None:
        conn.primary.leave_refusing(conn, text_of(error))
    await conn.close()


def _check_answer(conn: FastCancelConnection) -> None:
    """Raises `ServerUnreachable` where the outcome of the statement that was answered is unknown."""
    check_replicated(conn)
    if conn.left:
        raise ServerUnreachable(f"Postgres was left while it worked: {conn.left}")


def hurry(clock: asyncio.Timeout) -> None:
    """Let time be up now."""
    if not clock.expired():
        clock.reschedule(asyncio.get_running_loop().time())


class LedgerCursor(psycopg.AsyncCursor[Any]):
    """A cursor that reads and writes values in psycopg's default way, on a caller's connection
    too."""

    @property
    def adapters(self) -> AdaptersMap:
        return ADAPTERS


async def _run(conn: Connection, name: str, params: Mapping[str, Any] | None) -> Rows:
    # Not conn.cursor(): a caller's own connection may make cursors and rows of another kind.
    cursor = LedgerCursor(conn, row_factory=tuple_row if name in POSITIONAL else namedtuple_row)
    statement = STATEMENTS[name]
    credential = getattr(conn, "credential", None)
    if credential is not None and name in FOR_HANDLERS:
        statement, params = FOR_HANDLERS[name], {**(params or {}), **asdict(credential)}
    await cursor.execute(statement.encode(), params, prepare=True, binary=True)
    return await cursor.fetchall() if cursor.description else []


def check_replicated(conn: FastCancelConnection) -> None:
    """Raises `ServerUnreachable` where the commit before did not wait for its standby to the end:
    its outcome is unknown."""
    if conn.unreplicated:
        conn.unreplicated = False
        raise ServerUnreachable("Postgres did not wait for its standby: the wait was cancelled")


def unreachable(error: BaseException, *, refusal: str = "") -> ServerUnreachable:
    """The error of Postgres or of its connection in one line. `refusal`: why this process leaves
    the server that answers."""
    if refusal and isinstance(error, PoolTimeout):
        return ServerUnreachable(refusal)
    message = (str(error).strip().splitlines() or [type(error).__name__])[0]
    answered = (
        isinstance(error, psycopg.Error)
        and error.sqlstate is not None
        and not error.sqlstate.startswith(GOING)
    )
    found = ServerUnreachable(
        f"Postgres {'cannot do this now' if answered else 'does not answer'}: {message}"
    )
    found.took_too_long = isinstance(error, psycopg.errors.QueryCanceled)
    return found


__all__ = [
    "UNAVAILABLE",
    "Connection",
    "Locked",
    "Rows",
    "Session",
    "check_replicated",
    "hurry",
    "unreachable",
]
