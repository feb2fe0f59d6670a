"""The command that shows statistics over time."""

from __future__ import annotations

import click

from leaseq.cli import parameters
from leaseq.cli.output import moment, print_json, print_line, print_table
from leaseq.cli.servers import reading
from leaseq.cli.streams import note
from leaseq.model import NAME
from leaseq.operations.statistics.read import WINDOWS, Durations, Figures, Statistics, Window
from leaseq.operations.why.wording import span

TITLES = (
    *("submitted/s", "started/s", "ended/s", "failing"),
    *("wait p50", "p95", "p99", "run p50", "p95", "p99"),
)


@click.command()
@click.option(
    "--window",
    type=click.Choice(list(WINDOWS)),
    default="1h",
    show_default=True,
    help="How far back, until now.",
)
@click.option("--queue", metavar="NAME", help="Of this queue alone.")
@click.option("--type", "type_name", metavar="NAME", help="Of this task type alone.")
@parameters.as_json
def stats(window: Window, queue: str | None, type_name: str | None, as_json: bool) -> None:
    """Show rates, failures, waits and run times of a window that ends now: of all tasks and by type,
    those that ran longest first.

    A dash: not known, or nothing was counted. Percentiles are at most 19 % too large or too small.
    """
    for value in (queue, type_name):
        if value is not None and not NAME.fullmatch(value):
            raise click.BadParameter("a name is 1 to 128 characters of A-Z a-z 0-9 _ . -")
    found = reading(
        lambda engine: engine.statistics(window, queue=queue, type_name=type_name),
    )
    if as_json:
        print_json(found)
    else:
        show_statistics(found)


def show_statistics(found: Statistics) -> None:
    """Print the figures of all tasks, and of each type."""
    if found.total is not None:
        rows = [("all", "", "-", *_cells(found.total))]
        rows += [
            (each.queue, each.type, _percent(each.run_share), *_cells(each.figures))
            for each in found.types
        ]
        print_table(("queue", "type", "run share", *TITLES), rows)
        print_line(
            f"since {moment(found.since)}, last flush {moment(found.last_flush_at)},"
            f" {found.reporting} processes report"
        )
    if found.unknown is not None:
        note(found.unknown)


def _cells(figures: Figures) -> tuple[str, ...]:
    return (
        f"{figures.submitted_per_second:.2f}",
        f"{figures.started_per_second:.2f}",
        f"{figures.ended_per_second:.2f}",
        _percent(figures.failing_share),
        *_durations(figures.wait),
        *_durations(figures.run),
    )


def _durations(durations: Durations) -> tuple[str, ...]:
    return tuple(
        "-" if value is None else _short(value)
        for value in (durations.p50, durations.p95, durations.p99)
    )


def _short(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else span(seconds)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


__all__ = ["show_statistics", "stats"]
