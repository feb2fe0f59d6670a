"""Find the primary, and leave connections that lead to any other server.

After a failover the old primary may still run, frozen or not. A name or an address may lead to it,
to a standby, or to the new primary. A connection is judged when it is made, by the server's own
report. It is left when it turns out to lead to another server than the primary.

Invariants. A server in recovery, a read-only server, and a server on a lower timeline than this
process knows for its system are refused as unreachable. This process learns timelines from its own
connections, and from dispatch, where every process writes the timelines that it has seen
(ownership.py). When a newer timeline becomes known, every connection to an older one is left, and
the outcome of its statements counts as unknown. If Postgres does not report its system identifier
and timeline, only recovery and read-only count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any
from weakref import WeakSet, WeakValueDictionary

import psycopg
from msgspec import Struct
from psycopg.abc import ConnDict
from psycopg.conninfo import conninfo_attempts_async, conninfo_to_dict, make_conninfo

from leaseq.codec import follow_clock
from leaseq.connections.postgres_connection import FastCancelConnection, Refused
from leaseq.connections.postgres_pool import Pool
from leaseq.connections.server_identity import UNKNOWN, Identity, end_session, identify
from leaseq.observability.telemetry import emit

__all__ = ["Primary", "Timeline", "learn_timeline", "newest_timeline", "primary_at"]

SESSION_OPTIONS = ("autocommit", "context", "row_factory")  # psycopg's own, not libpq's
CONNECT_SECONDS = 5
# For a host that did not answer last time.
RECONNECT_SECONDS = 2
# A slower answer does not tell the time.
PROMPT_SECONDS = 1.0
# A connection that received data so recently leads to a server that answers.
RECENT_SECONDS = 2.0


class Timeline(Struct, frozen=True):
    """A timeline of one Postgres system. Timelines of different systems are not ordered."""

    system: str  # the system identifier
    number: int


_timelines: dict[str, int] = {}
_primaries: WeakValueDictionary[tuple[str, asyncio.AbstractEventLoop], Primary] = (
    WeakValueDictionary()
)


def newest_timeline(system: str) -> int:
    """The highest timeline that this process has seen for a system identifier; 0 if none."""
    return _timelines.get(system, 0)


def learn_timeline(seen: Timeline) -> None:
    """Remember a timeline, and leave every connection to an older one."""
    if seen.number > newest_timeline(seen.system):
        _timelines[seen.system] = seen.number
        for primary in list(_primaries.values()):
            # Other event loops of this process have their own connections.
            with suppress(RuntimeError):  # that loop is closed, as are its connections
                primary.loop.call_soon_threadsafe(primary.leave_older, seen.system, seen.number)


def primary_at(url: str) -> Primary:
    """The primary behind a URL, as this event loop knows it: one object for all its connections."""
    loop = asyncio.get_running_loop()
    primary = _primaries.get((url, loop))
    if primary is None:
        primary = _primaries[url, loop] = Primary(loop)
    return primary


class Primary:
    """The primary behind one URL, its connections, and the pools that hold them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        # why the last server that answered was refused; empty when one was accepted
        self.refusal = ""
        self.read_only = False  # whether it was refused because it takes no writes
        self.accepted = UNKNOWN  # the report of the last accepted server
        self._conns: WeakSet[FastCancelConnection] = WeakSet()
        self._pools: WeakSet[Pool] = WeakSet()
        self._silent: set[str] = set()  # addresses that did not answer
        self._last_good = ""  # the address that led to the primary last
        # when a connection of a pool was last found ended or refused by its server
        self.refused_at = float("-inf")
        self._left_at = float("-inf")
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def timeline(self) -> Timeline | None:
        """The newest known timeline of the system that was accepted last; None where it does not
        tell."""
        system = self.accepted.system
        return (
            None
            if system is None or not newest_timeline(system)
            else Timeline(system, newest_timeline(system))
        )

    @property
    def outdated(self) -> bool:
        """Whether the last accepted server has since turned out to be an old primary."""
        number, newest = self.accepted.timeline, self.timeline
        return number is not None and newest is not None and number < newest.number

    def join(self, pool: Pool) -> None:
        """Empty this pool, too, when its server is left."""
        self._pools.add(pool)

    async def connect(
        self, connect: Callable[..., Any], conninfo: str, options: dict[str, Any]
    ) -> Any:
        """Try the hosts of a URL, the last good one first, until one is the primary. Raises
        psycopg.OperationalError."""
        session = {name: value for name, value in options.items() if name in SESSION_OPTIONS}
        params = {name: value for name, value in options.items() if name not in SESSION_OPTIONS}
        attempts = await conninfo_attempts_async(conninfo_to_dict(conninfo, **params))
        errors: list[Exception] = []
        for attempt in sorted(attempts, key=self._rank):
            address = _address(attempt)
            patience = {"connect_timeout": RECONNECT_SECONDS} if address in self._silent else {}
            try:
                conn: FastCancelConnection = await connect(
                    make_conninfo("", **(attempt | patience)), **session
                )
                await self._admit(conn, address)
            except (psycopg.OperationalError, TimeoutError) as error:
                if isinstance(error, psycopg.errors.ConnectionTimeout | TimeoutError):
                    self._silent.add(address)
                errors.append(error)
            else:
                self._last_good = address
                self._silent.discard(address)
                brief = make_conninfo("", **(attempt | {"connect_timeout": RECONNECT_SECONDS}))
                conn.connect_again = partial(connect, brief, **session)
                return conn
        raise _most_specific(errors)

    def leave_silent(self, conn: FastCancelConnection, asked_at: float) -> None:
        """A server answered neither a request sent at `asked_at` nor its cancellation: leave every
        connection to it.

        This covers all connections to the same address, under any role, except those made since or
        that received data a moment ago, because the address may have moved.
        """
        for primary in [primary for primary in _primaries.values() if primary.loop is self.loop]:
            primary.leave_like(conn, made_before=asked_at)

    def leave_like(self, conn: FastCancelConnection, *, made_before: float) -> None:
        """Leave a connection, and older connections to its address that have received nothing for a
        moment."""
        self._silent.add(conn.address)
        recently = monotonic() - RECENT_SECONDS
        old = [
            c
            for c in self._conns
            if c.address == conn.address and c.made_at <= made_before and c.received_at < recently
        ]
        self._leave({conn, *old} if conn in self._conns else old, "the server does not answer")

    def abandon(self, conn: FastCancelConnection, asked_at: float) -> None:
        """A statement continues although the server answered its cancellation: close this
        connection only.

        Other hosts of the URL are tried first from now on, because a primary whose disk hangs
        behaves like this.
        """
        conn.abandoned = True
        self._silent.add(conn.address)
        self._spawn(self._end_session(conn, asked_at))

    async def _end_session(self, conn: FastCancelConnection, asked_at: float) -> None:
        """End the session of a closed connection. If its server does not answer this either, all
        connections leave it."""
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
        self._leave(
            older,
            f"the server is on an older timeline than {timeline}: it was replaced by a standby",
        )

    def leave_refusing(self, conn: FastCancelConnection, reason: str) -> None:
        """The server takes no writes, or has ended this connection. Pooled connections probably
        lead there, too."""
        self.refused_at = monotonic()
        if conn.made_at > self._left_at:
            self._leave([conn], reason)
        conn.leave(reason)

    def _leave(self, conns: Iterable[FastCancelConnection], reason: str) -> None:
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

    async def _admit(self, conn: FastCancelConnection, address: str) -> None:
        """Judge a new connection. Raises `Refused`, and closes it then."""
        try:
            asked_at = monotonic()
            async with asyncio.timeout(CONNECT_SECONDS):
                conn.identity = await identify(conn)
            took = monotonic() - asked_at
            reason, self.read_only = _find_refusal(conn.identity)
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
        return 2 if address in self._silent else address != self._last_good


def _find_refusal(found: Identity) -> tuple[str, bool]:
    """Why a server is refused (empty if it is not), and whether that is because it takes no
    writes."""
    if found.in_recovery:
        return "is a standby, which takes no writes: point LEASEQ_POSTGRES_URL at the primary", True
    if found.read_only:
        return (
            "is read-only, because default_transaction_read_only is on: set it off for this role and database",
            True,
        )
    newest = newest_timeline(found.system or "")
    if found.timeline is not None and found.timeline < newest:
        return (
            f"is an old primary, on timeline {found.timeline} where timeline {newest} is known: stop that server (if it was "
            'restored from an older copy on purpose, see "Failover" in docs/operations.md)'
        ), False
    return "", False


def _address(attempt: Mapping[str, Any]) -> str:
    return f"{attempt.get('hostaddr') or attempt.get('host')}:{attempt.get('port')}"


def _most_specific(errors: Sequence[Exception]) -> Exception:
    """Of several hosts, the report of one that answered."""
    return next((error for error in errors if isinstance(error, Refused)), errors[-1])
