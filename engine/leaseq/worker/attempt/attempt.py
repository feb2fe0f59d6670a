"""What happens to one claimed task while its handler runs?

The handler is one asyncio task, and there is no other: whoever is over calls what follows (`conclude.py`).

Invariants: an attempt comes to one ending. A handler that does not end when it is asked to keeps its slot, and nothing else.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

from leaseq.codec import encode_progress
from leaseq.context import Context
from leaseq.errors import Fenced
from leaseq.failpoints import reach
from leaseq.known_type import stamp_in
from leaseq.lifecycle import is_suspect
from leaseq.logs import restore_streams
from leaseq.model import ClaimedTask, Ending, Outcome, TaskError
from leaseq.registry import Handler
from leaseq.telemetry import emit
from leaseq.worker.attempt.conclude import ClaimedAttempt
from leaseq.worker.attempt.handler_connection import AccessToken
from leaseq.worker.attempt.progress import ProgressWriter
from leaseq.worker.attempt.run_handler import Call, Lent, Stop, execute, stopped
from leaseq.worker.attempt.start import start
from leaseq.worker.attempt.transaction import Scope
from leaseq.worker.in_flight import InFlightDelivery
from leaseq.worker.process.leftovers import Leftovers, threads_of
from leaseq.worker.process.worker_loop import require_worker_process, run_on_worker_loop
from leaseq.worker.tools import Tools

# For a handler that was asked to end. Shorter than what a draining worker waits for its last endings (worker.LAST_WORDS_SECONDS).
PATIENCE_SECONDS = 3.0


class RunningAttempt(ClaimedAttempt):
    """One attempt of this worker. `start` takes it to its end, which `left` is told; `stop` interrupts it."""

    def __init__(
        self, claimed: ClaimedTask, delivery: InFlightDelivery, tools: Tools, *, left: Callable[[RunningAttempt], None]
    ) -> None:
        super().__init__(claimed, delivery, tools, left=left)
        self._stop: Stop | None = None
        self._call: Call | None = None
        self._handler: asyncio.Task[Ending] | None = None
        self._patience: asyncio.TimerHandle | None = None  # with a handler that was asked to end
        self._given_up = False  # does the attempt go on without its handler?

    # What the handler's context asks of us

    @property
    def stopping(self) -> bool:
        return self._stop is not None or (self.access is not None and self.access.over)

    def transaction(self) -> Scope:
        require_worker_process()
        return Scope(self.lend, self._tools.loop)

    async def set_progress(self, value: Any) -> None:
        assert self.access is not None, "without a context, nothing asks"
        if self.access.over:
            raise Fenced("this attempt is over")
        progress = encode_progress(value)
        await run_on_worker_loop(lambda: self._write_progress(progress), self._tools.loop)

    async def _write_progress(self, progress: bytes) -> None:
        assert self.access is not None, "without a context, nothing asks"
        if self.access.over:
            raise Fenced("this attempt is over")
        if self._progress is None:
            claim = self.claimed.claim
            self._progress = ProgressWriter(lambda value: self._tools.ledger.set_progress(claim, value), self._tools.loop)
        await self._progress.put(progress)

    # What the worker asks

    def stop(self, reason: Stop) -> None:
        """Interrupt the handler, or keep it from starting; its ending says why."""
        if self._stop is not None:
            return
        self._stop = reason
        if self._transaction is not None:
            self._transaction.starved = self._transaction.waits
        if self._handler is not None and not self._handler.done():
            self._handler.cancel()
            self._patience = self._tools.loop.call_later(PATIENCE_SECONDS, self._give_up)

    def overrun(self) -> None:
        self.stop(Stop.OVERTIME)

    def lose_server(self) -> None:
        self.stop(Stop.SERVER)

    def start(self) -> None:
        """Run the handler. Never raises."""
        try:
            handler = self._tools.registry.handlers.get(self.claimed.type)
            refusal = self._refuse(handler)
            if handler is None or refusal is not None:
                self.end(refusal or _unknown_type(self.claimed.type))
            else:
                self._run(handler)
        except Exception as error:
            self.fail(error)

    # From the start of the handler to its ending

    def _run(self, handler: Handler) -> None:
        reach("attempt.starting")
        emit("attempt.started", task_id=self.claimed.claim.task_id, attempt=self.claimed.claim.attempt)
        lent = None
        if handler.context_parameter is not None:  # without a context, no transaction can be asked for
            self.access = AccessToken()
            lent = Lent(Context(self.claimed, self), self.access)
        if self._tools.isolated:
            self._leftovers = Leftovers(threads_of(self._tools.executor))
        self._call = Call(handler, lent, executor=self._tools.executor, lingered=self.give_slot_back, leftovers=self._leftovers)
        max_bytes = self._tools.config.result_max_bytes
        work = execute(self._call, self.claimed.payload, result_max_bytes=max_bytes, interrupted=self._interrupted)
        self._handler = start(self._tools.loop, work)
        if self._handler.done():
            self._over(self._handler)
        else:
            self._tools.deadlines.set(self, self.claimed.timeout_seconds)
            self._handler.add_done_callback(self._over)

    def _over(self, handler: asyncio.Task[Ending]) -> None:
        """The handler is done."""
        restore_streams()
        self._tools.deadlines.clear(self, self.claimed.timeout_seconds)
        if self._patience is not None:
            self._patience.cancel()
        if self._given_up:
            self.give_slot_back()
            return
        if self._call is not None and self._call.lingers:
            self._linger()
        cancelled = handler.cancelled()
        if cancelled and self._stop is None and self._tools.main.cancelling():
            # Code of some handler has cancelled every task of the process, which ends. The reap charges a loss, as for each end.
            self.leave()
            return
        try:
            # Cancelled, although `execute` returns the ending of an attempt that was stopped: before it began, or by itself.
            self.end((self._interrupted() or _unannounced()) if cancelled else self._judged(handler.result()))
        except Exception as error:
            self.fail(error)

    def _give_up(self) -> None:
        """A cancellation is a request: a handler (or a library under it) may swallow it and go on. Not with it."""
        if self._handler is None or self._handler.done():
            return
        self._given_up = True
        self._linger()
        self._handler.cancel()
        interrupted = self._interrupted()
        assert interrupted is not None, "or nobody would have given up"
        try:
            self.end(interrupted)
        except Exception as error:
            self.fail(error)

    def _linger(self) -> None:
        self._keep_slot()
        emit("handler.overran", task_id=self.claimed.claim.task_id, type=self.claimed.type)

    def _keep_slot(self) -> None:
        if not self.lingers:
            self.lingers = True
            self._tools.slots.linger()

    def leave(self, _: object = None) -> None:
        super().leave()
        # It refers back to us: what is left of an attempt is to go by itself, and not to wait for the garbage collector.
        self._call = None
        if self._leftovers is not None and not self.lingers:
            self._handler = self._finishing = None
            # In a context of its own, since this one may be the handler's.
            self._tools.loop.call_soon(self._look_for_remains, context=contextvars.Context())

    def _look_for_remains(self) -> None:
        """Give the slot of an isolation child back only while nothing of this task is alive."""
        assert self._leftovers is not None, "an isolation child looks"
        kind = self._leftovers.found()
        if kind is None:
            self._leftovers = None
            self.give_slot_back()
        else:
            self._keep_slot()
            emit("handler.remained", task_id=self.claimed.claim.task_id, type=self.claimed.type, kind=kind)

    def _interrupted(self) -> Ending | None:
        """The ending of whoever was told to stop."""
        if self._stop is None:
            return None
        return stopped(self._stop, timeout_seconds=self.claimed.timeout_seconds)

    def _refuse(self, handler: Handler | None) -> Ending | None:
        """Reasons not to run the handler at all."""
        if self._stop is not None:
            return self._interrupted()
        if self.claimed.expired:
            return Ending(Outcome.CANCELLED, error=TaskError("expired", "it was not started before expires_at"))
        if is_suspect(self.claimed.counts) and not self._tools.isolated:
            # It came by a side way (a rebuilt queue, say): here it could take its neighbours with it.
            return Ending(Outcome.RELEASED, error=TaskError("isolated", "handed over, to run alone"), delay=0.0, self_caused=True)
        return _unknown_type(self.claimed.type) if handler is None else None

    def _judged(self, ending: Ending) -> Ending:
        """The ending of a handler, but for a payload that was accepted for another version of it: that is for another worker."""
        if ending.error is None or ending.error.code != "payload_invalid" or not ending.permanent:
            return ending
        stamp, handler = stamp_in(self.claimed.headers), self._tools.registry.handlers[self.claimed.type]
        return ending if stamp in (None, handler.stamp) else _other_version(ending.error)


def _unannounced() -> Ending:
    return Ending(
        Outcome.ERRORED, error=TaskError("error", "it was cancelled, by nobody but its own code", type="CancelledError")
    )


def _other_version(error: TaskError) -> Ending:
    """The task was submitted for another version of the handler: a deploy is in progress, or was rolled back."""
    said = f"the payload was submitted for another version of the handler than this worker has: {error.message}"
    return Ending(Outcome.RELEASED, error=TaskError("other_version", said), self_caused=True)


def _unknown_type(name: str) -> Ending:
    """A deploy may be in progress: another worker, or this one after its restart, will know the type."""
    said = f"no handler for {name!r} in this worker"
    return Ending(Outcome.RELEASED, error=TaskError("unknown_type", said), self_caused=True)


__all__ = ["RunningAttempt"]
