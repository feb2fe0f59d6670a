"""What happens to an attempt from its ending to its release?

Endings are written and deliveries let go of in batches, and what follows is called back: no attempt waits in a task of its own,
unless it has used a transaction, to commit it or to undo it (`commit.py`).

Invariant: its slot, its place among the unsettled and its delivery are given up once each, whatever raises on the way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

from leaseq.backoff import Backoff
from leaseq.dispatch.deliveries import Place, Release
from leaseq.failpoints import reach
from leaseq.lifecycle import after
from leaseq.model import ClaimedTask, Ending, Lane, Outcome, Settled, Settlement, State, TaskError
from leaseq.telemetry import emit
from leaseq.worker.commit import finish
from leaseq.worker.hands import Hold
from leaseq.worker.lent import Loan
from leaseq.worker.tools import Tools
from leaseq.worker.transaction import AttemptTransaction


class ClaimedAttempt:
    """One attempt of this worker, from its claim. `left` is called once, when nothing is left of it."""

    def __init__(self, claimed: ClaimedTask, hold: Hold, tools: Tools, *, left: Callable[[Any], None]) -> None:
        self.claimed = claimed
        self.loan: Loan | None = None  # of a handler that has a context
        self.lingers = False  # does its handler still run, although the attempt is at its end?
        self._hold = hold
        self._tools = tools
        self._left = left
        self._holds_slot = True
        self._is_unsettled = True
        self._transaction: AttemptTransaction | None = None
        self._finishing: asyncio.Task[Any] | None = None
        self._ending: Ending | None = None
        self._began = monotonic()

    def lend(self) -> AttemptTransaction:
        """The one transaction; asked for in the event loop only."""
        if self._transaction is None:
            assert self.loan is not None, "without a context, nobody asks"
            seconds = self._tools.config.statement_timeout_seconds
            self._transaction = AttemptTransaction(self._tools.pool, self.loan, statement_timeout_seconds=seconds)
        return self._transaction

    def end(self, ending: Ending) -> None:
        """The handler has come to this ending, or is not waited for any longer."""
        if not self.lingers:
            self.give_slot_back()
        reach("attempt.ending")
        if self._transaction is None:
            self._end_loan()
            self._settle(ending)
        else:
            work = finish(ending, self._transaction, self._tools, self._settlement)
            self._finishing = self._tools.loop.create_task(work)
            self._finishing.add_done_callback(self._finished)

    def _finished(self, finishing: asyncio.Task[Any]) -> None:
        """The transaction is committed, or undone and something else is to be written."""
        if finishing.cancelled():
            self.leave()
            return
        try:
            finish = finishing.result()
            self._ending = finish.ending
            if finish.written:
                self._settled(finish.settled)
            else:
                self._settle(finish.ending)
        except Exception as error:
            self.fail(error)

    def _settle(self, ending: Ending) -> None:
        self._ending = ending
        self._tools.settler.put(self._settlement(ending), self._answered)

    def _answered(self, answer: Settled | BaseException | None) -> None:
        assert self._ending is not None, "it was sent"
        try:
            if isinstance(answer, asyncio.CancelledError):  # the process ends
                self.leave()
            elif not isinstance(answer, BaseException):
                self._settled(answer)
            elif self._ending.result is None:
                self.fail(answer)
            else:
                # Raw JSON that is none, say: whatever Postgres cannot store, no retry can mend.
                error = TaskError("result_invalid", str(answer))
                self._settle(Ending(Outcome.ERRORED, error=error, permanent=True))
        except Exception as error:
            self.fail(error)

    def _settled(self, settled: Settled | None) -> None:
        lease = self.claimed.lease
        reach("settle.committed")
        self._give_place_back()
        if settled is None:
            # The delivery stays in our list. If we are closed, the reap is about to move it, to its lane if the task is PENDING
            # again; if not, it is a stray, and the sweep asks the ledger about it.
            emit("attempt.fenced", task_id=lease.task_id, attempt=lease.attempt, worker_id=lease.worker_id)
            self.leave()
            return
        self._report(settled)
        place: Place | Lane = settled.lane if settled.state is State.PENDING else Place.DONE  # to its head
        self._tools.releaser.put(self.claimed.queue, Release(lease.task_id, place), self.leave)

    def _settlement(self, ending: Ending) -> Settlement:
        config = self._tools.config
        backoff = Backoff(config.backoff_base_seconds, config.backoff_cap_seconds)
        disposition = after(ending, self.claimed.counts, backoff=backoff, max_crashes=config.max_crashes)
        return Settlement(self.claimed.lease, ending, disposition)

    def _report(self, settled: Settled) -> None:
        claimed, ending = self.claimed, self._ending
        assert ending is not None, "it was settled"
        emit(
            "attempt.settled",
            task_id=settled.task_id,
            type=claimed.type,
            queue=claimed.queue,
            attempt=settled.attempt,
            outcome=ending.outcome,
            state=settled.state,
            seconds=round(monotonic() - self._began, 4),
            **({"error": ending.error.message[:200]} if ending.error else {}),
        )

    def fail(self, error: BaseException) -> None:
        """Nobody expects this. The task stays ours in the ledger, and a stray in our list: the sweep takes it up again."""
        emit("loop.failed", loop="attempt", task_id=self.claimed.lease.task_id, error=f"{type(error).__name__}: {error}")
        if self._transaction is None or not self._transaction.is_open:
            self.leave()
        else:
            self._finishing = self._tools.loop.create_task(self._transaction.abandon())
            self._finishing.add_done_callback(self.leave)

    def leave(self, _: object = None) -> None:
        """There is nothing more to do here."""
        self._end_loan()
        if not self.lingers:
            self.give_slot_back()
        self._give_place_back()
        self._tools.hands.drop(self._hold)
        self._left(self)

    def _end_loan(self) -> None:
        if self.loan is not None:
            self.loan.end()

    def give_slot_back(self) -> None:
        """Its handler does not run any more. Heard once."""
        if self._holds_slot:
            self._holds_slot = False
            self._tools.slots.give_back(lingered=self.lingers)

    def _give_place_back(self) -> None:
        """Its ending is written, or nobody will. Heard once."""
        if self._is_unsettled:
            self._is_unsettled = False
            self._tools.slots.settled()


__all__ = ["ClaimedAttempt"]
