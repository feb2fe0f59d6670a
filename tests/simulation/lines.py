"""The engine's clients of both stores, at gates.

Below everything that leaseq wrote itself: a round trip to Postgres is one `wait` of its connection
(also BEGIN, a savepoint and COMMIT of a handler's transaction), a command to Redis one
`execute_command`. So every retry, translation of errors and batch above that is the real one.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, cast

import psycopg
from msgspec.structs import asdict
from psycopg.abc import RV, PQGen
from psycopg.pq import TransactionStatus
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import ConnectionError as RedisConnectionError

from leaseq.connections.postgres_connection import FastCancelConnection
from leaseq.connections.postgres_pool import Pool
from leaseq.dispatch.scripts import SCRIPTS
from leaseq.ledger.session import Rows, Session
from leaseq.ledger.statements import STATEMENTS
from leaseq.model import Credential
from simulation.gates import Gate

# Durability is not tested here, so nothing waits for a disk. A row that an actor holds while it
# stands at its gate is not to be had: an actor that wants it soon gets an error.
OPTIONS = "-c synchronous_commit=off -c lock_timeout=100"
NAMES = {hashlib.sha1(text.encode()).hexdigest(): name for name, text in SCRIPTS.items()}

_statement: ContextVar[str] = ContextVar("machine_statement", default="")


class Gated(FastCancelConnection):
    """A connection whose every round trip stops at the gate of its owner."""

    gate: Gate | None = None
    dies = False  # an answer that is lost takes the connection with it

    async def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        def operate() -> Awaitable[RV]:
            return super(Gated, self).wait(gen, interval=interval, timeout=timeout)

        if self.gate is None:
            return await operate()
        return await self.gate.cross(_statement.get() or self._said(gen), operate, self._lost)

    async def query_prepared(
        self, name: bytes, text: bytes, values: list[bytes | None], deadline: float | None = None
    ) -> list[tuple[Any, ...]]:
        def operate() -> Awaitable[list[tuple[Any, ...]]]:
            return super(Gated, self).query_prepared(name, text, values, deadline)

        if self.gate is None:
            return await operate()
        return await self.gate.cross(_statement.get(), operate, self._lost)

    def hang_up(self) -> None:
        """End the connection. Its transaction is undone here and now, as the server would a moment
        later."""
        if self.pgconn.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
            self.pgconn.exec_(b"rollback")
        self.pgconn.finish()

    def _lost(self) -> Exception:
        if self.dies:
            self.hang_up()
        return psycopg.OperationalError("the connection was lost")

    def _said(self, gen: PQGen[Any]) -> str:
        """The next action of a transaction, by the name of psycopg's generator."""
        return getattr(gen, "__name__", "").strip("_").removesuffix("_gen")


class Line(Gated):
    """A connection for statements that stand for themselves."""


class LentLine(Gated):
    """A connection that is lent to a handler: what the handler does passes through here."""

    dies = True


class Lines:
    """Connections that all actors take turns with: an operation on them is over when it is
    answered."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._free: list[Line] = []

    async def lend(self, gate: Gate | None) -> Line:
        line = self._free.pop() if self._free else None
        if line is None and gate is not None:
            with gate.yard.flight():
                line = await self._open()
        line = line or await self._open()
        line.gate = gate
        return line

    def take_back(self, line: Line) -> None:
        line.gate = None
        self._free.append(line)

    def close(self) -> None:
        for line in self._free:
            line.hang_up()

    async def _open(self) -> Line:
        return await Line.connect(
            self.url, autocommit=True, application_name="leaseq machine", options=OPTIONS
        )


class GatedSession(Session):
    """The engine's session of one actor."""

    def __init__(self, lines: Lines, gate: Gate) -> None:
        super().__init__(cast(Pool, _Lender(lines, gate)), deadline_seconds=3600)

    async def fetch(self, name: str, params: Mapping[str, Any] | None = None, **rest: Any) -> Rows:
        token = _statement.set(name)
        try:
            return await super().fetch(name, params, **rest)
        finally:
            _statement.reset(token)


class _Lender:
    """The interface of a pool that a session uses."""

    def __init__(self, lines: Lines, gate: Gate) -> None:
        self._lines = lines
        self._gate = gate
        self.kwargs: dict[str, Any] = {}  # no guard of a primary

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Line]:
        line = await self.getconn()
        try:
            yield line
        finally:
            self.put_back(line)

    def take(self) -> None:
        """Every connection is lent by `getconn`."""

    async def getconn(self) -> Line:
        return await self._lines.lend(self._gate)

    def put_back(self, line: Line) -> bool:
        self._lines.take_back(line)
        return True

    def get_stats(self) -> dict[str, int]:
        """Lines are not lost by themselves."""
        return {}


class Transactions:
    """The pool for the handlers of one worker: a new connection for each transaction, under
    the name it is ended by."""

    def __init__(self, url: str, gate: Gate, *, name: str, worker_id: str) -> None:
        self._url = url
        self._gate = gate
        self._name = name
        self._credential = Credential(worker_id, "secret")
        self._lent: list[LentLine] = []

    async def getconn(self) -> LentLine:
        line = await self._gate.cross(
            "connect", self._open, lambda: psycopg.OperationalError("no connection")
        )
        line.gate = self._gate
        return line

    async def putconn(self, line: LentLine) -> None:
        line.hang_up()

    def hang_up(self) -> None:
        """The process has died, and its sockets with it."""
        for line in self._lent:
            line.hang_up()

    async def _open(self) -> LentLine:
        line = await LentLine.connect(
            self._url, autocommit=True, application_name=self._name, options=OPTIONS
        )
        self._lent.append(line)
        line.credential = self._credential
        await line.execute(STATEMENTS["set_secret"].encode(), asdict(self._credential))
        return line


class GatedRedis(Redis):
    """A client of one actor; all actors share the connections."""

    def __init__(self, pool: ConnectionPool, gate: Gate) -> None:
        super().__init__(connection_pool=pool)
        self._gate = gate

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        def operate() -> Awaitable[Any]:
            return super(GatedRedis, self).execute_command(*args, **options)  # type: ignore[no-untyped-call]

        what = NAMES.get(args[1], str(args[0])) if args[0] == "EVALSHA" else str(args[0])
        return await self._gate.cross(what, operate, _lost)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        return GatedPipeline(self.connection_pool, self._gate, transaction, shard_hint)


class GatedPipeline(Pipeline):
    """Several commands that go together."""

    def __init__(
        self, pool: ConnectionPool, gate: Gate, transaction: bool, shard_hint: str | None
    ) -> None:
        super().__init__(
            pool, Redis(connection_pool=pool).response_callbacks, transaction, shard_hint
        )
        self._gate = gate

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        def operate() -> Awaitable[list[Any]]:
            return super(GatedPipeline, self).execute(raise_on_error)

        scripts = {
            NAMES.get(str(args[1]), "") for args, _ in self.command_stack if args[0] == "EVALSHA"
        }
        return await self._gate.cross("+".join(sorted(scripts)) or "pipeline", operate, _lost)


def _lost() -> Exception:
    return RedisConnectionError("the connection was lost")


__all__ = ["GatedRedis", "GatedSession", "Line", "Lines", "Transactions"]
