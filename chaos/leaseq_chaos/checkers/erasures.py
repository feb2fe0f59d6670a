"""Check that erased tasks leave no content, and freed keys let one task in (I27).

After the drain an operator erases tasks that have lived through the faults of the run, and frees
keys. The payloads of these tasks have a mark, which their handlers repeat in progress, results and
errors. No table of the ledger holds the mark of an erased task afterwards. The marks of tasks that
were not erased have to be found, or the search proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from leaseq_chaos.checkers.answer import answer
from leaseq_chaos.checkers.index import ENDED, index
from leaseq_chaos.evidence import Erased, Evidence, Tombstones
from leaseq_chaos.history import Event, Kind
from leaseq_chaos.verdict import Finding, Violation

__all__ = ["check"]

INVARIANT = "Nothing of an erased task is left, a freed key lets one new task in, and an unfinished task keeps both."
REFUSED = "task_conflict"
# The name of the request in the history, and that of the operation in the ledger.
ACTIONS = {"erase": "erase", "free-key": "free_key"}


def check(evidence: Evidence) -> Finding:
    """Compare the requests of the operator with the rows that are left."""
    left, found = evidence.tombstones, index(evidence)
    events = {
        op: [event for event in found.remarks.get(op, []) if event.kind is not Kind.INVOKE]
        for op in (*ACTIONS, "resubmit")
    }
    granted = {
        op: {event.task for event in events[op] if event.kind is Kind.OK and event.task}
        for op in ACTIONS
    }
    said = (
        f"{len(granted['erase']):,} tasks were erased and {len(granted['free-key']):,} keys freed"
    )
    return answer(
        "erasures",
        INVARIANT,
        missing=None if left is None else _missing(left, granted["erase"], events),
        said="no operator was at work" if left is None else said,
        violations=[] if left is None else _violations(left, granted, events),
        facts={op: len(tasks) for op, tasks in granted.items()},
    )


def _missing(left: Tombstones, erased: set[str], events: Mapping[str, list[Event]]) -> str | None:
    unknown = [event for of in events.values() for event in of if event.kind is Kind.INFO]
    if unknown:
        return f"{len(unknown)} requests of the operator were not answered"
    kept = {mark for task, mark in left.marks.items() if task not in erased}
    if len(left.marks) > 1 and not events["erase"]:
        return "there were tasks with marks, and the operator erased none"
    if kept and not kept & {found.mark for found in left.found}:
        return "no mark was found, not even of a task that was not erased"
    return None


def _violations(
    left: Tombstones, granted: Mapping[str, set[str]], events: Mapping[str, list[Event]]
) -> list[Violation]:
    rows = {row.task_id: row for row in left.erased}
    return [
        *_answers(events),
        *_contents(left, granted["erase"]),
        *(
            Violation(fault, task)
            for task, row in rows.items()
            for fault in _faults(row, {op for op in ACTIONS if task in granted[op]})
        ),
        *_successors(events["resubmit"]),
        *_records(left, granted),
    ]


def _answers(events: Mapping[str, list[Event]]) -> Iterator[Violation]:
    """Requests that fit are granted, and all others are refused for the state of the task."""
    for op, of in events.items():
        for event in of:
            value = event.value or {}
            if value["fit"] and event.kind is Kind.FAIL:
                yield Violation(f"{op} was refused with {value.get('code')}", event.task, event.at)
            elif not value["fit"] and value.get("code") != REFUSED:
                heard = value.get("code", "granted")
                yield Violation(f"{op} had to be refused, and was {heard}", event.task, event.at)


def _contents(left: Tombstones, erased: set[str]) -> Iterator[Violation]:
    tables: dict[str, list[str]] = {}
    for found in left.found:
        tables.setdefault(found.mark, []).append(found.table)
    for task in erased:
        mark = left.marks.get(task)
        if mark in tables:
            yield Violation(f"erased, and {', '.join(tables[mark])} holds its mark {mark}", task)


def _faults(row: Erased, granted: set[str]) -> Iterator[str]:
    if row.erased != ("erase" in granted):
        yield f"erased: {row.erased}, and the operator was answered otherwise"
    if row.key_freed != ("free-key" in granted):
        yield f"key freed: {row.key_freed}, and the operator was answered otherwise"
    if row.erased and (row.contents or row.attempts):
        yield f"erased, with {row.contents} columns of content and {row.attempts} attempts"
    if row.erased and row.fingerprint:
        yield "erased, and its key tells of its content"
    if row.key_freed and row.fingerprint is not None:
        yield "its key was freed, and still stands for it"
    if row.state not in ENDED and not row.contents:
        yield f"{row.state}, and its payload is gone"
    if row.state not in ENDED and row.fingerprint is None:
        yield f"{row.state}, and its key is gone"


def _successors(resubmitted: list[Event]) -> Iterator[Violation]:
    """A freed key makes one new task, however often it is freed and used."""
    first: dict[str, str] = {}
    for event in resubmitted:
        if event.kind is not Kind.OK or event.task is None:
            continue
        told = str((event.value or {}).get("task"))
        if told == event.task:
            yield Violation("its key was freed, and still gets this task", event.task, event.at)
        elif first.setdefault(event.task, told) != told:
            yield Violation(
                f"its key was freed, and made {first[event.task]} and {told}", event.task, event.at
            )


def _records(left: Tombstones, granted: Mapping[str, set[str]]) -> Iterator[Violation]:
    """Each change that was granted has a row that says so."""
    done = {(each.action, each.target) for each in left.operations if each.outcome == "done"}
    for op, action in ACTIONS.items():
        for task in granted[op]:
            if (action, task) not in done:
                yield Violation(f"{op} was granted, and no operation is recorded as done", task)
