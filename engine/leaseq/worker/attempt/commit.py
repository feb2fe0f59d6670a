"""How does an attempt end that has used its transaction?

Writes of the handler's transaction and the settle are one commit, if the handler succeeded; every other ending undoes the
transaction first, and is then written by itself. What Postgres did not answer is found out before anything else is said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from msgspec import Struct

from leaseq.describe import MESSAGE_LIMIT, storable, text_of
from leaseq.errors import Fenced, ServerUnreachable, TransactionEnded
from leaseq.model import Ending, Outcome, Settled, Settlement, TaskError
from leaseq.telemetry import emit
from leaseq.worker.attempt.transaction import AttemptTransaction, sqlstate_of
from leaseq.worker.tools import Tools

UNKNOWN_SECONDS = 1.0
# The class of SQLSTATE in which Postgres undoes a transaction for the sake of another.
CONFLICT = "40"
# With these a session ends: a broken connection, an administrator, a time-out of the role.
ENDS_SESSIONS = ("08", "57P", "25P")
CONFLICTED = (
    "Postgres could not commit the transaction of the handler beside another that wrote the same rows (under an isolation "
    "stricter than `read committed` this may be the row of the task itself: ctx.set_progress or a request to cancel)"
)
# With these Postgres says that it is not this session which is at fault.
TOLD = frozenset({"AdminShutdown", "CrashShutdown", "CannotConnectNow"})
STARVED = TaskError("starved", "no connection for ctx.transaction() was free before the time of the attempt was over")

Judge = Callable[[Ending, bool], Awaitable[Ending]]


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
    judge: Judge,
) -> Finish:
    """Commit the transaction with the ending, or undo it. `settlement` says what is to be written of an ending, `judge` whether
    a connection that broke is charged."""
    if transaction.is_open and ending.outcome is Outcome.SUCCEEDED:
        done = await _commit(transaction, tools, settlement(ending), settlement, judge)
        if done.written:
            return done
        ending = done.ending
    await transaction.abandon()
    if transaction.ended:
        # Part of it may be committed: to run the task again would be to commit that part again.
        ended = TransactionEnded()
        ending = Ending(Outcome.ERRORED, error=TaskError(ended.code, str(ended)), permanent=True)
    elif ending.outcome is Outcome.TIMED_OUT and transaction.starved:
        ending = Ending(Outcome.RELEASED, error=STARVED, self_caused=True)
    elif ending.store_away or _broke(transaction, ending):
        told = ending.error is not None and ending.error.type in TOLD
        ending = await judge(ending, transaction.broken and not told and not transaction.told)
    return Finish(ending)


async def _commit(
    transaction: AttemptTransaction,
    tools: Tools,
    settlement: Settlement,
    other: Callable[[Ending], Settlement],
    judge: Judge,
) -> Finish:
    ending = settlement.ending
    try:
        return Finish(ending, True, await transaction.commit(tools.ledger, settlement))
    except Fenced:
        return Finish(ending, True)
    except ServerUnreachable as error:
        claim = settlement.claim
        emit("attempt.ambiguous", task_id=claim.task_id, attempt=claim.attempt, error=str(error))
        silent = not transaction.told and sqlstate_of(error) is None
        back = await judge(Ending(Outcome.ERRORED, error=_refusal(error)), silent)
        return await _resolve(tools, settlement, other(back), error)
    except Exception as error:  # a deferred constraint of the user's own tables speaks at COMMIT
        return Finish(Ending(Outcome.ERRORED, error=TaskError("commit_refused", _said(error), type(error).__name__)))


async def _resolve(tools: Tools, settlement: Settlement, back: Settlement, error: ServerUnreachable) -> Finish:
    """A commit whose answer was lost. Another ending decides it: the fence lets that count only if the commit did not happen, and
    waits for it (the row is locked) if it is still happening."""
    settled = await tools.settler.settle(back)
    while settled is None:
        try:
            return Finish(settlement.ending, True, await tools.settler.find_ended(settlement))
        except ServerUnreachable:
            await asyncio.sleep(UNKNOWN_SECONDS)
    return Finish(back.ending, True, settled)


def _refusal(error: ServerUnreachable) -> TaskError:
    """Why a commit did not come about."""
    if (sqlstate_of(error) or "").startswith(CONFLICT):
        cause = error.__cause__
        return TaskError("commit_refused", f"{CONFLICTED}: {_said(cause)}", type=type(cause).__name__)
    sqlstate = sqlstate_of(error) or "57P"
    code = error.code if sqlstate.startswith(ENDS_SESSIONS) else "commit_refused"
    return TaskError(code, _said(error))


def _said(error: BaseException | None) -> str:
    """The words of Postgres. Those of a trigger may be megabytes."""
    return "" if error is None else storable(text_of(error).strip(), MESSAGE_LIMIT)


def _broke(transaction: AttemptTransaction, ending: Ending) -> bool:
    """Whether the connection broke under a handler that did not itself say what is to follow.

    An abandoned connection did not break: Postgres answers, and a statement of this attempt does not end. That is charged.
    """
    if transaction.abandoned:
        return False
    if ending.outcome is Outcome.ERRORED:
        return transaction.broken and not ending.permanent and (ending.error is None or ending.error.code != "retry")
    return ending.outcome is Outcome.TIMED_OUT and transaction.broken


__all__ = ["Finish", "finish"]
