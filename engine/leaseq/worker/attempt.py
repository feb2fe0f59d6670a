"""What happens to one claimed task, from its claim to its release?

The parent of execute, settle and release: it decides the order. Writes of the handler's transaction and the settle
are one commit; every other ending rolls that transaction back first and then goes through the settler.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import msgspec

from leaseq.backoff import Backoff
from leaseq.context import Context
from leaseq.errors import Fenced, ServerUnreachable, TransactionEnded
from leaseq.failpoints import reach
from leaseq.lifecycle import after, is_suspect
from leaseq.model import ClaimedTask, Ending, Outcome, Settled, Settlement, TaskError
from leaseq.registry import Handler
from leaseq.telemetry import emit
from leaseq.worker.body import Body
from leaseq.worker.execute import STORE_AWAY_DELAY, Call, Stop, execute, stopped
from leaseq.worker.hands import Hold
from leaseq.worker.tools import Tools
from leaseq.worker.transaction import AttemptTransaction, Scope

UNKNOWN_TYPE_DELAY = 5.0


class RunningAttempt:
    """One attempt of this worker. `run` takes it to its end; `stop` interrupts it."""

    def __init__(self, claimed: ClaimedTask, hold: Hold, tools: Tools) -> None:
        self.claimed = claimed
        self._hold = hold
        self._tools = tools
        self._stop: Stop | None = None
        self._body: Body | None = None
        self._transaction = AttemptTransaction(tools.pool)
        self._began = monotonic()

    # What the handler's context asks of us

    @property
    def stopping(self) -> bool:
        return self._stop is not None

    def transaction(self) -> Scope:
        return Scope(self._transaction, self._tools.loop)

    async def set_progress(self, value: Any) -> None:
        if not await self._tools.ledger.set_progress(self.claimed.lease, msgspec.json.encode(value)):
            raise Fenced

    # What the worker asks

    def stop(self, reason: Stop) -> None:
        """Interrupt the handler, or keep it from starting; its ending says why."""
        if self._stop is None:
            self._stop = reason
            if self._body is not None:
                self._body.interrupt()

    async def run(self) -> None:
        """Execute, settle, release. Slots and the in-hand register are given back whatever happens."""
        lease, slots = self.claimed.lease, self._tools.slots
        lingers = False
        try:
            try:
                ending, lingers = await self._execute()
            finally:
                if not lingers:
                    slots.give_back()
            reach("attempt.ending")
            ending, settled = await self._end(ending, lingers=lingers)
            reach("settle.committed")
            if settled is None:
                emit("attempt.fenced", task_id=lease.task_id, attempt=lease.attempt, worker_id=lease.worker_id)
                await self._tools.releaser.release(self.claimed.queue, lease.task_id)
            else:
                self._report(ending, settled)
                await self._tools.releaser.release_settled(settled)
        finally:
            slots.settled()
            self._tools.hands.drop(self._hold)

    async def _execute(self) -> tuple[Ending, bool]:
        """The ending, and whether the handler still runs after it."""
        handler = self._tools.registry.handlers.get(self.claimed.type)
        refusal = self._refuse(handler)
        if handler is None or refusal is not None:
            return refusal or _unknown_type(self.claimed.type), False
        reach("attempt.starting")
        emit("attempt.started", task_id=self.claimed.lease.task_id, attempt=self.claimed.lease.attempt)
        lingered = self._tools.slots.give_back
        call = Call(handler, Context(self.claimed, self), executor=self._tools.executor, lingered=lingered)
        self._body = Body(
            self._run(call),
            limit_seconds=self.claimed.timeout_seconds,
            overtime=lambda: self.stop(Stop.OVERTIME),
        )
        ending = await self._body.ending()
        if ending is not None:
            return ending, call.lingers
        self._body.when_over(lingered)
        emit("handler.overran", task_id=self.claimed.lease.task_id, type=self.claimed.type)
        interrupted = self._interrupted()
        assert interrupted is not None, "or it would have been waited for"
        return interrupted, True

    async def _run(self, call: Call) -> Ending:
        self._transaction.loan.begin()
        max_bytes = self._tools.config.result_max_bytes
        return await execute(call, self.claimed.payload, result_max_bytes=max_bytes, interrupted=self._interrupted)

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
            return Ending(Outcome.RELEASED, error=TaskError("isolated", "handed over, to run alone"))
        return _unknown_type(self.claimed.type) if handler is None else None

    async def _end(self, ending: Ending, *, lingers: bool) -> tuple[Ending, Settled | None]:
        """Write the ending: with the handler's transaction if it succeeded in one, else after undoing that."""
        if self._transaction.is_open and ending.outcome is Outcome.SUCCEEDED:
            ending, settled = await self._commit(ending)
            if settled is not None or ending.outcome is Outcome.SUCCEEDED:
                return ending, settled
        elif self._robbed(ending):
            ending = Ending(Outcome.RELEASED, error=ending.error, delay=STORE_AWAY_DELAY)
        await self._transaction.abandon(discard=lingers)
        try:
            return ending, await self._tools.settler.settle(self._settlement(ending))
        except Exception as error:
            if ending.result is None:
                raise
            # Raw JSON that is none, say: whatever Postgres cannot store, no retry can mend.
            ending = Ending(Outcome.ERRORED, error=TaskError("result_invalid", str(error)), permanent=True)
            return ending, await self._tools.settler.settle(self._settlement(ending))

    def _robbed(self, ending: Ending) -> bool:
        """Did Postgres go away under the handler, or keep it waiting for a connection until its time was over? That is not the
        handler's fault, and nothing of it was committed."""
        match ending.outcome:
            case Outcome.ERRORED:
                return self._transaction.broken
            case Outcome.TIMED_OUT:
                return self._transaction.broken or self._transaction.starved
        return False

    async def _commit(self, ending: Ending) -> tuple[Ending, Settled | None]:
        """Commit the handler's transaction. What is returned instead of success is to be settled by itself."""
        settlement = self._settlement(ending)
        try:
            return ending, await self._transaction.commit(self._tools.ledger, settlement)
        except Fenced:
            return ending, None
        except TransactionEnded as error:
            return Ending(Outcome.ERRORED, error=TaskError(error.code, str(error)), permanent=True), None
        except ServerUnreachable as error:
            return await self._resolve(settlement, error)
        except Exception as error:  # a deferred constraint of the user's own tables speaks at COMMIT
            return Ending(Outcome.ERRORED, error=TaskError("commit_refused", str(error), type(error).__name__)), None

    async def _resolve(self, settlement: Settlement, error: ServerUnreachable) -> tuple[Ending, Settled | None]:
        """A commit whose answer was lost. Handing the task back decides it: the fence lets that count only if the commit did
        not happen, and waits for it (the row is locked) if it is still happening."""
        lease = settlement.lease
        emit("attempt.ambiguous", task_id=lease.task_id, attempt=lease.attempt, error=str(error))
        back = Ending(Outcome.RELEASED, error=TaskError("server_unreachable", str(error)))
        settled = await self._tools.settler.settle(self._settlement(back))
        while settled is None:
            try:
                settled = await self._tools.settler.find_ended(settlement)
                return settlement.ending, settled
            except ServerUnreachable:
                await asyncio.sleep(1.0)
        return back, settled

    def _settlement(self, ending: Ending) -> Settlement:
        config = self._tools.config
        backoff = Backoff(config.backoff_base_seconds, config.backoff_cap_seconds)
        disposition = after(ending, self.claimed.counts, backoff=backoff, max_crashes=config.max_crashes)
        return Settlement(self.claimed.lease, ending, disposition)

    def _report(self, ending: Ending, settled: Settled) -> None:
        claimed = self.claimed
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


def _unknown_type(name: str) -> Ending:
    """A deploy may be in progress: another worker, or this one after its restart, will know the type."""
    said = f"no handler for {name!r} in this worker"
    return Ending(Outcome.RELEASED, error=TaskError("unknown_type", said), delay=UNKNOWN_TYPE_DELAY)


__all__ = ["RunningAttempt"]
