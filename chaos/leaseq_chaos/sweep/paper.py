"""Render a sweep as a page and as a table for the documents.

One row for each point, one column for each action, and in each field a mark for transactional and
one for plain tasks.
"""

from __future__ import annotations

from collections import Counter
from importlib.resources import files

from leaseq.failpoints import POINTS
from leaseq_chaos.report.markup import HTML, badge, columns, element, joined, span, table, text
from leaseq_chaos.sweep.grid import PLACES, Action, Effects
from leaseq_chaos.sweep.outcome import Outcome
from leaseq_chaos.sweep.sweep import Sweep
from leaseq_chaos.verdict import Verdict, merged

__all__ = ["draw_grid", "draw_page"]

MARKS = {Verdict.VALID: "✓", Verdict.INVALID: "✕", Verdict.UNKNOWN: "?"}
LEFT_OUT, NOT_TRIED = "-", "·"
STYLE = (
    " .sweep td, .sweep th[scope=col] { text-align: center; white-space: nowrap; } .sweep th:first-child { text-align: left; }"
    " .sweep a, .sweep .mark { color: var(--mark, var(--soft)); text-decoration: none; font-weight: 650; padding: 0 3px; }"
    " .stories dt { font-weight: 600; margin-top: 10px; } .page { padding-top: 24px; }"
)

Fields = dict[tuple[str, Action, Effects], Outcome]


def draw_grid(sweep: Sweep) -> str:
    """The table in Markdown, with the counts."""
    done = _fields(sweep)
    lines = [
        "# The crash-point sweep",
        "",
        f"Every [failpoint](failpoints.md), with everything that can happen there. Written by `{sweep.command}`",
        "with `--publish docs/sweep.md`. Each field has two marks, for transactional and for plain tasks:",
        "",
        "- ✓ the point was reached, and in the end every task had succeeded, with exactly one effect (transactional) or at least",
        "  one (plain), in attempts without a gap, one task for each key, no money made or lost, no delivery left in dispatch",
        "- ✕ something of that did not hold",
        "- ? no process reached the point",
        "- `-` tasks of this kind do not pass there",
        "- · not tried",
        "",
        f"{said(sweep)}",
        "",
        f"| point | {' | '.join(Action)} |",
        "|---|" + "---|" * len(Action),
    ]
    for point in PLACES:
        marks = [
            " ".join(_mark(done, point, action, effects) for effects in Effects)
            for action in Action
        ]
        lines.append(f"| `{point}` | {' | '.join(marks)} |")
    return "\n".join([*lines, ""])


def draw_page(sweep: Sweep) -> str:
    """The same as one HTML page, with the story of each cell that is not green."""
    done = _fields(sweep)
    verdict = merged(outcome.verdict for outcome in sweep.outcomes)
    rows = [_row(done, point) for point in PLACES]
    grid = table(
        columns("point", *Action),
        rows,
        caption="Marks: transactional tasks, plain tasks",
        class_="sweep",
    )
    stories = [
        _story(outcome) for outcome in sweep.outcomes if outcome.verdict is not Verdict.VALID
    ]
    body = element(
        "main",
        element("h1", text("Crash-point sweep"), badge(verdict)),
        element("p", text(said(sweep)), class_="about"),
        element("p", element("code", text(sweep.command)), class_="remark"),
        grid,
        *(
            [element("h2", text("Not green")), element("dl", *stories, class_="stories")]
            if stories
            else []
        ),
        class_="page",
    )
    style = (files("leaseq_chaos.report") / "page.css").read_text(encoding="utf-8") + STYLE
    head = element(
        "head",
        HTML(
            '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        ),
        element("title", text(f"{verdict}: crash-point sweep")),
        element("style", HTML(style)),
    )
    return f"<!doctype html>\n{element('html', head, element('body', body), lang='en', data_verdict=verdict)}\n"


def said(sweep: Sweep) -> str:
    """The sweep in two sentences."""
    verdicts = Counter(outcome.verdict for outcome in sweep.outcomes)
    counts: Counter[str] = Counter()
    for outcome in sweep.outcomes:
        counts.update(outcome.counts)
    told = (
        ", ".join(f"{heading} {count:,}" for heading, count in sorted(counts.items())) or "nothing"
    )
    return (
        f"{len(sweep.outcomes)} cells with {sweep.tasks:,} tasks in {sweep.seconds / 60:.1f} minutes: "
        f"{verdicts[Verdict.VALID]} green, {verdicts[Verdict.INVALID]} not, {verdicts[Verdict.UNKNOWN]} not reached. "
        f"Counted on the way: {told}."
    )


def _fields(sweep: Sweep) -> Fields:
    return {(o.cell.point, o.cell.action, o.cell.effects): o for o in sweep.outcomes}


def _mark(done: Fields, point: str, action: Action, effects: Effects) -> str:
    if PLACES[point].only not in (None, effects):
        return LEFT_OUT
    outcome = done.get((point, action, effects))
    return NOT_TRIED if outcome is None else MARKS[outcome.verdict]


def _row(done: Fields, point: str) -> HTML:
    name = element("th", element("code", text(point)), scope="row", title=POINTS[point])
    return element(
        "tr",
        name,
        *(element("td", *(_field(done, point, action, e) for e in Effects)) for action in Action),
    )


def _field(done: Fields, point: str, action: Action, effects: Effects) -> HTML:
    mark = _mark(done, point, action, effects)
    outcome = done.get((point, action, effects))
    if outcome is None:
        return span(mark, "mark")
    counts = ", ".join(f"{heading} {count}" for heading, count in outcome.counts.items())
    about = (
        f"{outcome.cell.name}: {outcome.seconds:g} s, reached by {outcome.reached_by or 'no process'}; "
        f"{counts or 'nothing counted'}"
    )
    kind = f"mark is-{outcome.verdict}"
    if outcome.verdict is Verdict.VALID:
        return span(mark, kind, title=about)
    return element("a", text(mark), href=f"#{_anchor(outcome)}", class_=kind, title=about)


def _story(outcome: Outcome) -> HTML:
    lines = [element("dd", text(complaint)) for complaint in outcome.complaints]
    return joined(
        [
            element(
                "dt", badge(outcome.verdict), text(f" {outcome.cell.name}"), id=_anchor(outcome)
            ),
            *lines,
        ]
    )


def _anchor(outcome: Outcome) -> str:
    return outcome.cell.name.replace(" ", "-")
