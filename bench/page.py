"""Write docs/benchmarks.md from the JSON of a run, and of a comparison.

`python -m bench page RESULT.json [PEERS.json]`. bench/peers makes the comparison.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import click
import msgspec

from bench.booklet import as_html
from bench.goals import Verdict, judge
from bench.others import Others, best_other, read_others, tables
from bench.paper import (
    HEADINGS,
    Report,
    bound_in_words,
    circumstances,
    number,
    rows_of,
    table_head,
    table_row,
)

DOCUMENT = Path(__file__).parents[1] / "docs" / "benchmarks.md"
INTRODUCTION = """\
# Benchmarks

<!-- Made by `python -m bench page` from kept results: change those, not this. -->

The results of leaseq with every guarantee on: `fsync` and `synchronous_commit` on, append-only file on, results kept, each task
committed, leased, fenced and settled in Postgres. Client, services and both servers share one machine, and the handler does
nothing: read these as upper bounds of a machine like it, and as a comparison. The meaning and the limits of each figure,
and how to measure it, are in [bench/README.md](../bench/README.md)."""
COMPARED = """\
The same work on the others, in turn with leaseq in one run of one harness, which reaches everything over TCP and measures from
outside: its figures for leaseq differ from those above. Medians, with the least and the most. Guarantees differ, too: tasks
that are lost or done twice when workers are killed are in the tables of kills."""
file_argument = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("python -m bench page")
@click.argument("result", type=file_argument)
@click.argument("peers", type=file_argument, required=False)
@click.option(
    "--to",
    type=click.Path(dir_okay=False, path_type=Path),
    default=DOCUMENT,
    help="Where (docs/benchmarks.md).",
)
def page(result: Path, peers: Path | None, to: Path) -> None:
    """Write the document, and pictures and the HTML page of RESULT again, with the comparison in
    them."""
    report = msgspec.json.decode(result.read_bytes(), type=Report)
    comparison = None if peers is None else read_others(peers)
    to.write_text(as_document(report, comparison), encoding="utf-8")
    for file in (to, *bind(report, result, comparison)):
        click.echo(file)


def bind(report: Report, kept: Path, comparison: Others | None = None) -> list[Path]:
    """Write the pictures and the HTML page beside the file in which a report is kept; without
    matplotlib the page alone."""
    if find_spec("matplotlib") is None:
        pictures, files = [], []
    else:
        from bench.plots.album import album, keep_pictures  # an optional extra

        pictures = album(report, comparison)
        files = keep_pictures(pictures, kept)
    html = kept.with_suffix(".html")
    html.write_text(
        as_html(report, [(p.name, p.light, p.dark) for p in pictures], comparison), encoding="utf-8"
    )
    return [*files, html]


def as_document(report: Report, comparison: Others | None = None) -> str:
    """docs/benchmarks.md."""
    lines = [
        INTRODUCTION,
        *_circumstances(report),
        *_goals(judge(report.figures, report.scale), comparison),
    ]
    if comparison is not None:
        lines += ["", "## Beside the others", "", COMPARED, *tables(comparison)]
    lines += [
        "",
        "## Every figure",
        "",
        "Medians over the runs; the figures of kills are over all kills of one run.",
    ]
    for name, rows in rows_of(report).items():
        lines += [
            "",
            f"### `{name}`",
            "",
            *table_head(*HEADINGS, numbers=range(2, 7)),
            *(table_row(*row) for row in rows),
        ]
    return "\n".join(lines) + "\n"


def _circumstances(report: Report) -> Iterator[str]:
    yield from ("", "## Measured on", "", f"- begun: {report.began}", *circumstances(report))
    scale = {
        name: value
        for name, value in msgspec.structs.asdict(report.scale).items()
        if name not in ("settings", "paths")
    }
    yield f"- how much: {', '.join(f'{name} {value:,}' for name, value in scale.items())}"
    yield f"- settings of leaseq: {'as listed above' if report.scale.settings else 'all have their defaults'}"


def _goals(verdicts: list[Verdict], comparison: Others | None) -> Iterator[str]:
    missed = [verdict.goal.about for verdict in verdicts if not verdict.reached]
    yield from ("", "## Goals", "")
    yield f"{len(verdicts) - len(missed)} of {len(verdicts)} are reached" + (
        f"; not: {'; '.join(missed)}." if missed else "."
    )
    yield ""
    head = ("what", "unit", "goal", "measured", "least", "most", "runs", "reached", "others")
    yield from table_head(*head, numbers=range(2, 7))
    for verdict in verdicts:
        figure, (least, most) = verdict.figure, verdict.figure.spread
        numbers = (
            bound_in_words(verdict),
            number(figure.median),
            number(least),
            number(most),
            str(len(figure.values)),
        )
        yes = "yes" if verdict.reached else "no"
        yield table_row(
            verdict.goal.about, verdict.goal.unit, *numbers, yes, _others(verdict, comparison)
        )


def _others(verdict: Verdict, comparison: Others | None) -> str:
    """The best other queue of the comparison, or the known result of another one."""
    found = None if comparison is None else best_other(verdict.goal, comparison)
    if found is not None:
        return f"{found[1]} {number(found[0])}"
    return f"elsewhere: {verdict.goal.others}" if verdict.goal.others else ""
