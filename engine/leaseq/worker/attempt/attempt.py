"""One attempt of a task, from its claim to the release of its delivery.

The file reads from top to bottom: start, run the handler, decide the ending, settle it, release the
delivery. Each step that waits for an answer goes on in a callback that is named for it:
`handler_done`, `settle_done`, `release_done`. The handler is one asyncio task, and there is no
other, unless the attempt has used a transaction or has progress to write: then `_finish` is a
second one (commit.py). Endings are written (settle.py) and deliveries are released (release.py) in
batches. The settler also finds out whether an ending counted whose answer was lost.

Invariants: an attempt has exactly one ending. Its slot, its count among the unsettled attempts and
its delivery are given back once each, even if a step in between raises. An ending that cannot be
written is replaced by a plain one that can be: an attempt does not stay PROCESSING, and none runs
uncounted. A handler that ignores its cancellation keeps its slot, and nothing else.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

from leaseq.dispatch.deliveries import Destination, Release
from leaseq.failpoints import reach
from leaseq.ledger.session import Locked
from leaseq.lifecycle import is_suspect
from leaseq.loop import Pauses
from leaseq.metrics.tally import TALLY
from leaseq.model import ClaimedTask, Ending, Settled, State
from leaseq.observability.telemetry import emit, listening
from leaseq.registry import Handler
from leaseq.safe_text.exceptions import told
from leaseq.worker.attempt import outcome
from leaseq.worker.attempt.attempt_handle import AttemptHandle
from leaseq.worker.attempt.commit import Committed
from leaseq.worker.attempt.outcome import Stop
from leaseq.worker.attempt.services import AttemptServices
from leaseq.worker.in_flight import InFlightDelivery
from leaseq.worker.process.leftovers import Leftovers, threads_of

# For a cancelled handler. Shorter than the wait of a draining worker (worker.LAST_WORDS_SECONDS).
PATIENCE_SECONDS = 3.0
# Between two tries to write an ending that Postgres refuses in its plainest form.
REFUSED_PAUSES = Pauses(1.0, growth=2.0, cap=60.0)
SUCCESS, PENDING, DONE = State.SUCCESS, State.PENDING, Destination.DONE  # see lifecycle.SUCCEEDED


class Attempt:
    """One attempt of this worker. `done` is called once, when nothing is left of it but, perhaps,
    its handler."""

    handler: Handler  # set when it starts to run

    def __init__(
        self,
        claimed: ClaimedTask,
        delivery: InFlightDelivery,
        services: AttemptServices,
        done: Callable[[Attempt], None],
    ) -> None:
        self.claimed = claimed
        self._delivery = delivery
        self._services = services
        self._done = done
        self.began = monotonic()
        self._counts = TALLY.of_task(claimed.queue, claimed.type)
        self._stop: Stop | None = None
        self._handle: AttemptHandle | None = None  # of a handler that takes a context
        self._handler_task: asyncio.Task[Ending] | None = None
        self._patience: asyncio.TimerHandle | None = None  # with a handler that was cancelled
        self._is_abandoned = False  # the attempt goes on without its handler
        self._is_outlived = False  # the executor has stopped waiting for the handler, which goes on
        # in an isolation child, which must be empty before the next suspect runs
        self._leftovers: Leftovers | None = None
        self._holds_slot = True
        self._lingers = False  # the handler still runs, although the attempt is at its end
        self._ending: Ending | None = None
        self._finishing: asyncio.Task[Any] | None = None
        self._is_unsettled = True
        self._is_plain = False  # the ending was replaced by a plain one
        self._is_written = False
        self._refusals = 0

    # Start

    def start(self) -> None:
        """Run the handler. Never raises."""
        try:
            handler = self._services.handlers.registry.handlers.get(self.claimed.type)
            refusal = self._refusal()
            if handler is None or refusal is not None:
                self._end(refusal or outcome.unknown_type(self.claimed.type))
            else:
                self._run(handler)
        except Exception as error:
            self._fail(error)

    def _refusal(self) -> Ending | None:
        """The ending of an attempt whose handler is not to run at all."""
        if self._stop is not None:
            return self.interrupted()
        if self.claimed.expired:
            return outcome.expired()
        if self.claimed.token_in:
            return outcome.without_token(self.claimed.token_in)
        if is_suspect(self.claimed.counts) and not self._services.handlers.isolated:
            # it came another way (a rebuilt queue), and here it could take its neighbours with it
            return outcome.isolated()
        return None

    # Run the handler

    def _run(self, handler: Handler) -> None:
        reach("attempt.starting")
        claimed, handlers = self.claimed, self._services.handlers
        if listening("attempt.started"):
            emit("attempt.started", task_id=claimed.claim.task_id, attempt=claimed.claim.attempt)
        self._counts.starts.append(claimed.waited)
        self.handler = handler
        if handler.context_parameter is not None:
            self._handle = AttemptHandle(
                claimed, self._services.handle, on_server_left=self.server_left
            )
        if handlers.isolated:
            self._leftovers = Leftovers(threads_of(handlers.pool))
        self._handler_task = handlers.start(self)
        if self._handler_task.done():  # it has waited for nothing
            self._handler_ended(self._handler_task)
        else:
            handlers.deadlines.set(self, claimed.timeout_seconds)
            self._handler_task.add_done_callback(self.handler_done)

    def enter(self, arguments: dict[str, Any]) -> None:
        """Make the current context the handler's, and add the handler's own context to its
        arguments."""
        if self._leftovers is not None:
            self._leftovers.begin()
        if self._handle is not None and self.handler.context_parameter is not None:
            arguments[self.handler.context_parameter] = self._handle.enter()

    def stop(self, reason: Stop) -> None:
        """Interrupt the handler, or keep it from starting. Its ending tells the reason."""
        if self._stop is not None:
            return
        self._stop = reason
        if self._handle is not None:
            self._handle.stop()
        if self._handler_task is not None and not self._handler_task.done():
            self._handler_task.cancel()
            self._patience = self._services.loop.call_later(PATIENCE_SECONDS, self._abandon_handler)

    def overrun(self) -> None:
        """The time-out has passed."""
        self.stop(Stop.OVERTIME)

    def server_left(self) -> None:
        """The server of the open transaction is no longer the primary, or does not answer."""
        self.stop(Stop.SERVER)

    def interrupted(self) -> Ending | None:
        """The ending of an attempt that was stopped, else None."""
        if self._stop is None:
            return None
        return outcome.stopped(self._stop, timeout_seconds=self.claimed.timeout_seconds)

    def handler_done(self, task: asyncio.Task[Ending]) -> None:
        """Go on after a handler that has waited, unless the attempt went on without it."""
        self._services.handlers.deadlines.clear(self, self.claimed.timeout_seconds)
        if self._patience is not None:
            self._patience.cancel()
        if self._is_abandoned:
            self._give_slot_back()
            return
        if self._is_outlived:
            self._handler_overran()
        self._handler_ended(task)

    def _handler_ended(self, task: asyncio.Task[Ending]) -> None:
        """Go on with the ending of the handler."""
        cancelled = task.cancelled()
        if cancelled and self._stop is None and self._services.handlers.is_process_ending:
            # Code of some handler has cancelled every task of the process, which ends. The recovery
            # of this worker charges a loss, as for each end.
            self.release_done()
            return
        try:
            # A cancelled task, although executors return the ending of an attempt that was stopped:
            # it was cancelled before it began, or by its own code.
            if cancelled:
                self._end(self.interrupted() or outcome.cancelled_itself())
            else:
                self._end(outcome.for_this_version(task.result(), self.claimed, self.handler))
        except Exception as error:
            self._fail(error)

    def _abandon_handler(self) -> None:
        """Go on without a handler that does not end.

        A cancellation is a request: a handler (or a library under it) may swallow it and continue.
        """
        if self._handler_task is None or self._handler_task.done():
            return
        self._is_abandoned = True
        self._handler_overran()
        self._handler_task.cancel()
        interrupted = self.interrupted()
        assert interrupted is not None, "only a stopped handler is abandoned"
        try:
            self._end(interrupted)
        except Exception as error:
            self._fail(error)

    def handler_outlived(self) -> None:
        """The executor has stopped waiting for the handler. `handler_done` follows, outside of the
        handler's context."""
        self._is_outlived = True

    def handler_exited(self) -> None:
        """The handler that outlived its attempt has ended."""
        self._give_slot_back()

    def _handler_overran(self) -> None:
        self._keep_slot()
        emit("handler.overran", task_id=self.claimed.claim.task_id, type=self.claimed.type)

    # Decide the ending

    def _end(self, ending: Ending) -> None:
        """Take this ending: of the handler, or of an attempt that does not wait for its handler any
        longer."""
        if not self._lingers:
            self._give_slot_back()
        reach("attempt.ending")
        if not ending.store_away and (self._handle is None or self._handle.close_if_written()):
            self._handle = None
            self._settle(ending)
        else:
            self._finishing = self._services.loop.create_task(self._finish(ending))
            self._finishing.add_done_callback(self._finish_done)

    async def _finish(self, ending: Ending) -> Committed:
        """Write the last progress, and commit the transaction with the ending or undo it."""
        if self._handle is not None:
            await self._handle.finish_progress()
            if self._handle.attempt_transaction is not None:
                return await self._services.committer.finish(
                    ending,
                    self._handle.attempt_transaction,
                    settlement=partial(self._services.decider.settlement, self.claimed),
                    charge=self._charge,
                )
        return Committed(await self._charge(ending, False) if ending.store_away else ending)

    async def _charge(self, ending: Ending, silent: bool) -> Ending:
        return await self._services.decider.charge(
            self.claimed, ending, began=self.began, silent=silent
        )

    def _finish_done(self, finishing: asyncio.Task[Committed]) -> None:
        """The transaction is committed, or it is undone and an ending is to be written."""
        if finishing.cancelled():
            self.release_done()
            return
        try:
            committed = finishing.result()
            self._ending = committed.ending
            if committed.written:
                self._settled(committed.settled)
            else:
                self._settle(committed.ending)
        except Exception as error:
            self._fail(error)

    # Settle

    def _settle(self, ending: Ending) -> None:
        self._ending = ending
        settlement = self._services.decider.settlement(self.claimed, ending)
        self._services.settler.put(settlement, self.settle_done)

    def settle_done(self, answer: Settled | BaseException | None) -> None:
        """Go on with the answer of the settler."""
        assert self._ending is not None, "it was sent"
        try:
            if not isinstance(answer, BaseException):
                self._settled(answer)
            elif isinstance(answer, asyncio.CancelledError):  # the process ends
                self.release_done()
            elif isinstance(answer, Locked):
                self._mark_settled()  # the other attempts do not wait for that row
                settlement = self._services.decider.settlement(self.claimed, self._ending)
                self._services.settler.put_when_unlocked(settlement, self.settle_done)
            else:
                self._settle_plainly(answer)
        except Exception as error:
            self._fail(error)

    def _settle_plainly(self, error: BaseException) -> None:
        """Postgres refuses the ending, or it could not even be sent: write a plain one instead."""
        if not self._is_plain:
            self._is_plain = True
            self._settle(outcome.plain_ending(self._ending, error))
            return
        # The ledger refuses to end this attempt at all (a role without rights, for example).
        # Nothing else may run the task until that works.
        emit("loop.failed", loop="settle", task_id=self.claimed.claim.task_id, error=told(error))
        assert self._ending is not None, "the plain one"
        self._refusals += 1
        wait = REFUSED_PAUSES.after(self._refusals)
        self._services.loop.call_later(wait, self._settle, self._ending)

    def _settled(self, settled: Settled | None) -> None:
        self._is_written = True
        reach("settle.committed")
        self._mark_settled()
        if settled is None:
            # The delivery stays in the processing list. If this worker is closed, its recovery is
            # about to move the delivery, to its lane if the task is PENDING again; if not, the list
            # audit finds it unknown and asks the ledger about it.
            TALLY.count("leaseq_attempts_fenced_total", self.claimed.queue)
            emit("attempt.fenced", self.claimed.claim.identity())
            self.release_done()
            return
        self._report(settled)
        self._release(settled)

    def _report(self, settled: Settled) -> None:
        claimed, ending = self.claimed, self._ending
        assert ending is not None, "it was settled"
        seconds = monotonic() - self.began
        fields = {
            "task_id": settled.task_id,
            "type": claimed.type,
            "queue": claimed.queue,
            "attempt": settled.attempt,
            "outcome": ending.outcome,
            "state": settled.state,
            "seconds": int(seconds * 10_000) / 10_000,
        }
        if settled.state is SUCCESS:
            self._counts.successes.append(seconds)
            emit("attempt.settled", fields)
            return
        self._counts.settled(ending.outcome, settled.state, seconds)
        if ending.error is not None:
            fields["error"] = self._services.decider.loggable(ending.error)[:200]
        emit("attempt.settled", fields)
        if settled.state is State.FAILED:
            about = {name: fields[name] for name in ("task_id", "type", "queue")}
            emit("task.failed", about, code="" if ending.error is None else ending.error.code)

    # Release

    def _release(self, settled: Settled) -> None:
        """Take the delivery out of the processing list. That of a PENDING task goes to the head of
        its lane."""
        lane = settled.lane if settled.state is PENDING else None
        release = Release(self.claimed.claim.task_id, lane or DONE)
        self._services.releaser.put(self.claimed.queue, release, self.release_done)

    def release_done(self, _: object = None) -> None:
        """Give back what the attempt still has. Nothing follows."""
        if self._handle is not None:
            self._handle.close()
            # it refers back to the attempt, which would wait for the garbage collector
            self._handle = None
        if self._holds_slot and not self._lingers:
            self._give_slot_back()
        if self._is_unsettled:
            self._mark_settled()
        self._services.in_flight.remove(self._delivery)
        self._done(self)
        if self._leftovers is not None and not self._lingers:
            self._handler_task = self._finishing = None
            # In a context of its own, since this one may be the handler's.
            self._services.loop.call_soon(self._look_for_leftovers, context=contextvars.Context())

    def _look_for_leftovers(self) -> None:
        """Give the slot of an isolation child back only while nothing of this task is alive."""
        assert self._leftovers is not None, "only an isolation child looks"
        kind = self._leftovers.found()
        if kind is None:
            self._leftovers = None
            self._give_slot_back()
        else:
            self._keep_slot()
            emit(
                "handler.remained",
                task_id=self.claimed.claim.task_id,
                type=self.claimed.type,
                kind=kind,
            )

    # Give back, once each

    def _keep_slot(self) -> None:
        """The attempt ends, and its handler, or what that left running, keeps the slot."""
        if not self._lingers:
            self._lingers = True
            self._services.slots.linger()

    def _give_slot_back(self) -> None:
        """The handler does not run any more, and left nothing running."""
        if self._holds_slot and self._leftovers is None:
            self._holds_slot = False
            if self._lingers:
                self._services.slots.stop_lingering()
            self._services.slots.give_back()

    def _mark_settled(self) -> None:
        """The ending is written, or will not be, or other attempts are not to wait for it."""
        if self._is_unsettled:
            self._is_unsettled = False
            self._services.slots.mark_settled()

    # Faults of this code, or of what it was given

    def _fail(self, error: BaseException) -> None:
        """End the attempt all the same."""
        emit("loop.failed", loop="attempt", task_id=self.claimed.claim.task_id, error=told(error))
        transaction = None if self._handle is None else self._handle.attempt_transaction
        if self._is_written:
            # only the delivery is left: the list audit finds it
            self._services.releaser.failed.set()
            self.release_done()
        elif transaction is None or not transaction.is_open:
            self._end_plainly(error)
        else:
            self._finishing = self._services.loop.create_task(transaction.abandon())
            self._finishing.add_done_callback(lambda _: self._end_plainly(error))

    def _end_plainly(self, error: BaseException) -> None:
        if not self._lingers:
            self._give_slot_back()
        if self._handle is not None:
            self._handle.close()
        if self._ending is not None and self._ending.result is not None:
            self._ending = None  # the fault is not the result's
        try:
            self._settle_plainly(error)
        except Exception:  # the loop is being closed, for example
            self.release_done()


__all__ = ["Attempt"]
