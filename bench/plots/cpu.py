"""Plot the CPU time of a task by kind of process."""

from __future__ import annotations

from matplotlib.figure import Figure as Canvas

from bench.goals import Figures
from bench.plots.style import Theme, bare, canvas, readable_on, say

MARK = ": CPU of "
# In this order, each with its colour in every bar.
KINDS = ("worker", "Postgres", "Valkey", "API", "reaper", "client")
LEAST_LABELLED = 0.045


def cpu(figures: Figures, theme: Theme) -> Canvas | None:
    """Of the measurement `cpu`."""
    ways: dict[str, dict[str, float]] = {}
    for figure in figures.get("cpu", ()):
        way, _, kind = figure.name.partition(MARK)
        if kind in KINDS:
            ways.setdefault(way, {})[kind] = figure.median
    if not ways:
        return None
    picture = canvas(theme, height=1.3 + 0.62 * len(ways))
    axes = picture.add_subplot()
    bare(axes, theme, title="CPU of one task, in microseconds, by kind of process")
    axes.set_yticks(range(len(ways)), list(ways), color=theme.ink, fontsize=9)
    axes.set_ylim(len(ways) - 0.4, -0.6)
    axes.xaxis.set_visible(False)
    longest = max(sum(parts.values()) for parts in ways.values())
    for place, parts in enumerate(ways.values()):
        left = 0.0
        for kind, colour in zip(KINDS, theme.parts, strict=True):
            part = parts.get(kind, 0.0)
            axes.barh(
                place,
                part,
                left=left,
                height=0.56,
                color=colour,
                edgecolor=theme.paper,
                linewidth=1.2,
            )
            if part > LEAST_LABELLED * longest:
                axes.text(
                    left + part / 2,
                    place,
                    f"{part:.0f}",
                    ha="center",
                    va="center",
                    color=readable_on(colour),
                    fontsize=8.5,
                )
            left += part
        say(axes, f"{left:.0f}", (left, place), (7, 0), color=theme.ink, fontweight="bold")
    axes.set_xlim(0, longest * 1.1)
    used = {kind for parts in ways.values() for kind in parts}
    shown = [
        (kind, colour) for kind, colour in zip(KINDS, theme.parts, strict=True) if kind in used
    ]
    for kind, colour in shown:
        axes.plot([], [], "s", color=colour, label=kind, markersize=8)
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=len(shown), frameon=False, labelcolor=theme.ink, fontsize=8.5,
        handletextpad=0.2,
    )  # fmt: skip
    return picture
