"""Plot every figure as a share of its goal, with the best other queue as a mark.

Where more is better, a bar wants to reach the line. Where less is better, a dot wants to stay to
the left of it; there the shares differ by orders of magnitude, so the axis is logarithmic, on which
a bar would mean nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from bench.goals import Verdict
from bench.paper import bound_in_words, number
from bench.plots.style import Theme, bare, canvas, say

ROW_INCHES = 0.44
EDGE_INCHES = 1.15
LEAST_SHARE = 1e-3


def rates(verdicts: Sequence[Verdict], theme: Theme) -> Canvas | None:
    """Rates, of which more is better: bars from zero."""
    chosen = [
        verdict for verdict in verdicts if verdict.goal.more and verdict.goal.unit == "tasks/s"
    ]
    if not chosen:
        return None
    picture, axes = _rows(chosen, theme, title="Rates, as a share of the goal: more is better")
    for place, verdict in enumerate(chosen):
        share, (least, most) = verdict.figure.median / verdict.bound, verdict.figure.spread
        axes.barh(place, share, height=0.52, color=theme.ours)
        _spread(axes, place, least / verdict.bound, most / verdict.bound, theme)
        end = max(share, most / verdict.bound)
        say(axes, _measured(verdict), (end, place), (8, 0), color=theme.ink, fontweight="bold")
        if verdict.goal.best is not None:
            _best(axes, place, verdict, theme)
    farthest = max(1.0, *(verdict.figure.spread[1] / verdict.bound for verdict in chosen))
    axes.set_xlim(0, farthest * 1.24)
    return picture


def costs(verdicts: Sequence[Verdict], theme: Theme) -> Canvas | None:
    """Times, CPU and memory, of which less is better: dots."""
    chosen = [verdict for verdict in verdicts if not verdict.goal.more]
    if not chosen:
        return None
    picture, axes = _rows(
        chosen,
        theme,
        title="Times, CPU, memory, as a share of what the goal allows: less is better",
    )
    axes.set_xscale("log")
    shares = [1.0]
    for place, verdict in enumerate(chosen):
        values = (verdict.figure.median, *verdict.figure.spread)
        share, least, most = (max(value / verdict.bound, LEAST_SHARE) for value in values)
        shares += [
            least,
            most,
            *([] if verdict.goal.best is None else [verdict.goal.best / verdict.bound]),
        ]
        axes.plot(
            [least, most], [place, place], color=theme.ours, linewidth=2.2, solid_capstyle="round"
        )
        axes.plot(share, place, "o", markersize=8, color=theme.ours, markeredgecolor=theme.paper)
        say(axes, _measured(verdict), (most, place), (8, 0), color=theme.ink, fontweight="bold")
        if verdict.goal.best is not None:
            _best(axes, place, verdict, theme)
    axes.set_xlim(min(shares) / 1.6, max(shares) * 4.5)
    return picture


def _rows(verdicts: Sequence[Verdict], theme: Theme, *, title: str) -> tuple[Canvas, Axes]:
    """A row for each goal, the first on top, with the goal itself below its name."""
    picture = canvas(theme, height=EDGE_INCHES + ROW_INCHES * len(verdicts))
    axes = picture.add_subplot()
    bare(axes, theme, title=title)
    axes.set_ylim(len(verdicts) - 0.4, -0.9)
    names = [
        f"{verdict.goal.about}\n{bound_in_words(verdict)} {verdict.goal.unit}"
        for verdict in verdicts
    ]
    axes.set_yticks(range(len(verdicts)), names, color=theme.ink, fontsize=8.5, linespacing=1.15)
    axes.xaxis.set_visible(False)
    axes.axvline(1.0, ymax=0.985, color=theme.goal, linewidth=1.6, zorder=0)
    say(axes, "goal", (1.0, -0.62), (4, 0), color=theme.goal, fontweight="bold")
    return picture, axes


def _spread(axes: Axes, place: int, least: float, most: float, theme: Theme) -> None:
    """A whisker from the least to the most, where they differ."""
    if least != most:
        axes.plot(
            [least, most], [place, place], color=theme.ink, linewidth=1.3, solid_capstyle="butt"
        )
        axes.plot(
            [least, most], [place, place], "|", color=theme.ink, markersize=6, markeredgewidth=1.3
        )


def _best(axes: Axes, place: int, verdict: Verdict, theme: Theme) -> None:
    """The best other, with its name below."""
    share = (verdict.goal.best or 0.0) / verdict.bound
    axes.plot(share, place + 0.3, "^", markersize=5, color=theme.others, clip_on=False)
    text = f"{verdict.goal.best_is} {number(verdict.goal.best or 0.0)}"
    say(axes, text, (share, place + 0.3), (6, -1), color=theme.quiet, fontsize=7.5)


def _measured(verdict: Verdict) -> str:
    return f"{number(verdict.figure.median)} {verdict.goal.unit}"
