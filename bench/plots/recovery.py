"""Plot recovery after kills, a dot for each kill, on a logarithmic axis."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from bench.goals import Figures, Verdict
from bench.plots.style import Theme, bare, canvas, say

MILLISECONDS = 1e3
ROW_INCHES = 0.55
EDGE_INCHES = 1.3
SCATTER = 0.16
SECONDS = {0.01: "10 ms", 0.1: "0.1 s", 1.0: "1 s", 10.0: "10 s", 100.0: "100 s"}


def recovery(figures: Figures, verdicts: Sequence[Verdict], theme: Theme) -> Canvas | None:
    """A row for each measurement of kills."""
    kills = {
        name: figure
        for name, found in figures.items()
        for figure in found
        if figure.name.endswith(" each")
    }
    if not kills:
        return None
    picture = canvas(theme, height=EDGE_INCHES + ROW_INCHES * len(kills))
    axes = picture.add_subplot()
    bare(axes, theme, title="From the kill until every task that was lost runs again")
    axes.set_xscale("log")
    axes.set_ylim(len(kills) - 0.4, -0.7)
    names = [figure.name.removesuffix(": each").rpartition(",") for figure in kills.values()]
    axes.set_yticks(
        range(len(kills)),
        [f"{what}\n{count.strip()}" for what, _, count in names],
        color=theme.ink,
        fontsize=8.5,
    )
    for place, (name, figure) in enumerate(kills.items()):
        seconds = [value / MILLISECONDS for value in figure.values]
        # Spread out by their order, which says nothing, so that dots do not hide each other.
        heights = [place + SCATTER * (-1, 0, 1)[index % 3] for index in range(len(seconds))]
        axes.plot(
            seconds, heights, "o", markersize=5.5, color=theme.ours, alpha=0.75, markeredgewidth=0
        )
        text = f"{figure.median / MILLISECONDS:.2f} s, at most {max(seconds):.2f} s"
        say(axes, text, (max(seconds), place), (9, 0), color=theme.ink, fontweight="bold")
        for verdict in verdicts:
            if verdict.goal.measurement == name and verdict.figure.name.endswith("kills: p99"):
                bound = verdict.bound / MILLISECONDS
                axes.plot(
                    [bound, bound], [place - 0.36, place + 0.36], color=theme.goal, linewidth=2
                )
                say(
                    axes,
                    "goal",
                    (bound, place - 0.36),
                    (0, 4),
                    ha="center",
                    color=theme.goal,
                    fontsize=7.5,
                )
    slowest = max(value for figure in kills.values() for value in figure.values) / MILLISECONDS
    axes.set_xlim(0.008, max(slowest, 10.0) * 8)
    axes.xaxis.set_major_locator(FixedLocator(list(SECONDS)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticklabels(list(SECONDS.values()))
    axes.grid(axis="x", color=theme.line, linewidth=0.8)
    axes.set_axisbelow(True)
    return picture
