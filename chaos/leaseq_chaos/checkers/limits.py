"""Check that limits are kept, and that no permit leaks (I31 to I33).

From the ledger's own order of commits. After each transaction: no admission goes beyond the limit, or
beyond that of its key, as both were at this commit (I31). A task with a limit is PENDING or PROCESSING
exactly if its row has a permit (I32). Outside of faults, no line stands still for longer than a second
while there is room (I33). At the end no row is left, and no audit had anything to repair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from leaseq_chaos.checkers.answer import answer, milliseconds
from leaseq_chaos.checkers.faults import Calendar, faults_of
from leaseq_chaos.checkers.index import Index, index, no_commits
from leaseq_chaos.checkers.lines import Bounds, Line
from leaseq_chaos.evidence import Commit, Evidence
from leaseq_chaos.verdict import Finding, Violation

__all__ = ["check"]

INVARIANT = "No more tasks than a limit allows have a permit, a task runs exactly while it has one, and no line stands still."

STANDS_SECONDS = 1.0
# After a fault: a lease, the start of a process, and the first passes of a reaper.
AFTER_SECONDS = 6.0
RUNS = ("PENDING", "PROCESSING")


def check(evidence: Evidence) -> Finding:
    """Replay the rows of limits and of their tasks."""
    found = index(evidence)
    replay = _Replay(evidence)
    violations = list(replay.run()) if evidence.snapshot.limits is not None else []
    missing = no_commits(found)
    if missing is None and evidence.snapshot.limits is None:
        missing = "the limits were not read"
    return answer(
        "limits",
        INVARIANT,
        missing=missing,
        said=f"{replay.admissions:,} permits were given, of {len(replay.limited):,} tasks with a limit"
        if replay.limited
        else "no task had a limit",
        violations=[*violations, *_left(evidence), *_repaired(found)],
        facts={"permits given": replay.admissions, "tasks with a limit": len(replay.limited)},
    )


class _Replay:
    """The rows of `limited` and the bounds, after each transaction."""

    def __init__(self, evidence: Evidence) -> None:
        self._commits = evidence.commits
        changed = {row.row.get("id") for row in evidence.commits if row.table == "limits"}
        # The value at the end is that of the whole run where no commit has changed it.
        self._lines = {
            str(row["id"]): Line(Bounds(row["concurrency"], row["key_concurrency"]))
            for row in evidence.snapshot.limits or []
            if str(row["id"]) not in changed
        }
        self._rows: dict[str, dict[str, Any]] = {}
        self._states: dict[str, str] = {}
        self.limited: set[str] = set()
        self.admissions = 0
        self._stands = STANDS_SECONDS * max(1.0, evidence.run.slowness)
        self._calendar = Calendar(
            faults_of(evidence), until=lambda fault: fault.healed + round(AFTER_SECONDS * 1e9)
        )

    def run(self) -> Iterator[Violation]:
        for _, rows in groupby(self._commits, key=lambda commit: (commit.timeline, commit.lsn)):
            yield from self._transaction([*rows])

    def _transaction(self, rows: Sequence[Commit]) -> Iterator[Violation]:
        tasks: dict[str, None] = {}
        admitted: dict[str, list[tuple[str, str]]] = {}
        for commit in rows:
            match commit.table:
                case "limits":
                    self._bound(commit)
                case "limited":
                    task = str(commit.row["task_id"])
                    tasks[task] = None
                    if given := self._take(task, commit):
                        admitted.setdefault(given[0], []).append((given[1], task))
                case "tasks" if commit.verb == "delete":
                    self._states.pop(str(commit.row.get("task_id")), None)
                case "tasks" if commit.row.get("limit_name") is not None:
                    task = str(commit.row["task_id"])
                    tasks[task] = None
                    self.limited.add(task)
                    self._states[task] = str(commit.row["state"])
        if tasks or admitted:
            at = rows[0].at
            yield from self._over(admitted, at)
            yield from self._apart(tasks, at)
        if tasks or any(commit.table == "limits" for commit in rows):
            yield from self._stand(rows[0].at, moved=admitted.keys())

    def _bound(self, commit: Commit) -> None:
        if commit.verb != "delete":
            bounds = Bounds(commit.row["concurrency"], commit.row["key_concurrency"])
            self._lines.setdefault(str(commit.row["id"]), Line(bounds)).change(bounds)

    def _take(self, task: str, commit: Commit) -> tuple[str, str] | None:
        """Take in a row. Returns the limit and the key where it got a permit."""
        before = self._rows.pop(task, None)
        if before is not None:
            self._line(before).remove(_key(before), permit=_permit(before), due=_due(before))
        if commit.verb == "delete":
            return None
        self._rows[task] = commit.row
        self._line(commit.row).add(
            _key(commit.row), permit=_permit(commit.row), due=_due(commit.row)
        )
        if not _permit(commit.row) or (before is not None and _permit(before)):
            return None
        self.admissions += 1
        return str(commit.row["limit_id"]), _key(commit.row)

    def _line(self, row: dict[str, Any]) -> Line:
        return self._lines.setdefault(str(row["limit_id"]), Line(Bounds(None, None)))

    def _over(self, admitted: dict[str, list[tuple[str, str]]], at: int) -> Iterator[Violation]:
        for limit, given in admitted.items():
            line = self._lines[limit]
            most, each = line.bounds.concurrency, line.bounds.key_concurrency
            if most is not None and line.permits > most:
                said = f"limit {limit} of {most} has {line.permits} permits after this one"
                yield Violation(said, given[-1][1], at)
            for key, task in given:
                if each is not None and line.by_key[key] > each:
                    said = f"key {key!r} of limit {limit} has {line.by_key[key]} permits, and {each} is its limit"
                    yield Violation(said, task, at)

    def _apart(self, tasks: dict[str, None], at: int) -> Iterator[Violation]:
        """Tasks whose state and permit differ."""
        for task in tasks:
            state, row = self._states.get(task), self._rows.get(task)
            has = row is not None and _permit(row)
            if state in RUNS and not has:
                yield Violation(f"it is {state} and has no permit", task, at)
            elif state not in RUNS and has:
                yield Violation(f"it is {state or 'gone'} and has a permit", task, at)
            elif state == "SCHEDULED" and row is None:
                yield Violation("it is SCHEDULED and stands in no line", task, at)

    def _stand(self, at: int, *, moved: Sequence[str] | Any) -> Iterator[Violation]:
        for limit, line in self._lines.items():
            since = line.since
            if since is not None and at - since > self._stands * 1e9:
                line.since = at  # each stretch counts once
                if next(self._calendar.open_in(since, at), None) is None:
                    said = f"the line of limit {limit} stood still for {milliseconds(at - since)} with room"
                    yield Violation(said, None, since)
            if not line.has_room():
                line.since = None
            elif line.since is None or limit in moved:
                line.since = at


def _key(row: dict[str, Any]) -> str:
    return f"{row.get('tenant')}/{row.get('key')}"


def _permit(row: dict[str, Any]) -> bool:
    return row.get("admitted_at") is not None


def _due(row: dict[str, Any]) -> bool:
    return row.get("due") == "true" and not _permit(row)


def _left(evidence: Evidence) -> Iterator[Violation]:
    """Rows of `limited` at the end."""
    ended = {
        row["task_id"] for row in evidence.snapshot.tasks if row.get("finished_at") is not None
    }
    known = {row["task_id"] for row in evidence.snapshot.tasks}
    for row in evidence.snapshot.limited or []:
        if row["task_id"] in ended or row["task_id"] not in known:
            kept = "a permit" if row["admitted"] else "a place in a line"
            yield Violation(f"it has ended, and has {kept}", row["task_id"])


def _repaired(found: Index) -> Iterator[Violation]:
    """Repairs of the audit. Only a process of an older version may make one necessary."""
    if any(fault.nemesis == "mixed-versions" for fault in faults_of(found.evidence)):
        return
    for heard in found.evidence.logs:
        if heard.said.get("event") == "limit.repaired":
            yield Violation("an audit had to repair its row", heard.said.get("task_id"), heard.at)
