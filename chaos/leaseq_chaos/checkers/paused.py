"""Check that a paused queue starts no task (I20).

From the ledger's own order of commits: between the pausing of a queue and its resumption none of
its tasks is claimed, regardless of dispatch. A claim that was sent before may be committed
after it, within `LATE`; where Postgres was frozen, restarted, out of disk or locked before that was
over, within as much from the heal of that, and as long as a statement may wait.

The reconciler tells dispatch of a pause within about half a second, so this finds little in an
ordinary run: the mutant `paused-queue-claimed` is tried without it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from msgspec import Struct

from leaseq_chaos.checkers.answer import answer, milliseconds
from leaseq_chaos.checkers.faults import Fault, faults_of
from leaseq_chaos.checkers.index import LATE, Index, Step, index, no_commits
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.verdict import Finding, Violation

__all__ = ["check"]

INVARIANT = "Nothing of a queue that is paused is begun."

# The nemeses under which a claim may be under way for long.
_DELAYING = re.compile(
    r"(freeze|restart|fill|exhaust)-postgres|kill-backend|lock-tasks|failover-|lose-standby"
)
_STATEMENT_SECONDS = 5.0  # where the run does not say


class _Pause(Struct, frozen=True):
    """A queue, the place of its pausing among all commits and when that was, and the place of its
    resumption."""

    queue: str
    order: int
    at: int
    until: int


def check(evidence: Evidence) -> Finding:
    """Look at the claims of each queue within its pauses."""
    found = index(evidence)
    pauses = list(_pauses(found))
    delays = [fault for fault in faults_of(evidence) if _DELAYING.search(fault.nemesis)]
    within, late = 0, []
    for pause in pauses:
        latest = _latest(found, pause, delays)
        for task, step in _claims(found, pause):
            within += 1
            if step.at > latest:
                late.append(_violation(pause, task, step))
    return answer(
        "paused",
        INVARIANT,
        missing=no_commits(found),
        said=f"{within:,} claims were committed in {len(pauses):,} pauses"
        if pauses
        else "no queue was paused",
        violations=late,
        facts={"pauses": len(pauses), "claims that were under way": within - len(late)},
    )


def _pauses(found: Index) -> Iterator[_Pause]:
    """Each time a queue went from running to paused."""
    changes: dict[str, list[tuple[int, int, bool]]] = {}
    for placed in found.tables.get("queues", ()):
        row = placed.commit.row
        changes.setdefault(str(row["name"]), []).append(
            (placed.order, placed.commit.at, row["paused"] == "true")
        )
    end = len(found.evidence.commits)
    for queue, told in changes.items():
        for (_, _, was), (order, at, paused) in pairwise([(0, 0, False), *told]):
            if paused and not was:
                until = next(
                    (later for later, _, still in told if later > order and not still), end
                )
                yield _Pause(queue, order, at, until)


def _claims(found: Index, pause: _Pause) -> Iterator[tuple[str, Step]]:
    for task, steps in found.lives.items():
        if found.rows.get(task, {}).get("queue") == pause.queue:
            for step in steps:
                if step.state == "PROCESSING" and pause.order < step.order < pause.until:
                    yield task, step


def _latest(found: Index, pause: _Pause, delays: Sequence[Fault]) -> int:
    """Until when may a claim that was sent before the pause have been committed? `delays` in the
    order of their beginnings."""
    waits = float(
        found.evidence.run.config.get("LEASEQ_STATEMENT_TIMEOUT_SECONDS", _STATEMENT_SECONDS)
    )
    latest = pause.at + LATE
    for fault in delays:
        if fault.began <= latest and fault.ended >= pause.at - LATE:
            latest = max(latest, fault.ended + LATE + round(waits * 1e9))
    return latest


def _violation(pause: _Pause, task: str, step: Step) -> Violation:
    later = milliseconds(step.at - pause.at)
    return Violation(
        f"claimed by {step.worker}, {later} after its queue {pause.queue} was paused", task, step.at
    )
