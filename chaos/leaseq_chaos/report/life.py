"""The history of one task in the evidence, for the tasks of violations.

It has all evidence in the order of time: requests of clients and their answers, commits of the
ledger, events of handlers, the log lines that name the task, the lives of the workers that held it,
and the faults that were open meanwhile. It is written only for the tasks of violations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from leaseq_chaos.evidence import Commit, Evidence
from leaseq_chaos.history import Event
from leaseq_chaos.report.faults import Fault, clock, faults_of
from leaseq_chaos.report.mentions import Mentions
from leaseq_chaos.verdict import Finding

__all__ = ["Life", "Moment", "lives_of", "write_lives"]

MOST_LIVES = 50
MOST_FAULTS = 60  # of one life: one that never ended would list them all
# seconds before its first moment and after its last in which a fault or a worker's end still
# belongs to a life
ASIDE = 2.0
_BORING = {"event", "level", "timestamp", "pid", "task_id"}

_json = msgspec.json.Encoder()


class Moment(Struct, frozen=True):
    """One thing that happened."""

    at: float  # seconds from the beginning of the run
    source: str  # client, ledger, handler, fault, or the name of a service
    what: str
    open: tuple[str, ...] = ()  # the numbers of the faults that were open


class Life(Struct, frozen=True):
    """One task."""

    task: str
    about: str  # its type, and what it is now
    wrongs: list[str]  # the violations of the task
    began: float  # when it is first mentioned
    moments: list[Moment]

    def as_text(self) -> str:
        """For the terminal."""
        head = [f"task {self.task}", self.about, *(f"WRONG  {wrong}" for wrong in self.wrongs), ""]
        wide = max((len(moment.source) for moment in self.moments), default=0)
        lines = [
            f"{clock(moment.at, 3):>11}  {moment.source:<{wide}}  {moment.what}"
            + (f"  [{' '.join(moment.open)}]" * bool(moment.open))
            for moment in self.moments
        ]
        return "\n".join([*head, *lines, ""])


def write_lives(directory: Path, evidence: Evidence, findings: Sequence[Finding]) -> list[Life]:
    """Write `tasks/<id>.txt` for each task of a violation, at most fifty. Returns the written
    files."""
    lives = lives_of(evidence, findings)
    folder = directory / "tasks"
    for left in folder.glob("*.txt"):  # of an earlier judgement
        left.unlink()
    for life in lives:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{life.task}.txt").write_text(life.as_text(), encoding="utf-8")
    return lives


def lives_of(evidence: Evidence, findings: Sequence[Finding]) -> list[Life]:
    """The lives of the tasks that violations name, in the order in which they are named."""
    wrongs: dict[str, list[str]] = {}
    for finding in findings:
        for violation in finding.violations:
            if violation.task is not None and (
                violation.task in wrongs or len(wrongs) < MOST_LIVES
            ):
                wrongs.setdefault(violation.task, []).append(f"{finding.checker}: {violation.said}")
    if not wrongs:
        return []
    narrator = _Narrator(evidence, set(wrongs))
    return [narrator.tell(task, said) for task, said in wrongs.items()]


class _Narrator:
    """Has gathered what there is about some tasks."""

    def __init__(self, evidence: Evidence, tasks: set[str]) -> None:
        self._began = evidence.run.began
        self._mentions = Mentions(evidence, tasks)
        self._faults = faults_of(evidence)
        self._rows = {
            str(row["task_id"]): row
            for row in evidence.snapshot.tasks
            if str(row["task_id"]) in tasks
        }

    def tell(self, task: str, wrongs: list[str]) -> Life:
        """The life of one of them."""
        mentions = self._mentions
        own = [
            (self._since(event.at), _teller(event), _event(event))
            for event in mentions.events[task]
        ]
        own += [(self._since(at), "ledger", what) for at, what in _changes(mentions.commits[task])]
        own += [
            (self._since(heard.at), heard.service, _line(heard.said))
            for heard in mentions.logs[task]
        ]
        times = [at for at, _, _ in own] or [0.0]
        first, last = min(times) - ASIDE, max(times) + ASIDE
        ends = [
            (self._since(heard.at), heard.service, _line(heard.said))
            for heard in mentions.ends[task]
        ]
        around = [*ends, *_around(self._faults, first=first, last=last)]
        rows = sorted(
            [*own, *(row for row in around if first <= row[0] <= last)], key=lambda row: row[0]
        )
        moments = [Moment(at, source, what, _open(self._faults, at)) for at, source, what in rows]
        return Life(task, _about(self._rows.get(task)), wrongs, min(times), moments)

    def _since(self, at: int) -> float:
        return (at - self._began) / 1e9


def _about(row: dict[str, Any] | None) -> str:
    if row is None:
        return "not in the ledger at the end"
    return f"a {row.get('type')}; at the end {row.get('state')}, attempt {row.get('attempt')}"


def _teller(event: Event) -> str:
    return "handler" if event.process.startswith("handler") else event.process


def _event(event: Event) -> str:
    parts = [f"{event.op} {event.kind}"]
    if event.attempt is not None:
        parts.append(f"attempt {event.attempt}")
    if event.key is not None:
        parts.append(f"key {event.key}")
    if event.value is not None:
        parts.append(_json.encode(event.value).decode())
    return ", ".join(parts)


def _changes(commits: Iterable[Commit]) -> Iterator[tuple[int, str]]:
    """The changes of each commit in the row of the task, and its additions beside it."""
    before: dict[str, Any] = {}
    for commit in commits:
        row = {name: value for name, value in commit.row.items() if name != "task_id"}
        if commit.table == "tasks" and commit.verb == "update":
            said = ", ".join(
                f"{name} {_plain(before.get(name))} → {_plain(value)}"
                for name, value in row.items()
                if before.get(name) != value
            )
        else:
            said = ", ".join(
                f"{name} {_plain(value)}" for name, value in row.items() if value is not None
            )
        if commit.table == "tasks":
            before = row
        yield (
            commit.at,
            f"{commit.verb} {commit.table}: {said or 'nothing that is recorded'} (transaction {commit.xid})",
        )


def _line(said: dict[str, Any]) -> str:
    fields = ", ".join(
        f"{name} {_plain(value)}" for name, value in said.items() if name not in _BORING
    )
    return f"{said.get('event')}: {fields}" if fields else str(said.get("event"))


def _plain(value: Any) -> str:
    return (
        "none"
        if value is None
        else value
        if isinstance(value, str)
        else _json.encode(value).decode()
    )


def _around(faults: list[Fault], *, first: float, last: float) -> list[tuple[float, str, str]]:
    near = [fault for fault in faults if fault.began <= last and fault.ended >= first]
    rows = []
    for fault in near[:MOST_FAULTS]:
        rows.append(
            (
                fault.began,
                "fault",
                f"{fault.number} {fault.nemesis} at {fault.target or 'nothing in particular'}",
            )
        )
        if not fault.instant:
            rows.append(
                (fault.ended, "fault", f"{fault.number} {fault.nemesis} {fault.remark or 'healed'}")
            )
    if len(near) > MOST_FAULTS:
        rows.append(
            (near[MOST_FAULTS].began, "fault", f"{len(near) - MOST_FAULTS} more, not listed")
        )
    return rows


def _open(faults: list[Fault], at: float) -> tuple[str, ...]:
    return tuple(fault.number for fault in faults if fault.began <= at <= fault.ended)
