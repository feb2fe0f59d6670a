"""The longest time of a wait in which nothing could excuse it.

A wait is walked through once, from its beginning, for all tasks that share it. Pauses interrupt it:
times in which something else was broken, in which no worker was there to take anything, or moments
at which the line moved. The longest time between two pauses has no excuse.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from leaseq_chaos.checkers.faults import Fault
from leaseq_chaos.evidence import Evidence

__all__ = ["Pause", "Standstill", "workerless"]

Pause = tuple[int, int]  # from, to

# The events of a worker, or of its supervisor, after which it takes no more tasks.
_GONE = frozenset({
    "worker.draining", "worker.closed", "worker.fenced", "worker.reaped", "child.stalled", "child.died", "child.exited",
    "supervisor.lost",
})  # fmt: skip


class Standstill:
    """One wait, beginning at `since`."""

    def __init__(self, since: int, pauses: Iterable[Pause]) -> None:
        self._since = since
        self._begins: list[int] = []
        self._ends: list[int] = []  # when the last of the pauses up to this one was over
        self._longest: list[int] = []  # the longest time between pauses up to this one
        at, longest = since, 0
        for began, ended in sorted(pauses):
            longest, at = max(longest, began - at), max(at, ended)
            self._begins.append(began)
            self._ends.append(at)
            self._longest.append(longest)

    def until(self, until: int) -> int:
        """The longest time without a pause in a wait that ends then."""
        i = bisect_left(self._begins, until) - 1
        return until - self._since if i < 0 else max(self._longest[i], until - self._ends[i])


def workerless(evidence: Evidence, faults: Iterable[Fault]) -> list[Pause]:
    """The times without a worker that serves all queues. Empty if the services did not report their
    times."""
    began: dict[str, int] = {}
    gone: dict[str, int] = {}
    for heard in evidence.logs:
        event, worker = heard.said.get("event"), heard.said.get("worker_id", "")
        if event == "worker.opened" and not heard.said.get("isolated"):
            began[worker] = heard.at
        elif event in _GONE:
            gone[worker] = min(heard.at, gone.get(worker, heard.at))
    for fault in faults:
        if "kill" in fault.nemesis:
            gone |= {
                worker: min(fault.began, gone.get(worker, fault.began)) for worker in fault.workers
            }
    if not began:
        return []
    changes = [(at, 1) for at in began.values()] + [
        (max(began[worker], at), -1) for worker, at in gone.items() if worker in began
    ]
    pauses, up, since = [], 0, evidence.run.began
    for at, change in sorted(changes, key=lambda pair: (pair[0], -pair[1])):
        if up == 0 and at > since:
            pauses.append((since, at))
        up += change
        since = at
    return [*pauses, (since, evidence.run.ended)] if up == 0 else pauses
