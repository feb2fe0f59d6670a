"""The ratios of leaseq to its fastest rival, with the goals of ratios.toml.

The contenders take turns at each measure, so the values of one round are pairs. The range is that
of the ratios of these pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from bench.figures import Figure
from bench.paper import number, table_head, table_row

LIST = Path(__file__).with_suffix(".toml")
OURS = "leaseq"
TITLE = "## Ratio to the fastest rival"
NEXT = "## Beside the others"


class Ratio(Struct, frozen=True, forbid_unknown_fields=True):
    """One row. `less`: a smaller ratio is better."""

    about: str
    figure: str
    goal: float
    less: bool = False


class _List(Struct, forbid_unknown_fields=True):
    rival: str
    ratio: list[Ratio]


_LIST = msgspec.toml.decode(LIST.read_bytes(), type=_List)
RIVAL, RATIOS = _LIST.rival, _LIST.ratio


def ratio_lines(figures: Mapping[str, Sequence[Figure]]) -> Iterator[str]:
    """The table in Markdown, if both took part in anything."""
    ours, theirs = (
        {figure.name: figure for figure in figures.get(who, ())} for who in (OURS, RIVAL)
    )
    rows = [
        _row(ratio, ours[ratio.figure], theirs[ratio.figure])
        for ratio in RATIOS
        if ratio.figure in ours and ratio.figure in theirs
    ]
    if rows:
        yield from ("", f"### Ratio to {RIVAL}", "")
        head = ("what", OURS, RIVAL, "ratio", "in pairs", "goal", "reached")
        yield from table_head(*head, numbers=range(1, 6))
        yield from rows


def with_ratios(
    document: str, figures: Mapping[str, Sequence[Figure]], lines: Sequence[str]
) -> str:
    """The document with the table and these lines in its section `TITLE`, which is replaced, or
    stands before the section `NEXT`."""
    before, _, rest = document.partition(f"{TITLE}\n")
    after = rest[rest.index("\n## ") + 1 :] if rest else ""
    if not rest:
        before, _, after = document.partition(f"{NEXT}\n")
        after = f"{NEXT}\n{after}"
    table = [line for line in ratio_lines(figures) if line.startswith("|")]
    section = "\n".join((TITLE, "", *table, "", *lines))
    return f"{before}{section}\n\n{after}"


def _row(ratio: Ratio, ours: Figure, theirs: Figure) -> str:
    found = ours.median / theirs.median
    pairs = [a / b for a, b in zip(ours.values, theirs.values, strict=False)]
    reached = found <= ratio.goal if ratio.less else found >= ratio.goal
    cells = (
        ratio.about,
        f"{number(ours.median)} {ours.unit}",
        f"{number(theirs.median)} {theirs.unit}",
        f"{found:.2f}",
        f"{min(pairs):.2f} to {max(pairs):.2f}",
        f"{'≤' if ratio.less else '≥'} {ratio.goal:.2f}",
        "yes" if reached else "no",
    )
    return table_row(*cells)
