"""Further tables of the report.

They show rare events, submissions and their endings, answers to clients, faults that this machine
cannot inject, and every injected fault.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from leaseq.model import State
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.history import Kind
from leaseq_chaos.report.faults import Fault, clock, refusals_of
from leaseq_chaos.report.judged import figure
from leaseq_chaos.report.markup import HTML, columns, element, span, table, text
from leaseq_chaos.verdict import Finding

__all__ = [
    "draw_clients",
    "draw_faults",
    "draw_refusals",
    "draw_skips",
    "draw_sometimes",
    "draw_workload",
]

_ENDS = [State.SUCCESS, State.FAILED, State.CANCELLED]
_OPS = ("submit", "read", "cancel")


def draw_sometimes(findings: Sequence[Finding], expects: Sequence[str]) -> HTML:
    """How often each rare thing happened, those first that had to and did not."""
    facts = next((finding.facts for finding in findings if finding.checker == "sometimes"), None)
    if not facts:
        return element("p", text("The checker sometimes had no figures."), class_="nothing")
    hits = {name: facts.get(name, 0.0) for name in [*expects, *facts]}
    ordered = sorted(hits, key=lambda name: (name not in expects, hits[name] > 0, name))
    tiles = []
    for name in ordered:
        missed = name in expects and not hits[name]
        word = (
            "expected, and never happened"
            if missed
            else "expected"
            if name in expects
            else "not asked for"
        )
        class_ = "missed" if missed else "hit" if hits[name] else "never"
        tiles.append(
            element(
                "li",
                span(figure(hits[name]), "count"),
                span(name, "name"),
                span(word, "word"),
                class_=class_,
                data_hit=name,
            )
        )
    return element("ul", *tiles, class_="sometimes")


def draw_workload(evidence: Evidence) -> HTML:
    """Task types by the state in which they ended."""
    ends = Counter((str(row.get("type")), str(row.get("state"))) for row in evidence.snapshot.tasks)
    attempts: Counter[str] = Counter()
    most: Counter[str] = Counter()
    for row in evidence.snapshot.tasks:
        name, count = str(row.get("type")), int(row.get("attempt") or 0)
        attempts[name] += count
        most[name] = max(most[name], count)
    totals = Counter(name for name, _ in ends.elements())
    states = [
        state.value
        for state in State
        if state in _ENDS or any(ends[name, state.value] for name in totals)
    ]
    states.sort(key=lambda state: state not in _ENDS)
    rows = []
    for name, total in sorted(totals.items(), key=lambda item: (-item[1], item[0])):
        counts = [_count(ends[name, state]) for state in states]
        rows.append(
            element(
                "tr",
                element("th", text(name), scope="row"),
                _count(total),
                *counts,
                element("td", text(f"{attempts[name] / total:.2f}"), class_="n"),
                _count(most[name]),
            )
        )
    heads = columns("type", "#tasks", *(f"#{state}" for state in states), "#attempts each", "#most")
    return table(heads, rows, caption="Tasks by type and final state", class_="workload")


def draw_clients(evidence: Evidence) -> HTML:
    """The answers to clients: info is a question that stayed open."""
    told: Counter[tuple[str, Kind]] = Counter()
    codes: Counter[str] = Counter()
    for event in evidence.events:
        if event.op in _OPS:
            told[event.op, event.kind] += 1
            if event.kind is Kind.FAIL and isinstance(event.value, dict):
                codes[f"{event.op}: {event.value.get('code')}"] += 1
    rows = [
        element(
            "tr", element("th", text(op), scope="row"), *(_count(told[op, kind]) for kind in Kind)
        )
        for op in _OPS
    ]
    refused = ", ".join(f"{code} ({count:,})" for code, count in codes.most_common(12)) or "nothing"
    heads = columns("operation", *(f"#{kind.value}" for kind in Kind))
    answers = table(
        heads,
        rows,
        caption="Requests of clients, and the certainty of their answers",
        class_="clients",
    )
    return element("div", answers, element("p", text(f"Refused: {refused}."), class_="remark"))


def draw_skips(evidence: Evidence) -> HTML:
    """The faults that this machine cannot do."""
    if not evidence.run.skips:
        return element("p", text("No kind of fault was skipped."), class_="remark")
    rows = [
        element(
            "tr", element("th", text(skip.nemesis), scope="row"), element("td", text(skip.reason))
        )
        for skip in evidence.run.skips
    ]
    return table(
        columns("nemesis", "why it was skipped"),
        rows,
        caption="Faults that this machine could not do",
        class_="skips",
    )


def draw_refusals(evidence: Evidence) -> HTML:
    """Scheduled faults that were impossible at their moment."""
    refused = Counter((refusal.nemesis, refusal.reason) for refusal in refusals_of(evidence))
    if not refused:
        return element(
            "p",
            text("Every fault of the schedule could be injected at its moment."),
            class_="remark",
        )
    rows = [
        element(
            "tr",
            element("th", text(nemesis), scope="row"),
            _count(count),
            element("td", text(reason)),
        )
        for (nemesis, reason), count in sorted(refused.items())
    ]
    return table(
        columns("nemesis", "#times", "why not"),
        rows,
        caption="Faults that were impossible at their moment",
    )


def draw_faults(faults: Sequence[Fault]) -> HTML:
    """Every fault, in words."""
    rows = [
        element(
            "tr",
            element("th", text(fault.number), scope="row"),
            element("td", text(clock(fault.began)), class_="when"),
            element("td", text(f"{fault.ended - fault.began:.2f}"), class_="n"),
            element("td", text(fault.nemesis)),
            element("td", text(fault.target)),
            element("td", text(fault.remark), class_="late" if fault.remark else None),
            id=fault.number,
        )
        for fault in faults
    ]
    heads = columns("fault", "began", "#seconds", "nemesis", "target", "remark")
    return table(heads, rows, caption="All faults", class_="faults")


def _count(count: int) -> HTML:
    return element("td", text(f"{count:,}"), class_="n" if count else "n zero")
