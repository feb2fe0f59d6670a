"""Serve a handler's context: the transaction of its attempt, and its progress.

Only a handler that takes a context has an `AttemptHandle`. A plain handler can ask for nothing.

Invariants: an attempt has at most one transaction, made by the first block. Once the access token
is revoked, each call raises `Fenced`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from leaseq.codec import encode_progress
from leaseq.connections.postgres_pool import Pool
from leaseq.context import Context, running
from leaseq.errors import Fenced
from leaseq.ledger.tasks import TaskLedger
from leaseq.model import ClaimedTask
from leaseq.payloads.payload_codec import ContentCodec
from leaseq.worker.attempt.handler_connection import AccessToken
from leaseq.worker.attempt.progress import ProgressWriter
from leaseq.worker.attempt.transaction import AttemptTransaction, Scope
from leaseq.worker.process.worker_loop import require_worker_process, run_on_worker_loop


class HandleServices(Struct, frozen=True, kw_only=True):
    """The parts of a worker that all its attempt handles use."""

    loop: asyncio.AbstractEventLoop
    ledger: TaskLedger
    pool: Pool  # of connections for handlers' transactions
    statement_timeout_seconds: float
    codec: ContentCodec | None = None


class AttemptHandle:
    """Serves the context of one handler. `on_server_left`: called when its transaction loses its
    server."""

    def __init__(
        self, claimed: ClaimedTask, services: HandleServices, *, on_server_left: Callable[[], None]
    ) -> None:
        self.attempt_transaction: AttemptTransaction | None = None
        self._access = AccessToken()
        self._context = Context(claimed, self)
        self._claim = claimed.claim
        self._services = services
        self._on_server_left = on_server_left
        self._progress: ProgressWriter | None = None  # made by the first ctx.set_progress
        self._is_stopping = False

    # Asked by the context

    @property
    def stopping(self) -> bool:
        return self._is_stopping or self._access.revoked

    def transaction(self) -> Scope:
        require_worker_process()
        return Scope(self.lend_transaction, self._services.loop)

    async def set_progress(self, value: Any) -> None:
        if self._access.revoked:
            raise Fenced("this attempt is over")
        progress, codec = encode_progress(value), self._services.codec
        if codec is not None:
            progress = codec.encode(progress)
        await run_on_worker_loop(lambda: self._put_progress(progress), self._services.loop)

    async def _put_progress(self, progress: bytes) -> None:
        if self._access.revoked:
            raise Fenced("this attempt is over")
        if self._progress is None:
            claim, ledger = self._claim, self._services.ledger
            self._progress = ProgressWriter(
                lambda value: ledger.set_progress(claim, value), self._services.loop
            )
        await self._progress.put(progress)

    def lend_transaction(self) -> AttemptTransaction:
        """The one transaction of the attempt. For the event loop of the worker only."""
        if self.attempt_transaction is None:
            services = self._services
            self.attempt_transaction = AttemptTransaction(
                services.pool,
                self._access,
                statement_timeout_seconds=services.statement_timeout_seconds,
            )
            self.attempt_transaction.on_leave = self._on_server_left
        return self.attempt_transaction

    # Asked by the attempt

    def enter(self) -> Context:
        """Make the current context (contextvars) a part of the attempt; returns what the handler
        gets."""
        self._access.bind()
        running.set(self._context)
        return self._context

    def stop(self) -> None:
        """Let the handler see that it is to end."""
        self._is_stopping = True
        if self.attempt_transaction is not None:
            self.attempt_transaction.starved = self.attempt_transaction.waits

    def close_if_written(self) -> bool:
        """End the handler's access, unless a transaction is still to be ended or a progress to be
        written. Whether it did."""
        if self.attempt_transaction is not None or (
            self._progress is not None and self._progress.waits
        ):
            return False
        self.close()
        return True

    async def finish_progress(self) -> None:
        """Write the last progress. Without a transaction the access ends here; with one,
        `Committer.finish` ends it."""
        if self.attempt_transaction is None:
            self.close()
        if self._progress is not None:
            await self._progress.finish()

    def close(self) -> None:
        """End the handler's access, and write no progress later."""
        self._access.revoke()
        if self._progress is not None:
            self._progress.close()


__all__ = ["AttemptHandle", "HandleServices"]
