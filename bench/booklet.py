"""Render one run as a single HTML file, for light and for dark screens."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from bench.goals import Verdict, judge
from bench.others import Others, best_other
from bench.paper import HEADINGS, Report, bound_in_words, circumstances, number, rows_of

STYLE = (Path(__file__).parent / "booklet.css").read_text(encoding="utf-8")
NAMES = {
    "rates": "Rates: a bar for the median, a whisker from the least to the most run, a triangle for the best other queue",
    "others": "Beside the others, in the same run of one harness",
    "costs": "Times, CPU, memory: a dot for the median, a line from the least to the most, a triangle for the best other queue",
    "recovery": "Recovery: every kill is a dot",
    "scale": "Scale",
    "cpu": "CPU",
}


def as_html(
    report: Report, pictures: Sequence[tuple[str, bytes, bytes]], comparison: Others | None = None
) -> str:
    """The page. `pictures`: name, PNG for light paper, PNG for dark paper."""
    verdicts = judge(report.figures, report.scale)
    reached = sum(verdict.reached for verdict in verdicts)
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>leaseq, benchmark of {escape(report.began)}</title><style>{STYLE}</style></head><body>",
        f"<h1>leaseq <small>benchmark of {escape(report.began)}</small></h1>",
        f"<p>{reached} of {len(verdicts)} goals reached. {escape(_spread_in_words(report))}</p>",
        *_goals(verdicts, comparison),
        *(_picture(*picture) for picture in pictures),
    ]
    if not pictures:
        parts.append(
            "<p>No pictures: matplotlib is not installed (the extra <code>bench</code> brings it).</p>"
        )
    parts.append("<h2>Every figure</h2>")
    for name, rows in rows_of(report).items():
        parts += [f"<h3>{escape(name)}</h3>", *_table(HEADINGS, rows)]
    lines = "".join(f"<li>{escape(line.removeprefix('- '))}</li>" for line in circumstances(report))
    return "\n".join([*parts, "<h2>Measured on</h2>", f"<ul>{lines}</ul>", "</body></html>"])


def _spread_in_words(report: Report) -> str:
    return f"Medians of {report.scale.runs} runs with the least and the most of them; of kills, of every kill."


def _goals(verdicts: Sequence[Verdict], comparison: Others | None) -> Iterator[str]:
    rows = []
    for verdict in verdicts:
        goal, (least, most) = verdict.goal, verdict.figure.spread
        other = best_other(goal, comparison) if comparison is not None else None
        others = goal.others if other is None else f"{other[1]} {number(other[0])}"
        spread = f"{number(least)} to {number(most)}"
        measured = number(verdict.figure.median)
        word = "reached" if verdict.reached else "missed"
        rows.append(
            (goal.about, f"{bound_in_words(verdict)} {goal.unit}", measured, spread, others, word)
        )
    return _table(("what", "goal", "measured", "least to most", "others", ""), rows)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "<table><tr>" + "".join(f"<th>{escape(heading)}</th>" for heading in headings) + "</tr>"
    for row in rows:
        cells = "".join(f'<td class="{_class(cell)}">{escape(cell)}</td>' for cell in row[1:])
        yield f"<tr><td>{escape(row[0])}</td>{cells}</tr>"
    yield "</table>"


def _class(cell: str) -> str:
    """Numbers stand to the right; what a goal came to has its colour."""
    if cell in ("reached", "missed", "yes", "no"):
        return "good" if cell in ("reached", "yes") else "bad"
    return "number" if cell[:1].isdigit() or cell[:1] in ("≥", "<") else ""


def _picture(name: str, light: bytes, dark: bytes) -> str:
    about = escape(NAMES.get(name, name))
    return (
        f'<figure><picture><source media="(prefers-color-scheme: dark)" srcset="{_inline(dark)}">'
        f'<img src="{_inline(light)}" alt="{about}"></picture><figcaption>{about}</figcaption></figure>'
    )


def _inline(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode()}"
