"""Run the comparison: `python -m bench.peers setup` once, then `... run`.

Rounds go contender by contender, so that noise hits all alike; leaseq is one of them. Exit code 1
if anything failed: it is named, and the others go on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click
from msgspec.structs import replace

from bench.__main__ import console, finish
from bench.others import OURS, crash_lines, read_others
from bench.page import DOCUMENT
from bench.paper import RESULTS
from bench.peers.clock_changes import compare_years, year_lines
from bench.peers.contenders import CONTENDERS, NAMES, Contender
from bench.peers.environments import Environment
from bench.peers.ratios import RIVAL, with_ratios
from bench.peers.report import as_markdown, keep
from bench.peers.rounds import CRASHES, PERMITS, PLAYED, compare
from bench.peers.scope import QUICK, Scope
from bench.processes import BenchFailed

EVERYTHING = (*PLAYED, *CRASHES, *PERMITS)
PEERS = click.argument("peers", nargs=-1, type=click.Choice(NAMES), metavar="[PEER]...")


@click.group()
def main() -> None:
    """The same work on other task queues, beside leaseq. A PEER is one of them; by default all take
    part."""


@main.command()
@PEERS
@click.option(
    "--python",
    default=sys.executable,
    help="The interpreter of their environments (the one that runs this).",
)
def setup(peers: tuple[str, ...], python: str) -> None:
    """Install each peer in an environment of its own."""
    failed = False
    for name in dict.fromkeys(contender.environment for contender in choose(peers)):
        with console.status(f"installing {name}"):
            try:
                Environment(name).make(python)
                console.print(f"{name}: ready", markup=False)
            except (BenchFailed, OSError) as error:
                failed = True
                console.print(f"{name} FAILED: {error}", style="bold red", markup=False)
    sys.exit(1 if failed else 0)


@main.command()
@PEERS
@click.option(
    "--measures",
    default=",".join(EVERYTHING),
    show_default=True,
    help="Which, with commas between them.",
)
@click.option(
    "--runs",
    type=click.IntRange(1, 50),
    help="How often each is played (3); the crash comparison three times.",
)
@click.option(
    "--at-once",
    type=click.IntRange(1, 50),
    default=6,
    show_default=True,
    help="Crash comparisons side by side.",
)
@click.option("--quick", is_flag=True, help="A little of everything, once: to see that it works.")
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    default=RESULTS,
    help="Where the values are kept.",
)
def run(
    peers: tuple[str, ...],
    measures: str,
    runs: int | None,
    at_once: int,
    *,
    quick: bool,
    results: Path,
) -> None:
    """Measure peers, and leaseq with them if it is named or no peer is."""
    wanted = measures.split(",")
    if unknown := set(wanted) - set(EVERYTHING):
        raise click.UsageError(f"no such measure: {', '.join(sorted(unknown))}")
    scope = QUICK if quick else Scope()
    scope = scope if runs is None else replace(scope, runs=runs)
    comparison = finish(compare(choose(peers), wanted, scope, at_once=at_once))
    file = keep(comparison, results)
    print(as_markdown(comparison))
    console.print(f"Every value stands in {file}")
    sys.exit(1 if comparison.failed else 0)


@main.command()
def times() -> None:
    """Compare the times of cron expressions in a year in which clocks change, and print a table."""
    print("\n".join(year_lines(compare_years())))


@main.command()
@click.argument("result", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("killed", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def page(result: Path, killed: Path) -> None:
    """Put the ratios of RESULT, its machine, and the crash comparison of KILLED into
    docs/benchmarks.md. Both are kept results, and may be the same."""
    comparison = read_others(result)
    lines = [f"- {name}: {value}" for name, value in comparison.machine.items()]
    lines += [
        f"- {contender.name}: {contender.settings}"
        for contender in comparison.contenders
        if contender.name in (OURS, RIVAL)
    ]
    text = DOCUMENT.read_text(encoding="utf-8")
    lines += crash_lines(read_others(killed))
    DOCUMENT.write_text(with_ratios(text, comparison.figures, lines), encoding="utf-8")
    print(DOCUMENT)


def choose(peers: Sequence[str]) -> list[Contender]:
    """Those, or all."""
    return [contender for contender in CONTENDERS if not peers or contender.name in peers]


if __name__ == "__main__":
    main()
