"""The handler's view of its attempt: ids, keys, progress and the transaction.

A `Context` belongs to one attempt. It identifies the task and the attempt, gives stable keys for
external services, and opens the transaction that commits the handler's writes together with the
completion of the task.
"""

from __future__ import annotations

from contextvars import ContextVar
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

import msgspec

from leaseq.connections.postgres_connection import Connection
from leaseq.model import ClaimedTask


@runtime_checkable
class BlockingConnection(Protocol):
    """The handler's transaction for a plain `def` handler. `options(connection=...)` accepts it
    there, too."""

    def execute(self, query: str, params: Any = None) -> list[tuple[Any, ...]]:
        """Run one statement, and return its rows or an empty list."""

    async def lent_connection(self) -> Connection:
        """The underlying connection, for the worker's event loop."""


class TransactionScope(Protocol):
    """One `with` or `async with` block inside the attempt's transaction. An error inside rolls the
    block back."""

    async def __aenter__(self) -> Connection: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None: ...

    def __enter__(self) -> BlockingConnection: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None: ...


class Attempt(Protocol):
    """The operations that the worker provides to a context."""

    def transaction(self) -> TransactionScope: ...

    async def set_progress(self, value: Any) -> None: ...

    @property
    def stopping(self) -> bool: ...


class Context:
    """One attempt at one task, as its handler sees it."""

    def __init__(self, claimed: ClaimedTask, attempt: Attempt) -> None:
        self._claimed = claimed
        self._attempt = attempt

    @property
    def task_id(self) -> str:
        return self._claimed.claim.task_id

    @property
    def type(self) -> str:
        return self._claimed.type

    @property
    def queue(self) -> str:
        return self._claimed.queue

    @property
    def tenant(self) -> str:
        return self._claimed.tenant

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1. Every claim counts, including those that ended in a
        crash or a hand-back."""
        return self._claimed.claim.attempt

    @property
    def fence(self) -> int:
        """The fencing token of this attempt. It grows with every attempt of the task. Let your own
        stores refuse a lower one."""
        return self._claimed.claim.attempt

    @property
    def scheduled_at(self) -> datetime | None:
        """The occurrence that this task stands for, if a schedule submitted it: its time, and not the
        time of the attempt."""
        found = msgspec.json.decode(self._claimed.headers) if self._claimed.headers else {}
        text = found.get("scheduled_at")
        return None if text is None else datetime.fromisoformat(text)

    @property
    def retry_count(self) -> int:
        """How many retries this task has used up so far."""
        return self._claimed.counts.retry_count

    @property
    def max_attempts(self) -> int:
        return self._claimed.counts.max_attempts

    def key(self, step: str | None = None) -> str:
        """A key that is the same in every attempt of this task, and in no other task: hand it to
        external services.

        Without a step it is the task id. A handler with several calls gives each one a step:
        `ctx.key("charge")`. It is not the idempotency key that the client submitted the task with
        (`Task.idempotency_key`).
        """
        return self.task_id if step is None else f"{self.task_id}:{step}"

    @property
    def stopping(self) -> bool:
        """Whether this attempt was asked to end. For plain `def` handlers, which cannot be
        interrupted."""
        return self._attempt.stopping

    def transaction(self) -> TransactionScope:
        """A transaction that commits together with the completion of this task, or not at all.

        `async with ctx.transaction() as tx:` gives a psycopg connection. In a plain `def` handler,
        `with` gives a blocking interface to it. It commits after the handler returns, under the
        fence: exactly once, even if the worker dies. All blocks of one attempt share one
        transaction. An error that leaves a block rolls that block back.
        """
        return self._attempt.transaction()

    async def set_progress(self, value: Any) -> None:
        """Store a JSON value that readers of the task see as `progress`. Raises `Fenced` if the
        attempt is no longer current.

        The first value is stored before this returns. Later, the newest value is stored twice a
        second (less often in an attempt that runs for minutes), and the last value is stored before
        the attempt ends.
        """
        await self._attempt.set_progress(value)


# The context of the running handler. Functions that it calls and tasks and threads that it starts
# find it here.
running: ContextVar[Context | None] = ContextVar("leaseq_running", default=None)


__all__ = ["Attempt", "BlockingConnection", "Context", "TransactionScope", "running"]
