"""End an attempt that has used its transaction.

If the handler succeeded, the writes of its transaction and the settle are one commit. For every
other ending the transaction is undone first, and the ending is then written separately.

Invariant: if Postgres does not answer a commit, its effect is found out before anything else is
reported.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from msgspec import Struct

from leaseq.errors import Fenced, ServerUnreachable, TransactionEnded
from leaseq.ledger.tasks import TaskLedger
from leaseq.loop import Pauses, Retries, retry
from leaseq.model import Ending, Outcome, Settled, Settlement, TaskError
from leaseq.observability.telemetry import emit
from leaseq.safe_text.exceptions import MESSAGE_LIMIT, storable, text_of
from leaseq.worker.attempt.settle import Settler
from leaseq.worker.attempt.transaction import AttemptTransaction, sqlstate_of

UNKNOWN_PAUSES = Pauses(1.0)
# The class of SQLSTATE in which Postgres undoes a transaction for the sake of another.
CONFLICT = "40"
# With these a session ends: a broken connection, an administrator, a time-out of the role.
ENDS_SESSIONS = ("08", "57P", "25P")
CONFLICTED = (
    "Postgres could not commit the transaction of the handler beside another that wrote the same rows (under an isolation "
    "stricter than `read committed` this may be the row of the task itself: ctx.set_progress or a request to cancel)"
)
# With these Postgres reports that this session is not at fault.
EXCULPATING = frozenset({"AdminShutdown", "CrashShutdown", "CannotConnectNow"})
STARVED = TaskError(
    "starved",
    "no connection for ctx.transaction() was free before the time of the attempt was over",
)

# The settlement for an ending.
Decide = Callable[[Ending], Settlement]
# The ending of an attempt whose connection broke: a hand-back, or a charge. The bool: Postgres sent
# no message.
Charge = Callable[[Ending, bool], Awaitable[Ending]]


class Committed(Struct, frozen=True):
    """The ending as it is now. If it is `written`, `settled` tells what became of it (None:
    fenced)."""

    ending: Ending
    written: bool = False
    settled: Settled | None = None


class Committer:
    """Commits or undoes the transactions of one worker's attempts."""

    def __init__(self, ledger: TaskLedger, settler: Settler) -> None:
        self._ledger = ledger
        self._settler = settler

    async def finish(
        self, ending: Ending, transaction: AttemptTransaction, *, settlement: Decide, charge: Charge
    ) -> Committed:
        """Commit the transaction with the ending, or undo it."""
        if transaction.is_open and ending.outcome is Outcome.SUCCEEDED:
            committed = await self._commit(transaction, ending, settlement, charge)
            if committed.written:
                return committed
            ending = committed.ending
        await transaction.abandon()
        if transaction.ended:
            # Part of it may be committed: another run of the task would commit that part again.
            ended = TransactionEnded()
            ending = Ending(
                Outcome.ERRORED, error=TaskError(ended.code, str(ended)), permanent=True
            )
        elif ending.outcome is Outcome.TIMED_OUT and transaction.starved:
            ending = Ending(Outcome.RELEASED, error=STARVED, self_caused=True)
        elif ending.store_away or _broke(transaction, ending):
            exculpated = ending.error is not None and ending.error.type in EXCULPATING
            ending = await charge(
                ending, transaction.broken and not exculpated and not transaction.crashed_elsewhere
            )
        return Committed(ending)

    async def _commit(
        self, transaction: AttemptTransaction, ending: Ending, settlement: Decide, charge: Charge
    ) -> Committed:
        success = settlement(ending)
        try:
            settled = await transaction.commit(self._ledger, success)
            if settled.limit is not None:
                self._ledger.on_freed([settled.limit])
            return Committed(ending, True, settled)
        except Fenced:
            return Committed(ending, True)
        except ServerUnreachable as error:
            claim = success.claim
            emit(
                "attempt.ambiguous", task_id=claim.task_id, attempt=claim.attempt, error=str(error)
            )
            silent = not transaction.crashed_elsewhere and sqlstate_of(error) is None
            failure = await charge(Ending(Outcome.ERRORED, error=_refusal(error)), silent)
            return await self._resolve_unknown_commit(success, settlement(failure))
        except (
            Exception
        ) as error:  # a deferred constraint of the user's own tables is checked at COMMIT
            return Committed(
                Ending(
                    Outcome.ERRORED,
                    error=TaskError("commit_refused", _message(error), type(error).__name__),
                )
            )

    async def _resolve_unknown_commit(self, success: Settlement, failure: Settlement) -> Committed:
        """Find out whether a commit whose answer was lost has happened.

        Another ending of the same attempt decides it. The fence lets that ending count only if the
        commit did not happen. If the commit is still happening, that ending waits for it, since the
        row is locked.
        """
        settled = await self._settler.settle(failure)
        if settled is None:
            find = partial(self._settler.find_ended, success)
            return Committed(success.ending, True, await retry(find, Retries(UNKNOWN_PAUSES)))
        return Committed(failure.ending, True, settled)


def _refusal(error: ServerUnreachable) -> TaskError:
    """The error of a commit that did not happen."""
    if (sqlstate_of(error) or "").startswith(CONFLICT):
        cause = error.__cause__
        return TaskError(
            "commit_refused", f"{CONFLICTED}: {_message(cause)}", type=type(cause).__name__
        )
    sqlstate = sqlstate_of(error) or "57P"
    code = error.code if sqlstate.startswith(ENDS_SESSIONS) else "commit_refused"
    return TaskError(code, _message(error))


def _message(error: BaseException | None) -> str:
    """The message of Postgres, cut: that of a trigger may be megabytes."""
    return "" if error is None else storable(text_of(error).strip(), MESSAGE_LIMIT)


def _broke(transaction: AttemptTransaction, ending: Ending) -> bool:
    """Whether the connection broke under a handler that did not itself decide what follows.

    An abandoned connection did not break: Postgres answers, and a statement of this attempt does
    not end. That is charged.
    """
    if transaction.abandoned:
        return False
    if ending.outcome is Outcome.ERRORED:
        return (
            transaction.broken
            and not ending.permanent
            and (ending.error is None or ending.error.code != "retry")
        )
    return ending.outcome is Outcome.TIMED_OUT and transaction.broken


__all__ = ["Committed", "Committer"]
