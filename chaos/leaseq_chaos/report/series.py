"""Throughput, waiting tasks and latency, second by second.

Computed from the ledger's commits alone, in one walk. Buckets are one second, or as wide as it
takes to have no more than 1800 of them. Latencies stand at the moment of submission, so that a slow
minute is seen where it began; a task that was submitted for later has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from msgspec import Struct

from leaseq.model import TERMINAL, State
from leaseq_chaos.evidence import Commit, Evidence

__all__ = ["WAITING", "Band", "Series", "quantile", "series_of"]

MOST_BUCKETS = 1800
# the states of the backlog, from the bottom of the pile
WAITING = (State.PROCESSING, State.PENDING, State.SCHEDULED)


class Band(Struct, frozen=True):
    """A latency in seconds, bucket by bucket; None where nothing was submitted."""

    p50: list[float | None]
    p99: list[float | None]


class Series(Struct, frozen=True, kw_only=True):
    """All of them share the width of a bucket and their number."""

    seconds: float  # of one bucket
    submitted: list[float]  # per second
    ended: list[float]  # per second
    backlog: dict[State, list[int]]  # at the end of the bucket
    claimed: Band  # from submission to first claim
    finished: Band  # from submission to end


class _Walk:
    """The known state of every task at a commit."""

    def __init__(self, *, began: int, width: int, buckets: int) -> None:
        self._began, self._width, self._last = began, width, buckets - 1
        self._states: dict[str, State] = {}
        # when, of tasks that were due immediately and are not claimed, or not ended
        self._born: dict[str, int] = {}
        self._unclaimed: set[str] = set()
        self.submitted, self.ended = [0] * buckets, [0] * buckets
        self.changes = {state: [0] * buckets for state in WAITING}
        self.claimed: list[list[float]] = [[] for _ in range(buckets)]
        self.finished: list[list[float]] = [[] for _ in range(buckets)]

    def see(self, commit: Commit) -> None:
        """One change of a row of `tasks`."""
        task, bucket = str(commit.row["task_id"]), self._bucket(commit.at)
        before = self._states.pop(task, None)
        if before in self.changes:
            self.changes[before][bucket] -= 1
        if commit.verb == "delete":
            return
        state = State(commit.row["state"])
        self._states[task] = state
        if state in self.changes:
            self.changes[state][bucket] += 1
        if commit.verb == "insert":
            self.submitted[bucket] += 1
            if state is State.PENDING:
                self._born[task] = commit.at
                self._unclaimed.add(task)
        if state is State.PROCESSING and task in self._unclaimed:
            self._unclaimed.discard(task)
            self._took(self.claimed, task, commit.at)
        elif state in TERMINAL and before not in TERMINAL:
            self.ended[bucket] += 1
            # a claim that comes after all is a bug, and has to be drawn, too
            self._unclaimed.discard(task)
            if task in self._born:
                self._took(self.finished, task, commit.at)
                del self._born[task]

    def _took(self, lengths: list[list[float]], task: str, at: int) -> None:
        lengths[self._bucket(self._born[task])].append((at - self._born[task]) / 1e9)

    def _bucket(self, at: int) -> int:
        return min(max((at - self._began) // self._width, 0), self._last)


def series_of(evidence: Evidence) -> Series:
    """The series of a whole run."""
    run = evidence.run
    length = max(run.ended - run.began, 1) / 1e9
    seconds = ceil(length / MOST_BUCKETS)
    walk = _Walk(began=run.began, width=seconds * 1_000_000_000, buckets=ceil(length / seconds))
    for commit in evidence.commits:
        if commit.table == "tasks":
            walk.see(commit)
    return Series(
        seconds=seconds,
        submitted=[round(count / seconds, 2) for count in walk.submitted],
        ended=[round(count / seconds, 2) for count in walk.ended],
        backlog={state: _summed(changes) for state, changes in walk.changes.items()},
        claimed=_band(walk.claimed),
        finished=_band(walk.finished),
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value that this share of all does not exceed. Of a sequence in order, and not empty."""
    return ordered[max(ceil(share * len(ordered)) - 1, 0)]


def _summed(changes: list[int]) -> list[int]:
    total, sums = 0, []
    for change in changes:
        total += change
        sums.append(total)
    return sums


def _band(buckets: list[list[float]]) -> Band:
    ordered = [sorted(bucket) for bucket in buckets]
    return Band(
        [round(quantile(bucket, 0.5), 4) if bucket else None for bucket in ordered],
        [round(quantile(bucket, 0.99), 4) if bucket else None for bucket in ordered],
    )
