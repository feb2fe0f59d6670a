"""The findings of the checkers, and their tasks.

The table of all checkers, the wrong ones first, and the lives of the tasks that they complain of. A
violation links to the life of its task on this page, which names the file beside the page that
tells the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from leaseq_chaos.report.faults import clock
from leaseq_chaos.report.life import Life, Moment
from leaseq_chaos.report.markup import HTML, badge, columns, element, joined, span, table, text
from leaseq_chaos.verdict import Finding, Verdict, Violation

__all__ = ["MOST_VIOLATIONS", "draw_checkers", "draw_lives", "figure", "in_order"]

MOST_VIOLATIONS = 100  # of one checker; verdict.json has them all
MOST_MOMENTS = 300  # of one life; its file has them all
FEW = 3  # so many are shown unfolded
_RANK = [Verdict.INVALID, Verdict.UNKNOWN, Verdict.VALID]


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """Findings that need a reader come first; otherwise the order of the catalogue."""
    return sorted(findings, key=lambda finding: _RANK.index(finding.verdict))


def draw_checkers(findings: Sequence[Finding], lives: Sequence[Life], *, began: int) -> HTML:
    """One row for each checker."""
    told = {life.task for life in lives}
    rows = [_row(finding, told, began) for finding in in_order(findings)]
    return table(
        columns("checker", "verdict", "invariant and finding"),
        rows,
        caption="Checkers",
        class_="checkers",
    )


def draw_lives(lives: Sequence[Life]) -> HTML:
    """One life for each task that a violation names."""
    return joined(_life(life, unfolded=len(lives) <= FEW) for life in lives)


def figure(value: float) -> str:
    """A number for people: no more digits than it needs."""
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"


def _row(finding: Finding, told: set[str], began: int) -> HTML:
    seen = [
        element("p", text(finding.invariant), class_="invariant"),
        element("p", text(finding.said), class_="said"),
    ]
    if finding.violations:
        seen.append(_violations(finding, told, began))
    if finding.facts:
        facts = joined(
            element("div", element("dt", text(name)), element("dd", text(figure(value))))
            for name, value in finding.facts.items()
        )
        fold = element("summary", text(f"{len(finding.facts)} figures"))
        seen.append(element("details", fold, element("dl", facts, class_="facts")))
    return element(
        "tr",
        element("th", text(finding.checker), scope="row"),
        element("td", badge(finding.verdict)),
        element("td", *seen),
        id=f"checker-{finding.checker}",
        data_verdict=finding.verdict,
    )


def _violations(finding: Finding, told: set[str], began: int) -> HTML:
    items = [
        _violation(violation, told, began) for violation in finding.violations[:MOST_VIOLATIONS]
    ]
    more = len(finding.violations) - len(items)
    if more:
        items.append(element("li", text(f"and {more:,} more, in verdict.json")))
    count = len(finding.violations)
    fold = element("summary", text(f"{count:,} violation{'s' * (count != 1)}"))
    return element("details", fold, element("ol", *items), class_="violations", open=count <= FEW)


def _violation(violation: Violation, told: set[str], began: int) -> HTML:
    parts = [] if violation.at is None else [span(clock((violation.at - began) / 1e9, 3), "when")]
    parts.append(text(violation.said))
    if violation.task in told:
        parts.append(element("a", text("its whole life"), href=f"#life-{violation.task}"))
    elif violation.task is not None:
        parts.append(element("code", text(violation.task)))
    return element("li", joined(parts, " "))


def _life(life: Life, *, unfolded: bool) -> HTML:
    shown = life.moments[:MOST_MOMENTS]
    rows = [_moment(moment, moment.at - life.began) for moment in shown]
    rest = len(life.moments) - len(shown)
    said = [element("p", text(wrong), class_="wrong") for wrong in life.wrongs[:10]]
    more = [text(f" has {rest:,} more lines")] if rest else []
    file = element(
        "p",
        element("a", text(f"tasks/{life.task}.txt"), href=f"tasks/{life.task}.txt"),
        *more,
        class_="file",
    )
    heads = columns("time", "#since", "who", "what", "open faults")
    story = table(heads, rows, caption=f"The life of task {life.task}", class_="life")
    fold = element("summary", element("code", text(life.task)), text(f" {life.about}"))
    return element(
        "details", fold, *said, story, file, id=f"life-{life.task}", class_="life", open=unfolded
    )


def _moment(moment: Moment, since: float) -> HTML:
    kind = (
        moment.source
        if moment.source in {"ledger", "handler", "fault"}
        else moment.source.partition("-")[0]
    )
    opened = joined((element("a", text(number), href=f"#{number}") for number in moment.open), " ")
    return element(
        "tr",
        element("td", text(clock(moment.at, 3)), class_="when"),
        element("td", text(f"{since:+.3f}"), class_="n"),
        element("td", text(moment.source), class_="who"),
        element("td", text(moment.what), class_="what"),
        element("td", opened, class_="open"),
        class_=f"from-{kind}",
    )
