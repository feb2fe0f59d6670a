"""Plot the effect of a full ledger on speed, and of a backlog on Valkey."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from bench.figures import Figure
from bench.goals import Figures
from bench.plots.style import Theme, bare, canvas, say

HEIGHT = 3.6
RATIO = ", of that without"
MEMORY, LISTED = ": Valkey memory", ": in the lists"


def scale(figures: Figures, theme: Theme) -> Canvas | None:
    """Two panels, or the one that there are figures for."""
    ratios = [
        figure
        for name in ("deep", "aged")
        for figure in figures.get(name, ())
        if figure.name.endswith(RATIO)
    ]
    backlog = figures.get("backlog", ())
    panels = [panel for panel, found in ((_ratios, ratios), (_backlog, backlog)) if found]
    if not panels:
        return None
    picture = canvas(theme, height=HEIGHT)
    for axes, panel in zip(picture.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        panel(axes, ratios if panel is _ratios else backlog, theme)
    return picture


def _ratios(axes: Axes, ratios: Sequence[Figure], theme: Theme) -> None:
    """Bars of percent of what the same work reaches on an empty ledger."""
    bare(axes, theme, title="Of what an empty ledger gives")
    names = [figure.name.removesuffix(RATIO).replace(": ", "\n") for figure in ratios]
    names = [name.replace("latency p50", "latency p50 (less is better)") for name in names]
    axes.set_yticks(range(len(ratios)), names, color=theme.ink, fontsize=8.5)
    axes.set_ylim(len(ratios) - 0.4, -0.8)
    axes.xaxis.set_visible(False)
    axes.axvline(100, ymax=0.97, color=theme.quiet, linewidth=1.2, linestyle=(0, (3, 2)), zorder=0)
    say(axes, "100 %", (100, -0.6), (4, 0), color=theme.quiet)
    for place, figure in enumerate(ratios):
        least, most = figure.spread
        axes.barh(place, figure.median, height=0.5, color=theme.ours)
        axes.plot([least, most], [place, place], color=theme.ink, linewidth=1.3)
        say(
            axes,
            f"{figure.median:.0f} %",
            (most, place),
            (6, 0),
            color=theme.ink,
            fontweight="bold",
        )
    axes.set_xlim(0, max(100, *(figure.spread[1] for figure in ratios)) * 1.2)


def _backlog(axes: Axes, found: Sequence[Figure], theme: Theme) -> None:
    """Lines over the number of tasks recorded: what Valkey has allocated."""
    memory = [figure for figure in found if figure.name.endswith(MEMORY)]
    listed = [figure for figure in found if figure.name.endswith(LISTED)]
    bare(axes, theme, title="Valkey while a backlog grows")
    shares = [int(figure.name.rpartition(" at ")[2].split()[0]) for figure in memory]
    low, high = ([figure.spread[end] for figure in memory] for end in (0, 1))
    axes.fill_between(shares, low, high, color=theme.ours, alpha=0.25, linewidth=0)
    axes.plot(
        shares,
        [figure.median for figure in memory],
        "o-",
        color=theme.ours,
        linewidth=2,
        markersize=4,
    )
    axes.set_xlim(0, 118)
    axes.set_ylim(0, max(high) * 1.3)
    total = memory[-1].name.rpartition(", at ")[0]
    axes.set_xticks([0, 50, 100], ["0", "half", total.removeprefix("backlog of ")])
    axes.yaxis.set_visible(False)
    axes.set_xlabel("tasks recorded, no worker", color=theme.quiet, fontsize=8.5)
    axes.axhline(0, color=theme.line, linewidth=1)
    for place, height in ((0, max(high[:3])), (-1, max(high))):
        text = f"{memory[place].median:,.1f} MiB\n{listed[place].median:,.0f} in lists"
        at = (shares[place], height)
        say(axes, text, at, (0, 18), ha="center", color=theme.ink, fontweight="bold")
