"""What happens to an attempt from its ending to its release?

Endings are written and deliveries let go of in batches, and what follows is called back: no attempt waits in a task of its own,
unless it has used a transaction, to commit it or to undo it (`commit.py`).

Invariants: its slot, its place among the unsettled and its delivery are given up once each, whatever raises on the way. An
ending that cannot be written is replaced by a plain one that can: an attempt does not stay PROCESSING, and none runs uncounted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

from msgspec.structs import replace

from leaseq.describe import plain, told
from leaseq.dispatch.deliveries import Place, Release
from leaseq.failpoints import reach
from leaseq.ledger.session import Locked
from leaseq.lifecycle import after, hand_back
from leaseq.model import ClaimedTask, Ending, Lane, Outcome, Settled, Settlement, State
from leaseq.telemetry import emit
from leaseq.worker.attempt.commit import Finish, finish
from leaseq.worker.attempt.handler_connection import AccessToken
from leaseq.worker.attempt.progress import ProgressWriter
from leaseq.worker.attempt.transaction import AttemptTransaction
from leaseq.worker.in_flight import InFlightDelivery
from leaseq.worker.process.leftovers import Leftovers
from leaseq.worker.tools import Tools

# Between two tries to write an ending that Postgres refuses in its plainest form.
REFUSED_SECONDS = 1.0
REFUSED_CAP_SECONDS = 60.0


class ClaimedAttempt:
    """One attempt of this worker, from its claim. `left` is called once, when nothing is left of it."""

    def __init__(self, claimed: ClaimedTask, delivery: InFlightDelivery, tools: Tools, *, left: Callable[[Any], None]) -> None:
        self.claimed = claimed
        self.access: AccessToken | None = None  # of a handler that has a context
        self.lingers = False  # does its handler still run, although the attempt is at its end?
        self._delivery = delivery
        self._tools = tools
        self._left = left
        self._holds_slot = True
        self._leftovers: Leftovers | None = None  # in an isolation child, which must be empty before the next suspect runs
        self._is_unsettled = True
        self._is_plain = False  # was its ending replaced?
        self._is_written = False
        self._refused_seconds = REFUSED_SECONDS
        self._transaction: AttemptTransaction | None = None
        self._progress: ProgressWriter | None = None  # made by the first ctx.set_progress
        self._finishing: asyncio.Task[Any] | None = None
        self._ending: Ending | None = None
        self._began = monotonic()

    def lend(self) -> AttemptTransaction:
        """The one transaction; asked for in the event loop only."""
        if self._transaction is None:
            assert self.access is not None, "without a context, nobody asks"
            seconds = self._tools.config.statement_timeout_seconds
            self._transaction = AttemptTransaction(self._tools.pool, self.access, statement_timeout_seconds=seconds)
            self._transaction.on_leave = self.lose_server
        return self._transaction

    def lose_server(self) -> None:
        """The server of the open transaction is not the primary any more, or does not answer."""

    def end(self, ending: Ending) -> None:
        """The handler has come to this ending, or is not waited for any longer."""
        if not self.lingers:
            self.give_slot_back()
        reach("attempt.ending")
        unwritten = self._progress is not None and self._progress.waits
        if self._transaction is None and not ending.store_away and not unwritten:
            self._end_loan()
            self._settle(ending)
        else:
            work = self._finish(ending)
            self._finishing = self._tools.loop.create_task(work)
            self._finishing.add_done_callback(self._finished)

    async def _finish(self, ending: Ending) -> Finish:
        if self._transaction is None:
            self._end_loan()
        if self._progress is not None:
            await self._progress.finish()
        if self._transaction is None:
            return Finish(await self._judge(ending, False) if ending.store_away else ending)
        return await finish(ending, self._transaction, self._tools, self._settlement, self._judge)

    async def _judge(self, ending: Ending, silent: bool) -> Ending:
        """Hand the task back, or charge it, after the attempt has lost its connection or says that a store is away."""
        outage = await self._tools.outages.seen_since(self._began)
        return hand_back(ending, self.claimed.counts, outage=outage, silent=silent)

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
            elif isinstance(answer, Locked):
                self._give_place_back()  # the other attempts do not wait for that row
                self._tools.settler.put_apart(self._settlement(self._ending), self._answered)
            else:
                self._replace(answer)
        except Exception as error:
            self.fail(error)

    def _replace(self, error: BaseException) -> None:
        """Postgres refuses the ending, or it could not even be sent: write a plain one instead."""
        if not self._is_plain:
            self._is_plain = True
            self._settle(replaced(self._ending, error))
            return
        # The ledger refuses to end this attempt at all (a role without rights, say). Nothing else may run it until that works.
        emit("loop.failed", loop="settle", task_id=self.claimed.claim.task_id, error=told(error))
        assert self._ending is not None, "the plain one"
        self._tools.loop.call_later(self._refused_seconds, self._settle, self._ending)
        self._refused_seconds = min(2 * self._refused_seconds, REFUSED_CAP_SECONDS)

    def _settled(self, settled: Settled | None) -> None:
        self._is_written = True
        claim = self.claimed.claim
        reach("settle.committed")
        self._give_place_back()
        if settled is None:
            # The delivery stays in our list. If we are closed, the reap is about to move it, to its lane if the task is PENDING
            # again; if not, it is a stray, and the sweep asks the ledger about it.
            emit("attempt.fenced", task_id=claim.task_id, attempt=claim.attempt, worker_id=claim.worker_id)
            self.leave()
            return
        self._report(settled)
        place: Place | Lane = settled.lane if settled.state is State.PENDING else Place.DONE  # to its head
        self._tools.releaser.put(self.claimed.queue, Release(claim.task_id, place), self.leave)

    def _settlement(self, ending: Ending) -> Settlement:
        tools, counts = self._tools, self.claimed.counts
        disposition = after(
            ending, counts, backoff=tools.backoff, max_crashes=tools.config.max_crashes, hand_backs=tools.hand_backs
        )
        return Settlement(self.claimed.claim, ending, disposition)

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
        if settled.state is State.FAILED:
            code = "" if ending.error is None else ending.error.code
            emit("task.failed", task_id=settled.task_id, type=claimed.type, queue=claimed.queue, code=code)

    def fail(self, error: BaseException) -> None:
        """A fault of this code, or of what it was given. The attempt comes to an ending all the same."""
        emit("loop.failed", loop="attempt", task_id=self.claimed.claim.task_id, error=told(error))
        if self._is_written:
            self._tools.releaser.failed.set()  # only its delivery is left: the sweep finds it
            self.leave()
        elif self._transaction is None or not self._transaction.is_open:
            self._end_plainly(error)
        else:
            self._finishing = self._tools.loop.create_task(self._transaction.abandon())
            self._finishing.add_done_callback(lambda _: self._end_plainly(error))

    def _end_plainly(self, error: BaseException) -> None:
        if not self.lingers:
            self.give_slot_back()
        self._end_loan()
        if self._ending is not None and self._ending.result is not None:
            self._ending = None  # the fault is not the result's
        try:
            self._replace(error)
        except Exception:  # the loop is being closed, say
            self.leave()

    def leave(self, _: object = None) -> None:
        """There is nothing more to do here."""
        self._end_loan()
        if self._holds_slot and not self.lingers:
            self.give_slot_back()
        if self._is_unsettled:
            self._give_place_back()
        self._tools.in_flight.remove(self._delivery)
        self._left(self)

    def _end_loan(self) -> None:
        if self.access is not None:
            self.access.end()
        if self._progress is not None:
            self._progress.close()

    def give_slot_back(self) -> None:
        """Its handler does not run any more, and left nothing behind. Heard once."""
        if self._holds_slot and self._leftovers is None:
            self._holds_slot = False
            self._tools.slots.give_back(lingered=self.lingers)

    def _give_place_back(self) -> None:
        """Its ending is written, or will not be, or is not to be waited for. Heard once."""
        if self._is_unsettled:
            self._is_unsettled = False
            self._tools.slots.settled()


def replaced(ending: Ending | None, error: BaseException) -> Ending:
    """The plain ending in place of one that Postgres refuses with this error."""
    if ending is None:
        return Ending(Outcome.ERRORED, error=plain("ending_unwritable", error))
    if ending.result is not None:
        # Raw JSON that is none, say: a retry cannot store what Postgres cannot store.
        return Ending(Outcome.ERRORED, error=plain("result_invalid", error), permanent=True)
    return replace(ending, error=plain("ending_unwritable", error))


__all__ = ["ClaimedAttempt"]
