"""What may a handler ask while it runs?

A `Context` belongs to one attempt. It says which task and attempt this is, gives stable keys for the outside world, and
opens the transaction in which the handler's writes and the completion of the task are one commit.
"""

from __future__ import annotations

from contextvars import ContextVar
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

from leaseq.connect import Connection
from leaseq.model import ClaimedTask


@runtime_checkable
class BlockingConnection(Protocol):
    """The handler's transaction as a plain `def` handler sees it. Also what `options(connection=...)` takes there."""

    def execute(self, query: str, params: Any = None) -> list[tuple[Any, ...]]:
        """Run one statement; returns its rows, or an empty list."""

    async def lent_connection(self) -> Connection:
        """The connection behind it, for the worker's event loop."""


class TransactionScope(Protocol):
    """One `with` or `async with` block inside the attempt's transaction; an error inside undoes the block."""

    async def __aenter__(self) -> Connection: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None: ...

    def __enter__(self) -> BlockingConnection: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None: ...


class Attempt(Protocol):
    """What the worker lends to a context."""

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
        """The number of this attempt, from 1. Every claim counts, also after a crash or a hand-back."""
        return self._claimed.claim.attempt

    @property
    def fence(self) -> int:
        """The fencing token of this attempt: grows with every attempt of the task. Have your own stores refuse a lower one."""
        return self._claimed.claim.attempt

    @property
    def retry_count(self) -> int:
        """How many retries this task has used up so far."""
        return self._claimed.counts.retry_count

    @property
    def max_attempts(self) -> int:
        return self._claimed.counts.max_attempts

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this task and for no other task: hand it to the outside service."""
        return self.task_id

    def key(self, step: str) -> str:
        """Like `idempotency_key`, for one step of several."""
        return f"{self.task_id}:{step}"

    @property
    def stopping(self) -> bool:
        """Has this attempt been asked to end? For plain `def` handlers, which cannot be interrupted."""
        return self._attempt.stopping

    def transaction(self) -> TransactionScope:
        """A transaction whose writes are committed together with the completion of this task, or not at all.

        `async with ctx.transaction() as tx:` gives a psycopg connection (`with`, in a plain `def` handler, a
        blocking face of it). It commits after the handler has returned, under the fence: exactly once, whatever dies.
        Several blocks of one attempt share one transaction; an error that leaves a block undoes that block.
        """
        return self._attempt.transaction()

    async def set_progress(self, value: Any) -> None:
        """Store a JSON value that readers of the task see as `progress`. Raises `Fenced` if the attempt was taken away.

        The first value is stored before this returns. Of later values the newest is stored twice a second (less often in an
        attempt that runs for minutes), and the last one before the attempt ends.
        """
        await self._attempt.set_progress(value)


# Set for handlers that take a context: what they call, and the tasks and threads that they start, finds it here.
running: ContextVar[Context | None] = ContextVar("leaseq_running", default=None)


__all__ = ["Attempt", "BlockingConnection", "Context", "TransactionScope", "running"]
