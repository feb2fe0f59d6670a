"""Write the progress of one attempt, at most so often.

Each write leaves a dead version of the task's row. While a long transaction anywhere keeps all of
them (pg_dump), each look for that row goes through them, so a handler must not choose their number
(docs/decisions/0026-progress-now-and-then.md).

Invariants: the first value is written before `put` returns, unless another transaction has locked
the row. Of later ones the newest is written when the interval is over, and the last one before the
attempt is settled. Writes follow each other, since the few connections of the worker serve all
attempts. An error with which Postgres refuses a write is raised by the next `put`.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable

from leaseq.errors import Fenced, ServerUnreachable
from leaseq.ledger.session import Locked
from leaseq.observability.telemetry import emit
from leaseq.safe_text.exceptions import told

INTERVAL_SECONDS = 0.5
# Of the time that the attempt has run so far, where that is longer: an attempt of hours writes less
# often than twice a second.
INTERVAL_SHARE = 0.005


class ProgressWriter:
    """The progress of one attempt. Used in the event loop of the worker only."""

    def __init__(
        self, write: Callable[[bytes], Awaitable[bool]], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._write = write
        self._loop = loop
        self._latest: bytes | None = None  # not written yet
        self._began = self._due = loop.time()
        self._writing = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._refusal: Exception | None = None

    @property
    def waits(self) -> bool:
        """Whether a value is not written yet."""
        return self._latest is not None or self._writing.locked()

    async def put(self, progress: bytes) -> None:
        """Write this value now or later. Raises `Fenced` if the attempt was found to be taken
        away."""
        if self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            raise refusal
        self._latest = progress
        if self._loop.time() >= self._due and not self._writing.locked():
            try:
                await self._flush()
            except Locked:
                self._set_timer()
        else:
            self._set_timer()
            # a handler that reports in a loop counts on it to let others run, and to be interrupted
            await asyncio.sleep(0)

    async def finish(self) -> None:
        """Write the last value, if possible: the attempt is over."""
        self.close()
        try:
            await self._flush()
        except Fenced:
            return  # the settle finds that, too
        except Exception as error:
            emit("loop.failed", loop="progress", error=told(error))

    def close(self) -> None:
        """Write nothing later."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _flush(self) -> None:
        async with self._writing:
            progress, self._latest = self._latest, None
            if progress is None:
                return
            now = self._loop.time()
            self._due = now + max(INTERVAL_SECONDS, (now - self._began) * INTERVAL_SHARE)
            try:
                written = await self._write(progress)
            except (ServerUnreachable, asyncio.CancelledError):
                self._keep(progress)
                raise
            if not written:
                raise Fenced

    def _keep(self, progress: bytes) -> None:
        """Keep a value that may not have been written, unless a newer one has come meanwhile."""
        if self._latest is None:
            self._latest = progress

    def _set_timer(self) -> None:
        # In a context of its own: what an attempt leaves behind is known by the context of its
        # handler (leftovers.py).
        if self._timer is None:
            self._timer = self._loop.call_at(
                self._due, self._write_later, context=contextvars.Context()
            )

    def _write_later(self) -> None:
        self._timer = None
        self._flushing = self._loop.create_task(self._flush_later())

    async def _flush_later(self) -> None:
        try:
            await self._flush()
        except ServerUnreachable:
            self._set_timer()
        except Exception as error:
            self._refusal = error


__all__ = ["INTERVAL_SECONDS", "INTERVAL_SHARE", "ProgressWriter"]
