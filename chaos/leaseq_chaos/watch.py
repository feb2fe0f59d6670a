"""The live view of a run.

It tells from the commits as they arrive how many tasks are in each state, and which steps are
plainly wrong. It is for the terminal. The checkers judge afterwards, from all evidence.
"""

from __future__ import annotations

from collections import Counter

from leaseq.lifecycle import TRANSITIONS
from leaseq.model import State
from leaseq_chaos.evidence import Commit

__all__ = ["Watch"]

LEGAL = {(before, after) for before, _, after in TRANSITIONS}


class Watch:
    """Counts commits by what they mean."""

    def __init__(self) -> None:
        self.states: Counter[str] = Counter()
        self.violations: list[str] = []
        self._state: dict[str, str] = {}
        self._effects: set[str] = set()
        self._timeline = 1
        # Tasks of which a failover may have lost what we saw: their next state, and their effect,
        # are taken as they come.
        self._unsure: set[str] = set()
        self._unsure_effects: set[str] = set()

    def see(self, commit: Commit) -> None:
        """Take in one row change."""
        if commit.timeline < self._timeline:
            return  # of a former primary that could not be read before its successor
        if commit.timeline > self._timeline:
            self._timeline = commit.timeline
            self._unsure |= self._state.keys()
            self._unsure_effects |= self._effects
        if commit.table == "effects" and commit.verb == "insert":
            task = commit.row["task_id"]
            if task in self._effects and task not in self._unsure_effects:
                self.violations.append(f"task {task} has taken effect twice")
            self._effects.add(task)
        if commit.table != "tasks" or "state" not in commit.row:
            return
        task, state = commit.row["task_id"], commit.row["state"]
        before = self._state.get(task)
        if before == state:
            return
        # A row that a later primary updates and we never saw was created on a former one that could
        # not be read in time.
        late = before is None and commit.verb == "update" and commit.timeline > 1
        if task in self._unsure or late:
            self._unsure.discard(task)
        elif (None if before is None else State(before), State(state)) not in LEGAL:
            self.violations.append(f"task {task} went from {before} to {state}")
        self._state[task] = state
        self.states[state] += 1
        if before is not None:
            self.states[before] -= 1
