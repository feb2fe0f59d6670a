"""Compare figures with the goals in goals.toml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from bench.figures import Figure
from bench.scale import Scale

LIST = Path(__file__).with_suffix(".toml")

Figures = Mapping[str, Sequence[Figure]]


class Goal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of them. `figure`: how the name of the figure ends; of several, the one farthest from the
    goal decides. `more`: at least the bound is wanted; otherwise less than it.

    `share_of`: the bound is a share of the median of another figure (measurement, name). `others`:
    what others reach, in words; `best`, `best_is`: the best of them that promises as much.
    `beside`: the figure of a comparison (bench/peers) that says it. `at_least`: a measurement on a
    smaller scale does not decide it.
    """

    about: str
    measurement: str
    figure: str
    bound: float
    unit: str
    more: bool = False
    share_of: tuple[str, str] | None = None
    others: str = ""
    best: float | None = None
    best_is: str = ""
    beside: str = ""
    at_least: dict[str, int] = {}


class Verdict(Struct, frozen=True):
    """One goal, the figure that decides over it, and the bound in its unit."""

    goal: Goal
    figure: Figure
    bound: float

    @property
    def reached(self) -> bool:
        return (
            self.figure.median >= self.bound if self.goal.more else self.figure.median < self.bound
        )


class _List(Struct, forbid_unknown_fields=True):
    goal: list[Goal]


GOALS = msgspec.toml.decode(LIST.read_bytes(), type=_List).goal


def judge(figures: Figures, scale: Scale) -> list[Verdict]:
    """Of every goal whose figure was measured, on the scale that it asks for."""
    verdicts = []
    for goal in GOALS:
        if any(getattr(scale, name) < least for name, least in goal.at_least.items()):
            continue
        found = _farthest(goal, figures)
        bound = _bound(goal, figures)
        if found is not None and bound is not None:
            verdicts.append(Verdict(goal, found, bound))
    return verdicts


def _farthest(goal: Goal, figures: Figures) -> Figure | None:
    """The least of the figures of a goal if more is wanted, and otherwise the most."""
    named = [
        figure for figure in figures.get(goal.measurement, ()) if figure.name.endswith(goal.figure)
    ]
    choose = min if goal.more else max
    return choose(named, key=lambda figure: figure.median, default=None)


def _bound(goal: Goal, figures: Figures) -> float | None:
    """As a number; None if it depends on a figure that was not measured."""
    if goal.share_of is None:
        return goal.bound
    measurement, name = goal.share_of
    found = next((figure for figure in figures.get(measurement, ()) if figure.name == name), None)
    return None if found is None else goal.bound * found.median
