"""Show and keep the comparison: Markdown on stdout, every value as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from bench.figures import Figure
from bench.paper import new_file, number
from bench.peers.contenders import Contender
from bench.peers.outcomes import RECOVERY_COLUMNS, Recovery, recovery_cells
from bench.peers.ratios import ratio_lines
from bench.peers.scope import Scope

# Column, and the figure that stands in it.
COLUMNS = {
    "submit one by one /s": "submit one by one",
    "in bulk /s": "submit in bulk",
    "drain, 1 worker /s": "drain, 1 worker",
    "2 workers /s": "drain, 2 workers",
    "middle 80 % /s": "drain, 2 workers, middle 80 %",
    "e2e submitted /s": "end to end: submitted",
    "e2e done /s": "end to end: done",
    "8 submitters, done /s": "end to end, 8 submitters: done",
    "idle p50 ms": "idle latency p50",
    "idle p99 ms": "idle latency p99",
    "CPU us/task, workers": "drain, 1 worker: CPU of workers",
    "servers": "drain, 1 worker: CPU of servers",
    "all, 2 workers": "drain, 2 workers: CPU of all",
    "limit of 50 /s": "limit of 50",
    "CPU us/task, all": "limit of 50: CPU of all",
    "most together": "limit of 50: most together",
    "1,000 keys /s": "limit of 50, 1,000 keys",
    "most of a key": "limit of 50, 1,000 keys: most of a key together",
    "permits again s, default": "permits of a killed worker, default settings",
    "most reliable": "permits of a killed worker, most reliable settings",
    "held": "permits of a killed worker, default settings: held",
}


class Comparison(Struct, frozen=True, kw_only=True):
    """All that one run found out. `crashes`: by default and most reliable settings, then by
    contender."""

    machine: Mapping[str, str]
    scope: Scope
    contenders: list[Contender]
    packages: dict[str, list[str]]
    figures: dict[str, list[Figure]]
    crashes: dict[str, dict[str, list[Recovery]]]
    failed: dict[str, str]


def keep(comparison: Comparison, directory: Path) -> Path:
    """Write everything to a new file."""
    file = new_file(directory, ".json")
    file = file.with_name(f"peers-{file.name}")
    file.write_bytes(msgspec.json.format(msgspec.json.encode(comparison), indent=2))
    return file


def as_markdown(comparison: Comparison) -> str:
    """Tables, settings, machine, and what failed."""
    lines = [*_figures(comparison), *ratio_lines(comparison.figures)]
    for settings, recoveries in comparison.crashes.items():
        if not recoveries:
            continue
        patience = f"{comparison.scope.patience_seconds:.0f} s"
        title = f"Crash recovery, {settings} settings (not done: within {patience}):"
        lines += ["", title, "", *_crashes(recoveries)]
    lines += [
        "",
        "| contender | versions | settings | most reliable settings | bulk call |",
        "|---|---|---|---|---|",
    ]
    for contender in comparison.contenders:
        cells = (
            ", ".join(contender.pins),
            contender.settings,
            contender.reliable or "none documented",
            contender.bulk or "none",
        )
        lines.append(_row(contender.name, *cells))
    lines += ["", *(f"- {name}: {value}" for name, value in comparison.machine.items())]
    lines += [f"- FAILED: {name}: {reason}" for name, reason in comparison.failed.items()]
    return "\n".join(lines)


def _figures(comparison: Comparison) -> Iterator[str]:
    shown = {
        name
        for figures in comparison.figures.values()
        for name in (figure.name for figure in figures)
    }
    columns = {column: name for column, name in COLUMNS.items() if name in shown}
    if not columns:
        return
    yield f"Median of {comparison.scope.runs}, and the least and the most if that is more than one:"
    yield ""
    yield from _head("contender", *columns)
    for contender, figures in comparison.figures.items():
        by_name = {figure.name: figure for figure in figures}
        yield _row(contender, *(_cell(by_name.get(name)) for name in columns.values()))
    for contender, figures in comparison.figures.items():
        twice = sum(
            value
            for figure in figures
            if figure.name.endswith("done twice")
            for value in figure.values
        )
        if twice:
            yield f"\n{contender} did {twice:.0f} tasks twice without any disturbance."


def _crashes(recoveries: Mapping[str, Sequence[Recovery]]) -> Iterator[str]:
    yield from _head("contender", *RECOVERY_COLUMNS)
    for contender, runs in recoveries.items():
        yield _row(contender, *recovery_cells(runs))


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    spread = (
        ""
        if len(figure.values) == 1
        else f" ({number(figure.spread[0])} to {number(figure.spread[1])})"
    )
    return f"{number(figure.median)}{spread}"


def _head(first: str, *others: str) -> Sequence[str]:
    return (_row(first, *others), f"|---|{'---:|' * len(others)}")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
