"""Which server is the primary, and which connections lead to another one.

After a failover the old primary may live on, frozen or not, and a name or an address may lead to it, to a standby, or to the
new primary. A connection is judged when it is made, by what the server says of itself, and it is left when it turns out to lead
to another server than the primary.

Invariants. A server in recovery, a read-only one, and one on a lower timeline than this process knows for its system are refused
as unreachable. This process learns timelines from its own connections, and from dispatch, where every process writes what it has
seen (ownership.py). When a newer timeline becomes known, every connection to an older one is left, and what its statements did
counts as unknown. When a server answers neither a statement in time nor a request to cancel it, every connection to it is left.
When it answers the request and the statement goes on all the same, only that connection is closed, and its session is ended.
Where Postgres does not tell its system identifier and timeline, only recovery and read-only count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, Self
from weakref import WeakSet, WeakValueDictionary

import psycopg
from msgspec import Struct
from psycopg import postgres, waiting
from psycopg.abc import RV, ConnDict, PQGen
from psycopg.adapt import AdaptersMap
from psycopg.conninfo import conninfo_attempts_async, conninfo_to_dict, make_conninfo
from psycopg.pq import ConnStatus, TransactionStatus
from psycopg.types.array import register_all_arrays
from psycopg_pool import AsyncConnectionPool

from leaseq.codec import follow_clock
from leaseq.identity import UNKNOWN, Identity, end_session, identify
from leaseq.model import Credential
from leaseq.postgres_url import check_url
from leaseq.telemetry import emit
from leaseq.unreached import postgres_reason

__all__ = [
    "ADAPTERS",
    "ImpatientConnection",
    "Pool",
    "Primary",
    "Refused",
    "Timeline",
    "learn_timeline",
    "newest_timeline",
    "primary_at",
]

SESSION_OPTIONS = ("autocommit", "context", "row_factory")  # psycopg's own, not libpq's
CANCEL_SECONDS = 1.0
# For the end of a statement whose cancellation was answered.
END_SECONDS = 2.0
CONNECT_SECONDS = 5
# For a host that did not answer the last time.
RECONNECT_SECONDS = 2
# An answer that took longer does not say what time it is.
PROMPT_SECONDS = 1.0
# A connection that has heard its server so recently leads to one that answers.
LIVELY_SECONDS = 2.0


def _build_adapters() -> AdaptersMap:
    adapters = AdaptersMap(types=postgres.types)
    postgres.register_default_adapters(adapters)
    register_all_arrays(adapters)
    return adapters


# How psycopg reads and writes values by default. `psycopg.adapters` belongs to the app, which may register other loaders and
# dumpers there, so no statement of leaseq depends on it.
ADAPTERS = _build_adapters()


class Refused(psycopg.OperationalError):
    """The server answers, and is not the primary."""


class Timeline(Struct, frozen=True):
    """A timeline of one Postgres system. Those of different systems have no order."""

    system: str  # the system identifier
    number: int


class ImpatientConnection(psycopg.AsyncConnection[Any]):
    """A connection to the primary, which is closed when the server does not even answer a request to cancel.

    psycopg waits up to five seconds for that answer and then five more for the query, all the while holding on to
    the task that was to be cancelled (docs/pitfalls.md#p22).

    `unreplicated`: a commit of this connection did not wait for its standby to the end. The server says so in a warning and
    answers as if it had. `left`: why this connection is not to be used any more. `on_leave` is called when that is decided.
    `abandoned`: it was closed because a statement of it went on after a cancellation that the server answered.
    """

    credential: Credential | None = None  # of a connection for handlers

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.unreplicated = False
        self.left = ""
        self.abandoned = False
        self.on_leave: Callable[[], None] | None = None
        self.primary: Primary | None = None
        self.connect_again: Callable[[], Awaitable[ImpatientConnection]] | None = None  # to the same server
        self.identity = UNKNOWN
        self.address = ""
        self.made_at = self.heard_at = monotonic()
        self.add_notice_handler(self._hear)

    @classmethod
    async def connect(cls, conninfo: str = "", *, primary: Primary | None = None, **options: Any) -> Self:  # type: ignore[override]
        """Connect to the `primary`, or without one to any server that answers. Raises psycopg.OperationalError."""
        options = {"context": ADAPTERS} | options
        check_url(conninfo)
        try:
            if primary is None:
                return await super().connect(conninfo, **options)
            conn: Self = await primary.connect(super().connect, conninfo, options)
            return conn
        except Refused:
            raise
        except (psycopg.OperationalError, UnicodeError) as error:
            raise psycopg.OperationalError(postgres_reason(str(error))) from None  # the driver quotes the URL

    async def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Like psycopg's, but a server that has gone silent is given up within a second or two."""
        asked_at = monotonic()
        try:
            answer = await waiting.wait_async(gen, self.pgconn.socket, interval=interval, timeout=timeout)
        except asyncio.CancelledError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                await self._interrupt(gen, asked_at)
            raise
        self.heard_at = monotonic()
        return answer

    async def cancel_safe(self, *, timeout: float = CANCEL_SECONDS) -> None:
        """Ask the server to cancel what runs; closes the connection if there is no answer within a second."""
        try:
            await super().cancel_safe(timeout=min(timeout, CANCEL_SECONDS))
        except psycopg.errors.CancellationTimeout:
            self.pgconn.finish()
            raise

    def leave(self, reason: str) -> None:
        """Decide that this connection is not to be used any more. It is closed where it is given back."""
        if not self.left:
            self.left = reason
            if self.on_leave is not None:
                self.on_leave()

    def check_writable(self) -> None:
        """Leave a server that became read-only after this connection was made. Raises `Refused`.

        From what Postgres reports by itself; asked at the beginning of a transaction, before a handler can have said anything.
        """
        for name in ("default_transaction_read_only", "in_hot_standby"):
            if self.info.parameter_status(name) == "on":
                if self.primary is not None:
                    self.primary.leave_refusing(self, f"the server takes no writes: {name} is on")
                raise Refused(f"the server takes no writes: {name} is on")

    async def _interrupt(self, gen: PQGen[Any], asked_at: float) -> None:
        """End the statement that runs, or the connection. A server that does not answer is left by all connections to it."""
        if self.left:
            self.pgconn.finish()
            return
        is_answered = False
        try:
            await self.cancel_safe()
            is_answered = True
            await waiting.wait_async(gen, self.pgconn.socket, interval=0.1, timeout=END_SECONDS)
        except psycopg.errors.QueryCanceled:
            self.heard_at = monotonic()
        except (psycopg.Error, OSError):
            is_answered = is_answered and self.pgconn.status == ConnStatus.OK  # and not a connection that its server has ended
            self.pgconn.finish()
            if self.primary is not None:
                (self.primary.give_up if is_answered else self.primary.leave_silent)(self, asked_at)
        except BaseException:
            self.pgconn.finish()
            raise
        else:
            self.heard_at = monotonic()

    def _hear(self, notice: psycopg.errors.Diagnostic) -> None:
        # By the function of the server that says it, since the words are translated.
        said = notice.message_primary or ""
        if notice.source_function == "SyncRepWaitForLSN" or "wait for synchronous replication" in said:
            self.unreplicated = True


Pool = AsyncConnectionPool[ImpatientConnection]

_timelines: dict[str, int] = {}
_primaries: WeakValueDictionary[tuple[str, asyncio.AbstractEventLoop], Primary] = WeakValueDictionary()


def newest_timeline(system: str) -> int:
    """The highest timeline that this process has seen for a system identifier; 0 if none."""
    return _timelines.get(system, 0)


def learn_timeline(seen: Timeline) -> None:
    """Remember a timeline, and leave every connection to an older one."""
    if seen.number > newest_timeline(seen.system):
        _timelines[seen.system] = seen.number
        for primary in list(_primaries.values()):
            # Other event loops of this process have connections of their own.
            with suppress(RuntimeError):  # that loop is closed, and its connections with it
                primary.loop.call_soon_threadsafe(primary.leave_older, seen.system, seen.number)


def primary_at(url: str) -> Primary:
    """What this event loop knows of the primary behind a URL: one object for all its connections."""
    loop = asyncio.get_running_loop()
    primary = _primaries.get((url, loop))
    if primary is None:
        primary = _primaries[url, loop] = Primary(loop)
    return primary


class Primary:
    """The primary behind one URL, its connections, and the pools that hold them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.refusal = ""  # why the last server that answered was refused; empty when one was accepted
        self.read_only = False  # was that because it takes no writes?
        self.accepted = UNKNOWN  # what the last server that was accepted said of itself
        self._conns: WeakSet[ImpatientConnection] = WeakSet()
        self._pools: WeakSet[Pool] = WeakSet()
        self._silent: set[str] = set()  # addresses that did not answer
        self._good = ""  # the address that led to the primary last
        self.refused_at = float("-inf")  # when a connection of a pool was last found ended or refused by its server
        self._left_at = float("-inf")
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def timeline(self) -> Timeline | None:
        """The newest known timeline of the system that was accepted last; None where it does not tell."""
        system = self.accepted.system
        return None if system is None or not newest_timeline(system) else Timeline(system, newest_timeline(system))

    @property
    def outdated(self) -> bool:
        """Whether the server that was accepted last has turned out to be an old primary since."""
        number, newest = self.accepted.timeline, self.timeline
        return number is not None and newest is not None and number < newest.number

    def join(self, pool: Pool) -> None:
        """Empty this pool, too, when its server is left."""
        self._pools.add(pool)

    async def connect(self, connect: Callable[..., Any], conninfo: str, options: dict[str, Any]) -> Any:
        """Try the hosts of a URL, the last good one first, until one is the primary. Raises psycopg.OperationalError."""
        session = {name: value for name, value in options.items() if name in SESSION_OPTIONS}
        params = {name: value for name, value in options.items() if name not in SESSION_OPTIONS}
        attempts = await conninfo_attempts_async(conninfo_to_dict(conninfo, **params))
        errors: list[Exception] = []
        for attempt in sorted(attempts, key=self._rank):
            address = _address(attempt)
            patience = {"connect_timeout": RECONNECT_SECONDS} if address in self._silent else {}
            try:
                conn: ImpatientConnection = await connect(make_conninfo("", **(attempt | patience)), **session)
                await self._admit(conn, address)
            except (psycopg.OperationalError, TimeoutError) as error:
                if isinstance(error, psycopg.errors.ConnectionTimeout | TimeoutError):
                    self._silent.add(address)
                errors.append(error)
            else:
                self._good = address
                self._silent.discard(address)
                brief = make_conninfo("", **(attempt | {"connect_timeout": RECONNECT_SECONDS}))
                conn.connect_again = partial(connect, brief, **session)
                return conn
        raise _most_telling(errors)

    def leave_silent(self, conn: ImpatientConnection, asked_at: float) -> None:
        """A server answered neither what was asked `asked_at` nor a request to cancel it: leave every connection to it.

        Those to the same address, under whatever role, unless they were made since, or have heard a moment ago: the address may
        have moved.
        """
        for primary in [primary for primary in _primaries.values() if primary.loop is self.loop]:
            primary.leave_like(conn, made_before=asked_at)

    def leave_like(self, conn: ImpatientConnection, *, made_before: float) -> None:
        """Leave a connection, and those to its address that were made before this time and have heard nothing for a moment."""
        self._silent.add(conn.address)
        recently = monotonic() - LIVELY_SECONDS
        old = [c for c in self._conns if c.address == conn.address and c.made_at <= made_before and c.heard_at < recently]
        self._leave({conn, *old} if conn in self._conns else old, "the server does not answer")

    def give_up(self, conn: ImpatientConnection, asked_at: float) -> None:
        """A statement goes on although a request to cancel it was answered: close this connection, and none of its neighbours.

        Other hosts of the URL are tried first from now on: a primary whose disk hangs answers like this.
        """
        conn.abandoned = True
        self._silent.add(conn.address)
        self._spawn(self._end_session(conn, asked_at))

    async def _end_session(self, conn: ImpatientConnection, asked_at: float) -> None:
        """End what still runs for a closed connection. A server that does not answer this either is left by all."""
        if conn.connect_again is None:
            return
        try:
            await end_session(conn.identity, conn.connect_again)
        except TimeoutError:
            self.leave_silent(conn, asked_at)

    def leave_older(self, system: str, timeline: int) -> None:
        """A newer timeline of this system is known: leave the connections to older ones."""
        alike = [c for c in self._conns if c.identity.system == system and not c.closed]
        older = [c for c in alike if (c.identity.timeline or timeline) < timeline]
        self._leave(older, f"the server is on an older timeline than {timeline}: it was replaced by a standby")

    def leave_refusing(self, conn: ImpatientConnection, reason: str) -> None:
        """The server takes no writes, or has ended this connection. Its neighbours in the pools probably lead there too."""
        self.refused_at = monotonic()
        if conn.made_at > self._left_at:
            self._leave([conn], reason)
        conn.leave(reason)

    def _leave(self, conns: Iterable[ImpatientConnection], reason: str) -> None:
        fresh = [conn for conn in conns if not conn.left]
        if not fresh:
            return
        for conn in fresh:
            conn.leave(reason)
        self._left_at = monotonic()
        emit("ledger.left", reason=reason, connections=len(fresh))
        for pool in list(self._pools):
            if not pool.closed:
                self._spawn(pool.drain())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _admit(self, conn: ImpatientConnection, address: str) -> None:
        """Judge a new connection. Raises `Refused`, and closes it then."""
        try:
            asked_at = monotonic()
            async with asyncio.timeout(CONNECT_SECONDS):
                conn.identity = await identify(conn)
            took = monotonic() - asked_at
            reason, self.read_only = _judge(conn.identity)
            self.refusal = reason and f"the Postgres that answers {reason}"
            if self.refusal:
                raise Refused(self.refusal)
        except BaseException:
            await conn.close()
            raise
        conn.primary, conn.address, self.accepted = self, address, conn.identity
        self._conns.add(conn)
        if conn.identity.clock is not None and took < PROMPT_SECONDS:
            follow_clock(conn.identity.clock)
        if conn.identity.system is not None and conn.identity.timeline is not None:
            learn_timeline(Timeline(conn.identity.system, conn.identity.timeline))

    def _rank(self, attempt: ConnDict) -> int:
        address = _address(attempt)
        return 2 if address in self._silent else address != self._good


def _judge(found: Identity) -> tuple[str, bool]:
    """Why a server is refused (empty: it is not), and whether that is because it takes no writes."""
    if found.in_recovery:
        return "is a standby, which takes no writes: point LEASEQ_POSTGRES_URL at the primary", True
    if found.read_only:
        return "is read-only, because default_transaction_read_only is on: set it off for this role and database", True
    newest = newest_timeline(found.system or "")
    if found.timeline is not None and found.timeline < newest:
        return (
            f"is an old primary, on timeline {found.timeline} where timeline {newest} is known: stop that server (if it was "
            'restored from an older copy on purpose, see "Failover" in docs/operations.md)'
        ), False
    return "", False


def _address(attempt: Mapping[str, Any]) -> str:
    return f"{attempt.get('hostaddr') or attempt.get('host')}:{attempt.get('port')}"


def _most_telling(errors: Sequence[Exception]) -> Exception:
    """Of several hosts, what one said that answered."""
    return next((error for error in errors if isinstance(error, Refused)), errors[-1])
