"""Show and keep figures: a table on stderr, Markdown on stdout, JSON in results/.

A figure for which there is a goal has the goal beside it, and a word on whether it is reached.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench.figures import Figure
from bench.goals import Verdict, judge
from bench.scale import Scale

RESULTS = Path(__file__).parent / "results"
HEADINGS = ("figure", "unit", "median", "least", "most", "runs", "goal", "reached")


class Report(Struct, frozen=True, kw_only=True):
    """One run of the benchmark. `began`: the time (UTC, ISO 8601)."""

    began: str = ""
    machine: Mapping[str, str]
    scale: Scale
    figures: dict[str, list[Figure]]
    failed: dict[str, str]


def show(console: Console, report: Report) -> None:
    """The figures as a table."""
    table = Table(title="median, and the least and the most of the runs")
    for heading in HEADINGS:
        table.add_column(
            heading, justify="left" if heading in ("figure", "unit", "reached") else "right"
        )
    for rows in rows_of(report).values():
        for row in rows:
            table.add_row(*row)
        table.add_section()
    console.print(table)


def show_machine(console: Console, machine: Mapping[str, str]) -> None:
    """The machine, as a table."""
    table = Table("measured on", "", show_header=False)
    for name, value in machine.items():
        table.add_row(name, value)
    console.print(table)


def as_markdown(report: Report) -> str:
    """Figures and machine, to paste."""
    lines = [*table_head(*HEADINGS, numbers=range(2, 7))]
    lines += [table_row(*row) for rows in rows_of(report).values() for row in rows]
    return "\n".join([*lines, "", *circumstances(report)])


def circumstances(report: Report) -> Iterator[str]:
    """A list: machine, settings, failures."""
    yield from (f"- {name}: {value}" for name, value in report.machine.items())
    yield from (f"- set: {name} = {value}" for name, value in report.scale.settings.items())
    yield from (f"- FAILED: {name}: {reason}" for name, reason in report.failed.items())


def rows_of(report: Report) -> dict[str, list[tuple[str, ...]]]:
    """The figures of each measurement, a row of cells for each."""
    verdicts = {id(verdict.figure): verdict for verdict in judge(report.figures, report.scale)}
    return {
        name: [_cells(figure, verdicts.get(id(figure))) for figure in figures]
        for name, figures in report.figures.items()
    }


def table_head(*cells: str, numbers: range = range(1, 99)) -> tuple[str, str]:
    """The first two lines of a table in Markdown. `numbers`: the columns that are set to the
    right."""
    return table_row(
        *cells
    ), f"|{'|'.join('---:' if place in numbers else '---' for place in range(len(cells)))}|"


def table_row(*cells: str) -> str:
    """One line of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def keep(report: Report, directory: Path) -> Path:
    """Write everything, every run's own value too, to a new file."""
    file = new_file(directory, ".json")
    file.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    return file


def new_file(directory: Path, suffix: str) -> Path:
    """A name in `directory`, which is made, that tells the time."""
    directory.mkdir(parents=True, exist_ok=True)
    return directory / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}{suffix}"


def bound_in_words(verdict: Verdict) -> str:
    """At least so much, or less than that."""
    return f"{'≥' if verdict.goal.more else '<'} {number(verdict.bound)}"


def number(value: float) -> str:
    """Three digits that mean something."""
    return (
        f"{value:,.0f}"
        if abs(value) >= 100 or value == int(value)
        else f"{value:.1f}"
        if abs(value) >= 10
        else f"{value:.2f}"
    )


def _cells(figure: Figure, verdict: Verdict | None) -> tuple[str, ...]:
    least, most = figure.spread
    numbers = (number(value) for value in (figure.median, least, most))
    goal = (
        ("", "")
        if verdict is None
        else (bound_in_words(verdict), "yes" if verdict.reached else "no")
    )
    return (figure.name, figure.unit, *numbers, str(len(figure.values)), *goal)
