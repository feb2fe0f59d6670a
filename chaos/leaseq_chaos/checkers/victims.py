"""The tasks that a fault hit, and the moment at which each of them went on.

Two kinds of faults. One strikes holders of work (`HOLDERS`; it tells the workers): its victims
were PROCESSING under one of these, and their time runs from the fault until the next claim or the
end of the task (from the heal, where there is no second worker to take over). The victims of all
others were PENDING or PROCESSING during the fault and had not gone on at its heal, and their time
runs from the heal until the next change of their state. Where an old server lives on, work has to
go on beside it: what comes while it lives and does not go on within a second is a victim, too, and
its time runs from its coming.

Not victims, because their time would measure something else: what settled itself before the fault
was complete; a slow or hanging handler that simply ran on to its end or time-out; poison, and
handlers that block; a task in a queue without a worker; a suspect that waits for the one slot of an
isolation child (docs/lifecycle.md), so that its time ends when it is back in its queue; or
SCHEDULED tasks that wait for their time. Invariant: what never went on is a victim until the end of
the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from leaseq.lifecycle import SUSPECT_CRASHES
from leaseq.model import Outcome, State
from leaseq_chaos.checkers.faults import Calendar, Fault
from leaseq_chaos.checkers.index import Index, Step, last_attempt, task_of

__all__ = ["HOLDERS", "Victim", "interrupts", "victims_of"]

# The faults that strike processes which hold work.
HOLDERS = frozenset({
    "kill-child", "kill-supervisor", "kill-worker", "freeze-child", "hang-child", "freeze-worker", "freeze-worker-briefly",
})  # fmt: skip

UNSERVED = "made-up-"  # how the names of queues begin that no worker serves for a while
HELD_UP_NS = 1_000_000_000
_NEVER = frozenset({"block", "segfault", "bomb"})  # task types that are a fault themselves
_LONG = frozenset({"slow", "hang"})  # task types that may run for longer than a recovery takes
# outcomes of attempts that did not end by themselves
_TAKEN = frozenset({Outcome.LOST, Outcome.RELEASED})


class Victim(Struct, frozen=True, gc=False):
    """One task and one fault."""

    fault: Fault
    task: str
    state: str  # when the fault came
    since: int
    until: int
    went_on: bool
    waits: bool  # for a free worker, at least in the end: others may be ahead of it

    @property
    def waited(self) -> int:
        return self.until - self.since


def interrupts(fault: Fault) -> bool:
    """Whether it can have victims. Submitting a poison task, which is all that such a fault does,
    has none."""
    return fault.told and not fault.nemesis.startswith("poison-")


def victims_of(found: Index, faults: Sequence[Fault]) -> Iterator[Victim]:
    """All victims of all faults."""
    calendar = Calendar(list(filter(interrupts, faults)), until=lambda fault: fault.hits_until)
    outcomes, run = _outcomes(found), found.evidence.run
    for task, steps in found.lives.items():
        kind = found.rows.get(task, {}).get("type", "")
        if kind in _NEVER or found.rows.get(task, {}).get("queue", "").startswith(UNSERVED):
            continue
        life = _Life(task, steps, outcomes, long=kind in _LONG, end=run.ended)
        for i, step in enumerate(steps):
            if step.state in (State.PENDING, State.PROCESSING):
                for fault in calendar.open_in(step.at, life.left(i)):
                    victim = life.victim(i, fault, several=run.workers > 1)
                    if victim is not None:
                        yield victim


def _outcomes(found: Index) -> dict[tuple[str, int], str]:
    """How attempts ended that did not succeed."""
    rows = [
        placed.commit.row
        for placed in found.tables.get("attempts", ())
        if placed.commit.verb != "delete"
    ]
    return {(task_of(row), last_attempt(row)): row.get("outcome", "") for row in rows}


class _Life:
    """The steps of one task, to be held against one fault after the other."""

    def __init__(
        self,
        task: str,
        steps: Sequence[Step],
        outcomes: Mapping[tuple[str, int], str],
        *,
        long: bool,
        end: int,
    ) -> None:
        self._task = task
        self._steps = steps
        self._long = long
        self._end = end
        self._outcomes = outcomes

    def left(self, i: int) -> int:
        """When it left this step."""
        return self._steps[i + 1].at if i + 1 < len(self._steps) else self._end

    def victim(self, i: int, fault: Fault, *, several: bool) -> Victim | None:
        """The effect of this fault on the task in this step, if any."""
        step, left = self._steps[i], self.left(i)
        ran_on = step.state == State.PROCESSING and self._by_itself(i)
        if ran_on and self._long:
            return None
        if fault.nemesis in HOLDERS:
            if step.worker not in fault.workers or (ran_on and left <= fault.struck):
                return None
            # A claim that was on its way when its worker was struck counts from its commit.
            since, claimed = (
                max(step.at, fault.began) if several else fault.ended,
                self._claimed_after(i),
            )
            until, waits = (left, False) if claimed is None else (claimed, True)
        else:
            if left <= fault.ended or (step.state == State.PENDING and self._suspect(i)):
                return None
            if step.at > fault.ended and left - step.at < HELD_UP_NS:
                return None
            since, until, waits = max(step.at, fault.ended), left, step.state == State.PENDING
        return Victim(
            fault, self._task, step.state, since, max(since, until), until < self._end, waits
        )

    def _by_itself(self, i: int) -> bool:
        """Did the attempt that ran here end by its own doing?"""
        if i + 1 == len(self._steps):
            return False
        return self._outcomes.get((self._task, self._steps[i].attempt)) not in _TAKEN

    def _claimed_after(self, i: int) -> int | None:
        """When the task that was PROCESSING here was claimed again. None: it ended, or waited for
        other reasons."""
        back = i + 1
        if (
            back < len(self._steps)
            and self._steps[back].state == State.PENDING
            and not self._suspect(back)
        ):
            return self.left(back)
        return None

    def _suspect(self, i: int) -> bool:
        """Was the task present at so many crashes by then that it has to run alone? (Since a
        redrive: it clears the counts.)"""
        losses = 0
        for step in self._steps[: i + 1]:
            if step.state in (State.FAILED, State.CANCELLED):
                losses = 0
            elif (
                step.state == State.PROCESSING
                and self._outcomes.get((self._task, step.attempt)) == Outcome.LOST
            ):
                losses += 1
        return losses >= SUSPECT_CRASHES
