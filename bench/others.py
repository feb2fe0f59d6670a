"""Results of other task queues, from a comparison kept by bench/peers.

Only the shown parts of its JSON are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from bench.figures import Figure
from bench.goals import Goal
from bench.paper import number, table_head, table_row
from bench.peers.outcomes import RECOVERY_COLUMNS, Recovery, recovery_cells
from bench.peers.ratios import ratio_lines

OURS = "leaseq"
CRASH = "crash"
# Tables of the page: a title, and columns with the figure that stands in each.
TABLES = {
    "Rates, tasks per second": {
        "submit one by one": "submit one by one",
        "in bulk": "submit in bulk",
        "drain, one worker": "drain, 1 worker",
        "two workers": "drain, 2 workers",
        "end to end: submitted": "end to end: submitted",
        "done": "end to end: done",
        "done, eight submitters": "end to end, 8 submitters: done",
    },
    "Idle latency in milliseconds, and CPU of a drain by one worker in microseconds per task": {
        "latency p50": "idle latency p50",
        "latency p99": "idle latency p99",
        "CPU of workers": "drain, 1 worker: CPU of workers",
        "CPU of servers": "drain, 1 worker: CPU of servers",
        "CPU of all": "drain, 1 worker: CPU of all",
    },
}


class Contender(Struct, frozen=True):
    """One queue in one way of running it."""

    name: str
    environment: str = ""
    settings: str = ""
    reliable: str = ""
    bulk: str = ""


class Others(Struct, frozen=True, kw_only=True):
    """One comparison. `figures` by contender, `crashes` by settings (default, reliable) and
    contender, `failed` with reasons."""

    machine: Mapping[str, str]
    contenders: list[Contender]
    figures: dict[str, list[Figure]]
    packages: dict[str, list[str]] = {}
    crashes: dict[str, dict[str, list[Recovery]]] = {}
    failed: dict[str, str] = {}

    def column(self, name: str) -> dict[str, Figure]:
        """One figure of every contender that has it."""
        return {
            who: figure
            for who, figures in self.figures.items()
            for figure in figures
            if figure.name == name
        }


def read_others(file: Path) -> Others:
    """Raises `msgspec.ValidationError` if this is not a comparison."""
    return msgspec.json.decode(file.read_bytes(), type=Others)


def best_other(goal: Goal, others: Others) -> tuple[float, str] | None:
    """The best of them all, in the unit of the goal, and who that is."""
    if goal.beside == CRASH:
        return _best_recovery(others)
    found = {
        who: figure.median for who, figure in others.column(goal.beside).items() if who != OURS
    }
    if not found:
        return None
    who = (max if goal.more else min)(found, key=found.__getitem__)
    return found[who], who


def _best_recovery(others: Others) -> tuple[float, str] | None:
    """The slowest rerun, in milliseconds, of who is fastest among those that lost nothing, by
    whichever settings."""
    found = {
        f"{who} ({settings} settings)": max(seconds) * 1e3
        for settings, recoveries in others.crashes.items()
        for who, runs in recoveries.items()
        if who != OURS
        and (seconds := [second for run in runs for second in run.rerun_seconds])
        and not any(run.lost or run.never_rerun for run in runs)
    }
    return min(((value, who) for who, value in found.items()), default=None)


def tables(others: Others) -> Iterator[str]:
    """Everything of a comparison, in Markdown."""
    yield from ratio_lines(others.figures)
    for title, columns in TABLES.items():
        yield from ("", f"### {title}", "", *table_head("contender", *columns))
        for who in others.figures:
            yield table_row(
                who, *(_cell(others.column(name).get(who)) for name in columns.values())
            )
    yield from crash_lines(others)
    yield from ("", "### Settings", "")
    yield from table_head(
        "contender", "versions", "settings", "most reliable settings", "bulk call", numbers=range(0)
    )
    for contender in others.contenders:
        yield table_row(
            contender.name,
            ", ".join(_versions(contender, others)),
            contender.settings,
            contender.reliable or "none documented",
            contender.bulk or "none",
        )
    yield from ("", *(f"- {name}: {value}" for name, value in others.machine.items()))
    yield from (f"- FAILED: {name}: {reason}" for name, reason in others.failed.items())


def crash_lines(others: Others) -> Iterator[str]:
    """The crash comparison, a table for each kind of settings."""
    for settings, recoveries in others.crashes.items():
        if recoveries:
            yield from ("", f"### Workers killed, {settings} settings", "")
            yield from table_head("contender", *RECOVERY_COLUMNS)
            yield from (table_row(who, *recovery_cells(runs)) for who, runs in recoveries.items())


def _versions(contender: Contender, others: Others) -> list[str]:
    """Of the package that it is, and of those that extend it."""
    packages = others.packages.get(contender.environment or contender.name, [])
    return [
        package
        for package in packages
        if package.lower().startswith(contender.environment.lower() or contender.name)
    ]


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    least, most = figure.spread
    return (
        number(figure.median)
        if least == most
        else f"{number(figure.median)} ({number(least)} to {number(most)})"
    )
