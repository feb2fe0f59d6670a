"""How are the figures shown and kept? A table for the eye on stderr, Markdown on stdout, everything as JSON in results/."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench.figures import Figure
from bench.scale import Scale

RESULTS = Path(__file__).parent / "results"


class Report(Struct, frozen=True, kw_only=True):
    """One run of the benchmark."""

    machine: Mapping[str, str]
    scale: Scale
    figures: dict[str, list[Figure]]
    failed: dict[str, str]


def show(console: Console, report: Report) -> None:
    """The figures as a table."""
    table = Table("figure", "unit", title="median, and the least and the most of the runs")
    for heading in ("median", "least", "most", "runs"):
        table.add_column(heading, justify="right")
    for figures in report.figures.values():
        for figure in figures:
            table.add_row(*_cells(figure))
        table.add_section()
    console.print(table)


def show_machine(console: Console, machine: Mapping[str, str]) -> None:
    """What it is measured on, as a table."""
    table = Table("measured on", "", show_header=False)
    for name, value in machine.items():
        table.add_row(name, value)
    console.print(table)


def as_markdown(report: Report) -> str:
    """Figures and machine, to paste."""
    rows = [_cells(figure) for figures in report.figures.values() for figure in figures]
    lines = ["| figure | unit | median | least | most | runs |", "|---|---|---:|---:|---:|---:|"]
    lines += [f"| {' | '.join(cells)} |" for cells in rows]
    lines += ["", *(f"- {name}: {value}" for name, value in report.machine.items())]
    lines += [f"- set: {name} = {value}" for name, value in report.scale.settings.items()]
    lines += [f"- FAILED: {name}: {reason}" for name, reason in report.failed.items()]
    return "\n".join(lines)


def keep(report: Report, directory: Path) -> Path:
    """Write everything, every run's own value too, to a new file."""
    file = new_file(directory, ".json")
    file.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    return file


def new_file(directory: Path, suffix: str) -> Path:
    """A name in `directory`, which is made, that tells the time."""
    directory.mkdir(parents=True, exist_ok=True)
    return directory / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}{suffix}"


def _cells(figure: Figure) -> tuple[str, ...]:
    least, most = figure.spread
    numbers = (_number(value) for value in (figure.median, least, most))
    return (figure.name, figure.unit, *numbers, str(len(figure.values)))


def _number(value: float) -> str:
    """Three digits that mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
