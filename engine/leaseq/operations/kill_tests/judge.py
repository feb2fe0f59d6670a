"""Compare what happened in a kill test with the promises of leaseq.

A pure function of the test and of the facts in the ledger. A check that cannot be decided yet has no
answer, and then the verdict is `not finished`. A test during which nothing was interrupted shows
nothing, and its verdict says that.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from msgspec import Struct

from leaseq.model import TERMINAL, AttemptRecord, Outcome
from leaseq.operations.kill_tests.facts import KillTestFacts
from leaseq.operations.kill_tests.protocol import OF_A_WORKER, KillTest, TaskBefore

Verdict = Literal["kept", "broken", "not finished", "shows nothing", "not carried out"]

# G5 (docs/guarantees.md): a killed worker process on a living host, and a lost host beyond its lease.
KILLED_SECONDS = 1.0
LOST_SECONDS = 2.0
TAKEN_BACK = frozenset({Outcome.LOST, Outcome.RELEASED})


class Check(Struct, frozen=True):
    """One promise in numbers. `kept`: None: not known yet."""

    what: str
    promised: str
    found: str
    kept: bool | None


class Judgement(Struct, frozen=True):
    """The verdict and its reasons. `notes`: numbers about which nothing is promised."""

    verdict: Verdict
    checks: list[Check]
    notes: list[str]


def judge(test: KillTest, facts: KillTestFacts, *, lease_seconds: float) -> Judgement:
    """The verdict on a test, as far as it is known at `facts.now`."""
    if test.failed is not None:
        return Judgement("not carried out", [], [test.failed])
    if test.began_at is None:
        return Judgement("not finished", [], [])
    look = _Look(test, facts, test.began_at, lease_seconds)
    checks = [*(look.of_a_worker() if test.kind in OF_A_WORKER else look.of_a_server())]
    notes = [*look.notes()]
    if test.ended_at is None or any(check.kept is None for check in checks):
        unfinished = not any(check.kept is False for check in checks)
        return Judgement("not finished" if unfinished else "broken", checks, notes)
    if not all(check.kept for check in checks):
        return Judgement("broken", checks, notes)
    return Judgement("kept" if look.shows_something() else "shows nothing", checks, notes)


class _Look:
    """One look at a test that has begun."""

    def __init__(
        self, test: KillTest, facts: KillTestFacts, began: datetime, lease_seconds: float
    ) -> None:
        self._test = test
        self._facts = facts
        self._began = began
        self._lease = lease_seconds
        self._running = [task for task in test.tasks if task.running]
        self._waiting = [task for task in test.tasks if not task.running]

    def of_a_worker(self) -> Iterator[Check]:
        """A worker process was killed or frozen, while it ran tasks."""
        frozen = self._test.kind == "freeze-worker"
        bound = self._lease + LOST_SECONDS if frozen else KILLED_SECONDS
        taken = [self._taken_back_at(task) for task in self._held()]
        yield self._within("Its tasks were taken back", taken, bound)
        again = [self._next_start(task) for task in self._interrupted()]
        if self._test.alone:
            found = self._latest(again)
            kept = None if None in again or None in taken else True
            yield Check("They ran again", "with the next worker process", found, kept)
        else:
            yield self._within("They ran again", again if None not in taken else [None], bound)
        yield self._unchanged()

    def of_a_server(self) -> Iterator[Check]:
        """Redis or Postgres was emptied, stopped or restarted."""
        total, found = len(self._test.tasks), len(self._facts.tasks)
        yield Check(
            "Accepted tasks that are still there", f"{total}", f"{found}", kept=found == total
        )
        twice = [task for task in self._running if self._record(task, TAKEN_BACK) is not None]
        yield Check(
            f"Of {len(self._running)} running attempts, those that were run twice",
            "0",
            f"{len(twice)}",
            kept=False if twice else True if self._has_settled() else None,
        )
        if self._waiting:
            begun = [at for task in self._waiting if (at := self._next_start(task)) is not None]
            later = sorted(at for at in begun if at >= self._began)
            done = later or len(begun) == len(self._waiting)
            yield Check(
                f"Of {len(self._waiting)} waiting tasks, the first ran",
                "without a person",
                self._after(later[0]) if later else "not yet" if not done else "before the fault",
                kept=True if done else None,
            )

    def notes(self) -> Iterator[str]:
        """Numbers about which nothing is promised."""
        ended = sum(1 for task in self._facts.tasks.values() if task.state in TERMINAL)
        yield f"{ended} of {len(self._test.tasks)} tasks have ended since."
        if self._test.kind in OF_A_WORKER:
            yield f"{self._facts.refused} endings of the shown task were refused by its fence."
        if self._test.ended_at is not None and self._test.kind != "kill-worker":
            yield f"The fault lasted for {(self._test.ended_at - self._began).total_seconds():.1f} s."

    def shows_something(self) -> bool:
        """Whether the fault met work."""
        of_a_worker = self._test.kind in OF_A_WORKER
        return bool(self._interrupted() if of_a_worker else self._test.tasks)

    def _held(self) -> list[TaskBefore]:
        """The tasks whose attempt had not ended when the worker was hit."""
        return [task for task in self._running if not self._had_ended(task)]

    def _interrupted(self) -> list[TaskBefore]:
        return [task for task in self._running if self._record(task, TAKEN_BACK) is not None]

    def _ended_at(self, task: TaskBefore) -> datetime | None:
        """When the attempt ended by its worker. None: it was taken back, or runs."""
        if self._record(task, TAKEN_BACK) is not None:
            return None
        if (record := self._record(task, frozenset(Outcome))) is not None:
            return record.finished_at
        now = self._facts.tasks.get(task.task_id)
        ended = now is not None and now.attempt == task.attempt and now.state in TERMINAL
        return now.finished_at if now is not None and ended else None

    def _had_ended(self, task: TaskBefore) -> bool:
        """Whether the attempt ended before its worker was hit. The commit of a killed worker may
        arrive a moment after its death."""
        at = self._ended_at(task)
        return at is not None and (at - self._began).total_seconds() < KILLED_SECONDS

    def _taken_back_at(self, task: TaskBefore) -> datetime | None:
        record = self._record(task, TAKEN_BACK)
        return None if record is None else record.finished_at

    def _next_start(self, task: TaskBefore) -> datetime | None:
        """When the next attempt began. None: it has not, or the task ended without one."""
        for record in self._facts.ends.get(task.task_id, []):
            if record.attempt > task.attempt:
                return record.started_at
        now = self._facts.tasks.get(task.task_id)
        return now.started_at if now is not None and now.attempt > task.attempt else None

    def _unchanged(self) -> Check:
        """No ending under the old fence counts, once the task was taken back."""
        wrong = 0
        for task in self._interrupted():
            now = self._facts.tasks.get(task.task_id)
            records = self._facts.ends.get(task.task_id, [])
            endings = sum(1 for record in records if record.attempt <= task.attempt <= record.last)
            ended = now is not None and now.attempt == task.attempt and now.state in TERMINAL
            wrong += ended or endings > 1
        frozen = self._test.ended_at is None
        return Check(
            "Endings that the old attempts wrote afterwards",
            "0",
            f"{wrong}",
            kept=False if wrong else None if frozen else True,
        )

    def _has_settled(self) -> bool:
        """Whether a needless second run would have been seen by now: a lease has passed, or no
        attempt is left that could be taken back."""
        if self._test.ended_at is None:
            return False
        passed = (self._facts.now - self._test.ended_at).total_seconds()
        ended = all(self._ended_at(task) is not None for task in self._running)
        return ended or passed > self._lease + LOST_SECONDS

    def _record(self, task: TaskBefore, outcomes: frozenset[Outcome]) -> AttemptRecord | None:
        """The record of the attempt that ran before the fault."""
        for record in self._facts.ends.get(task.task_id, []):
            if record.attempt <= task.attempt <= record.last and record.outcome in outcomes:
                return record
        return None

    def _within(self, what: str, moments: list[datetime | None], bound: float) -> Check:
        def passed(at: datetime) -> float:
            return (at - self._began).total_seconds()

        late = any(passed(at) > bound for at in moments if at is not None)
        missing = None in moments
        overdue = missing and passed(self._facts.now) > bound
        kept = False if late or overdue else None if missing else True
        return Check(what, f"within {bound:g} s", self._latest(moments), kept)

    def _latest(self, moments: list[datetime | None]) -> str:
        known = [at for at in moments if at is not None]
        if not moments:
            return "there were none"
        if not known:
            return "not yet"
        text = self._after(max(known))
        left = len(moments) - len(known)
        return f"{text}, {left} not yet" if left else text

    def _after(self, moment: datetime) -> str:
        return f"after {max((moment - self._began).total_seconds(), 0.0):.2f} s"


__all__ = ["Check", "Judgement", "Verdict", "judge"]
