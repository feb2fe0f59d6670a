"""Corrupt good evidence by one small edit.

Each function changes one line of what `Story.evidence` returned; a line that does not exist is an
error in the test.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from leaseq_chaos.evidence import Commit, Evidence, Lane
from leaseq_chaos.history import Event, Kind
from support.valid_history import TICK


def row(evidence: Evidence, task: str, **changes: Any) -> dict[str, Any]:
    """The task in the snapshot, after some changes."""
    (found,) = [one for one in evidence.snapshot.tasks if one["task_id"] == task]
    found.update(changes)
    return found


def place(evidence: Evidence, task: str, state: str, nth: int = 0) -> int:
    """Where among the commits is the nth one that left the task in that state?"""
    wanted = ("tasks", task, state)
    fits = [
        at
        for at, one in enumerate(evidence.commits)
        if (one.table, one.row.get("task_id"), one.row.get("state")) == wanted
    ]
    return fits[nth]


def place_in(evidence: Evidence, table: str, task: str, nth: int = 0) -> int:
    """The same, in another table."""
    return [
        at
        for at, one in enumerate(evidence.commits)
        if one.table == table and one.row.get("task_id") == task
    ][nth]


def amend(
    evidence: Evidence, at: int, *, later: int = 0, alone: bool = False, **changes: Any
) -> None:
    """Change the row of one commit, or its time by so many nanoseconds, or make it a transaction of
    its own."""
    if alone:
        for after in range(at, len(evidence.commits)):
            one = evidence.commits[after]
            evidence.commits[after] = replace(one, lsn=one.lsn + 1 + (after > at))
    one = evidence.commits[at]
    evidence.commits[at] = replace(one, at=one.at + later, row=one.row | changes)


def append(
    evidence: Evidence,
    at: int,
    *,
    after: int | None = None,
    verb: str | None = None,
    **changes: Any,
) -> None:
    """Commit something again, with changes: at the end, or right after another place, in its
    transaction."""
    one, last = evidence.commits[at], evidence.commits[-1 if after is None else after]
    lsn = last.lsn + (after is None)
    again = Commit(lsn, lsn, last.at + TICK, one.table, verb or one.verb, one.row | changes)
    evidence.commits.insert(len(evidence.commits) if after is None else after + 1, again)


def event(evidence: Evidence, op: str, kind: Kind, nth: int = 0, **what: Any) -> int:
    """Where among the events is the nth one of that operation and kind, with that key, task or
    attempt?"""
    fits = [
        at
        for at, one in enumerate(evidence.events)
        if (one.op, one.kind) == (op, kind)
        and all(getattr(one, name) == value for name, value in what.items())
    ]
    return fits[nth]


def retell(evidence: Evidence, nth: int, **changes: Any) -> None:
    """Change one event."""
    evidence.events[nth] = replace(evidence.events[nth], **changes)


def ask(
    evidence: Evidence,
    op: str,
    kind: Kind,
    *,
    key: str | None = None,
    task: str | None = None,
    **about: Any,
) -> None:
    """One more operation by another process, at the end of the history or at `at`. `said` and
    `heard` are its values."""
    at = about.get("at", evidence.events[-1].at + TICK)
    process = about.get("process", "client-9")
    asked_for = task if op != "submit" else None
    evidence.events.append(
        Event(at, process, Kind.INVOKE, op, key, asked_for, value=about.get("said"))
    )
    evidence.events.append(
        Event(
            at + TICK // 2,
            process,
            kind,
            op,
            key,
            about.get("told", task),
            value=about.get("heard"),
        )
    )
    evidence.events.sort(key=lambda one: one.at)


def lane(evidence: Evidence, key: str, *members: str) -> None:
    """One more key of dispatch."""
    evidence.snapshot.dispatch.append(Lane(key, "list", len(members), list(members)))
