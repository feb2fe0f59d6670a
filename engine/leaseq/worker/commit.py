"""How does an attempt end that has used its transaction?

Writes of the handler's transaction and the settle are one commit, if the handler succeeded; every other ending undoes the
transaction first, and is then written by itself. What Postgres did not answer is found out before anything else is said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import Struct

from leaseq.errors import Fenced, ServerUnreachable, TransactionEnded
from leaseq.model import Ending, Outcome, Settled, Settlement, TaskError
from leaseq.telemetry import emit
from leaseq.worker.execute import STORE_AWAY_DELAY
from leaseq.worker.tools import Tools
from leaseq.worker.transaction import AttemptTransaction

UNKNOWN_SECONDS = 1.0


class Finish(Struct, frozen=True):
    """The ending as it now is, and whether it was `written`: then `settled` is what became of it (None: fenced)."""

    ending: Ending
    written: bool = False
    settled: Settled | None = None


async def finish(
    ending: Ending,
    transaction: AttemptTransaction,
    tools: Tools,
    settlement: Callable[[Ending], Settlement],
) -> Finish:
    """Commit the transaction with the ending, or undo it. `settlement` says what is to be written of an ending."""
    if transaction.is_open and ending.outcome is Outcome.SUCCEEDED:
        done = await _commit(transaction, tools, settlement(ending), settlement)
        if done.written:
            return done
        ending = done.ending
    await transaction.abandon()
    if transaction.ended:
        # Part of it may be committed: to run the task again would be to commit that part again.
        ended = TransactionEnded()
        ending = Ending(Outcome.ERRORED, error=TaskError(ended.code, str(ended)), permanent=True)
    elif _robbed(transaction, ending):
        ending = Ending(Outcome.RELEASED, error=ending.error, delay=STORE_AWAY_DELAY)
    return Finish(ending)


async def _commit(
    transaction: AttemptTransaction, tools: Tools, settlement: Settlement, other: Callable[[Ending], Settlement]
) -> Finish:
    ending = settlement.ending
    try:
        return Finish(ending, True, await transaction.commit(tools.ledger, settlement))
    except Fenced:
        return Finish(ending, True)
    except ServerUnreachable as error:
        return await _resolve(tools, settlement, other, error)
    except Exception as error:  # a deferred constraint of the user's own tables speaks at COMMIT
        return Finish(Ending(Outcome.ERRORED, error=TaskError("commit_refused", str(error), type(error).__name__)))


async def _resolve(
    tools: Tools, settlement: Settlement, other: Callable[[Ending], Settlement], error: ServerUnreachable
) -> Finish:
    """A commit whose answer was lost. Handing the task back decides it: the fence lets that count only if the commit did
    not happen, and waits for it (the row is locked) if it is still happening."""
    lease = settlement.lease
    emit("attempt.ambiguous", task_id=lease.task_id, attempt=lease.attempt, error=str(error))
    back = Ending(Outcome.RELEASED, error=TaskError("server_unreachable", str(error)))
    settled = await tools.settler.settle(other(back))
    while settled is None:
        try:
            return Finish(settlement.ending, True, await tools.settler.find_ended(settlement))
        except ServerUnreachable:
            await asyncio.sleep(UNKNOWN_SECONDS)
    return Finish(back, True, settled)


def _robbed(transaction: AttemptTransaction, ending: Ending) -> bool:
    """Did Postgres go away under the handler, or keep it waiting for a connection until its time was over? That is not the
    handler's fault, and nothing of it was committed."""
    match ending.outcome:
        case Outcome.ERRORED:
            return transaction.broken
        case Outcome.TIMED_OUT:
            return transaction.broken or transaction.starved
    return False


__all__ = ["Finish", "finish"]
