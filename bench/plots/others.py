"""Plot bars for every contender of a comparison, the fastest on top."""

from __future__ import annotations

from matplotlib.figure import Figure as Canvas

from bench.others import OURS, Others
from bench.paper import number
from bench.plots.style import Theme, bare, canvas, say

PANELS = {
    "Drained by one worker, tasks/s": "drain, 1 worker",
    "Drained by two workers, tasks/s": "drain, 2 workers",
}


def others(comparison: Others, theme: Theme) -> Canvas | None:
    """One panel for each of the figures that most people ask for."""
    panels = {title: found for title, name in PANELS.items() if (found := comparison.column(name))}
    if not panels:
        return None
    longest = max(len(found) for found in panels.values())
    picture = canvas(theme, height=1.0 + 0.27 * longest)
    for axes, (title, found) in zip(
        picture.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        bare(axes, theme, title=title)
        ranked = sorted(found.items(), key=lambda pair: -pair[1].median)
        axes.set_yticks(
            range(len(ranked)), [who for who, _ in ranked], color=theme.ink, fontsize=8.5
        )
        axes.set_ylim(len(ranked) - 0.4, -0.7)
        axes.xaxis.set_visible(False)
        for place, (who, figure) in enumerate(ranked):
            least, most = figure.spread
            axes.barh(
                place, figure.median, height=0.66, color=theme.ours if who == OURS else theme.others
            )
            axes.plot([least, most], [place, place], color=theme.ink, linewidth=1.2)
            weight = "bold" if who == OURS else "normal"
            say(
                axes,
                number(figure.median),
                (most, place),
                (6, 0),
                color=theme.ink,
                fontsize=8,
                fontweight=weight,
            )
        axes.set_xlim(0, max(figure.spread[1] for figure in found.values()) * 1.2)
    return picture
