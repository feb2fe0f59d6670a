"""Failpoints: let a chaos run kill, stop or fail this process at a named point.

The points lie between two operations on the stores. In production a point costs one comparison. If
LEASEQ_CHAOS_FAILPOINTS is set, the file with the name of a point in that directory holds an action.
Invariant: a file acts once, in one process. The process that renames the file wins, and the new
name contains its pid.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from leaseq.errors import ServerUnreachable

VARIABLE = "LEASEQ_CHAOS_FAILPOINTS"

# docs/failpoints.md has the same table. Tests compare both with the places where the points are
# reached.
POINTS: dict[str, str] = {
    "submit.sending": "a batch of submissions is about to be written",
    "submit.sent": "the submissions are committed, the answer of Postgres is not taken in",
    "unique.judged": "the tasks that have the keys of unique submissions are read and judged, no key is taken",
    "unique.sent": "tasks with unique keys are committed, the answer of Postgres is not taken in",
    "submit.committed": "a submission is known to be committed, its delivery is not handed in for the push",
    "submit.answering": "a submission is committed and handed in for the push, the client has no answer",
    "push.sent": "deliveries are pushed, the answer of Redis is not taken in",
    "doorbell.moved": "BLMOVE has moved a delivery into the worker's list, the answer is not taken in",
    "pull.moved": "a pull has moved deliveries into the worker's list, the answer is not taken in",
    "claim.sending": "deliveries are in hand, the claim is not sent",
    "claim.sent": "the claim is committed, the answer is not taken in",
    "attempt.starting": "a task is claimed, its handler is not started",
    "transaction.open": "the handler's transaction is open, the handler has written nothing",
    "attempt.ending": "the handler is done, its ending is not written",
    "transaction.settled": "the ending is written in the handler's transaction, COMMIT is not sent",
    "commit.sent": "the handler's transaction is committed, the answer is not taken in",
    "settle.sending": "a batch of endings without a transaction is about to be written",
    "settle.sent": "the endings are committed, the answer is not taken in",
    "settle.committed": "an ending is known to be committed, its delivery is not released",
    "release.sent": "deliveries have left the worker's list, the answer is not taken in",
    "worker.recorded": "the ledger has a new worker, dispatch has no lease for it",
    "lease.opened": "a new worker is open in both stores, its child is not started",
    "beat.renewed": "leases are renewed, the children are not informed",
    "reap.closing": "a worker is considered dead, and is still open",
    "reap.closed": "the worker is closed, nothing of it is taken back",
    "reap.settled": "the attempts of a dead worker are settled as lost, its deliveries are still in its list",
    "reap.moved": "deliveries of a dead worker are back in their lanes, the worker is not forgotten",
    "promote.committed": "tasks are promoted, their deliveries are not pushed",
    "promote.sent": "the deliveries of promoted tasks are pushed, the pass is not over",
    "admit.committed": "tasks are admitted, their deliveries are not pushed",
    "admit.sent": "the deliveries of admitted tasks are pushed, their handoff is still there",
    "fire.read": "due schedules are read, nothing is fired",
    "fire.committed": "schedules are fired, their tasks are not pushed",
    "fire.sent": "the tasks of schedules are pushed, the pass is not over",
    "refill.announced": "deliveries of the next range of a backlog are taken again, the range is not read",
    "refill.read": "the next range of a backlog is read, none of it is pushed",
    "refill.pushed": "deliveries of a backlog are in their lane and the backlog begins behind them, the pass is not over",
    "reconcile.found": "stranded tasks are found, none is delivered again",
    "redeliver.sending": "a pass is about to push into one lane of several",
    "reconcile.pushed": "stranded tasks are delivered again, the scan has not gone on",
    "epoch.beginning": "a queue is seen to have no epoch, none is set",
    "operation.recorded": "an operation of a client or a person is recorded, and not begun",
    "operation.done": "an operation is done or refused, its outcome is not recorded",
    "bulk.acted": "a step of an operation on many tasks has changed its tasks, its transaction is not committed",
    "bulk.moved": "a step of an operation on many tasks is committed, the answer is not taken in",
    "failures.counted": "failed attempts are added to their groups, the answer is not taken in",
    "orphans.settled": "attempts without an owner are settled as lost, their tasks are not delivered again",
}

_directory = os.environ.get(VARIABLE)


def reach(point: str, *, lost: type[Exception] = ServerUnreachable) -> None:
    """Perform the action in the file of this point, if there is one.

    `lost` is the exception of a connection that breaks here: the operation before succeeded, and
    its answer was lost.
    """
    if _directory is not None:
        _act(Path(_directory), point, lost)


def _act(directory: Path, point: str, lost: type[Exception]) -> None:
    taken = directory / f"{point}.reached-{os.getpid()}"
    try:
        (directory / point).rename(taken)
    except FileNotFoundError:
        return
    match action := taken.read_text(encoding="utf-8").strip():
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)  # until the chaos run sends SIGCONT
        case "error":
            raise RuntimeError(f"failpoint {point}")
        case "lost":
            raise lost(f"failpoint {point}: the connection is lost")
        case _:
            raise ValueError(
                f"the file of failpoint {point} holds {action!r}, which is not kill, stop, error or lost"
            )


__all__ = ["POINTS", "VARIABLE", "reach"]
