"""The commits that failovers have lost, which checkers must excuse.

The authority is the log of the old primary beyond the position at which the new one left it
(`Evidence.lost`). The loss of an acknowledged commit is excused only where no standby was waited
for: with a synchronous one, `accepted`, `keys` and `cancel` excuse nothing. Observations of
handlers and readers on the old primary are excused in both cases, since a statement need not be
acknowledged to be seen there. Invariant: only tasks with a lost commit of the kind in question are
excused, and, for reads, only while an old primary could still be asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from leaseq_chaos.checkers.faults import Fault, faults_of
from leaseq_chaos.evidence import Commit, Evidence

__all__ = ["FAILOVERS", "Lost", "Old", "lost_of"]

FAILOVERS = frozenset({
    "failover-postgres", "failover-postgres-sync", "failover-frozen-postgres", "failover-killed-postgres",
    "failover-readonly-postgres",
})  # fmt: skip

Version = tuple[str, int]  # state and attempt of a task


class Old(Struct, frozen=True):
    """The time in which a former primary could still be asked for what its successor does not
    have."""

    timeline: int
    branched: int  # the position at which its successor left it
    # of its first commit that was lost, or when its successor may have taken its first write
    began: int
    ended: int  # when its last session had ended


class Lost(Struct, frozen=True):
    """The commits that no successor has."""

    created: frozenset[str] = frozenset()  # tasks whose creation an asynchronous failover lost
    # tasks of which it lost a cancellation, or the request for one
    cancelled: frozenset[str] = frozenset()
    # (task, attempt) claimed on an old primary alone
    claims: frozenset[tuple[str, int]] = frozenset()
    # (task, attempt) that ended on an old primary alone, and start once more
    endings: frozenset[tuple[str, int]] = frozenset()
    # (task, state, attempt) of versions on an old primary alone
    seen: frozenset[tuple[str, str, int]] = frozenset()
    touched: frozenset[str] = frozenset()  # tasks with any of these
    old: tuple[Old, ...] = ()

    def asked(self, began: int, ended: int | None) -> Old | None:
        """The former primary that could be asked at some moment from `began` to `ended`, if there
        was one."""
        for old in self.old:
            if began <= old.ended and (ended is None or ended >= old.began):
                return old
        return None


def lost_of(evidence: Evidence) -> Lost:
    """Sort the lost commits by what they excuse."""
    faults = {
        fault.detail.get("timeline"): fault
        for fault in faults_of(evidence)
        if fault.nemesis in FAILOVERS
    }
    if not faults:
        return Lost()
    waited = {timeline for timeline, fault in faults.items() if fault.detail.get("synchronous")}
    tasks = [commit for commit in evidence.lost if commit.table == "tasks"]
    unpromised = [commit for commit in tasks if commit.timeline not in waited]
    return Lost(
        created=frozenset(_task(commit) for commit in unpromised if commit.verb == "insert"),
        cancelled=frozenset(
            _task(commit)
            for commit in unpromised
            if commit.row.get("cancel_requested_at") is not None
        ),
        endings=frozenset(
            (_task(commit), int(commit.row["attempt"])) for commit in tasks if _ends(commit)
        ),
        claims=frozenset(
            (_task(commit), int(commit.row["attempt"])) for commit in tasks if _claims(commit)
        ),
        seen=frozenset(
            (_task(commit), str(commit.row["state"]), int(commit.row["attempt"]))
            for commit in tasks
            if commit.verb != "delete"
        ),
        touched=frozenset(map(_task, tasks)),
        old=_old(faults.values(), _first_lost(evidence.lost)),
    )


def _first_lost(commits: Iterable[Commit]) -> dict[int, int]:
    """When each former primary made its first commit that was lost: before the promotion, where the
    standby was behind."""
    first: dict[int, int] = {}
    for commit in commits:
        first[commit.timeline] = min(commit.at, first.get(commit.timeline, commit.at))
    return first


def _old(faults: Iterable[Fault], first_lost: Mapping[int, int]) -> tuple[Old, ...]:
    return tuple(
        Old(
            int(fault.detail["timeline"]),
            int(fault.detail["branched"]),
            min(
                int(fault.detail.get("promoted", fault.began)),
                first_lost.get(int(fault.detail["timeline"]), fault.healed),
            ),
            fault.healed,
        )
        for fault in faults
        if "branched" in fault.detail
    )


def _claims(commit: Commit) -> bool:
    return commit.row.get("state") == "PROCESSING"


def _ends(commit: Commit) -> bool:
    return commit.verb == "update" and commit.row.get("state") != "PROCESSING"


def _task(commit: Commit) -> str:
    return str(commit.row.get("task_id") or commit.row.get("id") or "")
