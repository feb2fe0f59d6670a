"""The chart of the overview: attempts by outcome, waits, marks of the diary.

Coordinates only; the template draws them as SVG. A step that is not known is a gap, and never 0. The
marks of one part of the axis stand together, so that a finger can tell them apart on a phone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from urllib.parse import urlencode

from msgspec import Struct

from leaseq.ledger.notices import Mark
from leaseq.operations.statistics.read import EndedAttempts, Statistics, StatisticsStep

WIDTH = 720.0
BARS_TOP, BARS_HEIGHT = 66.0, 120.0
WAITS_HEIGHT = 48.0
HEIGHT = BARS_TOP + BARS_HEIGHT
# A part of the axis for marks, and the marks of one that are links of their own.
SLOTS, MOST_IN_SLOT = 12, 3

OUTCOMES = EndedAttempts.__struct_fields__
WORDS = {"timed_out": "timed out"}
# By kind: the sign, and the words about it.
SIGNS = {
    "worker.reaped": ("✕", "Worker {} was lost, and its tasks were taken back"),
    "epoch.changed": ("↻", "Redis lost its data, and was filled again from the ledger"),
    "queue.paused": ("‖", "Queue {} was paused"),
    "queue.resumed": ("▸", "Queue {} was resumed"),
    "deployed": ("▲", "The first worker of version {} opened"),
}


class Layer(Struct, frozen=True):
    """The bars of one outcome, as a path, and how many attempts ended so."""

    outcome: str
    word: str
    path: str
    count: int


class PlacedMark(Struct, frozen=True, kw_only=True):
    """A mark at its time, which leads to its entry in the diary."""

    x: float
    at: datetime
    sign: str
    text: str
    address: str


class Slot(Struct, frozen=True, kw_only=True):
    """The marks of a part of the axis, the oldest first. The `more` oldest are left out; `address` leads to all
    of them."""

    marks: list[PlacedMark]
    more: int
    address: str


class HistoryChart(Struct, frozen=True, kw_only=True):
    """The chart. `most` is the height of the bars in attempts a second, `longest` that of the lines in
    seconds. `gaps`: where each unknown part begins, and its width."""

    layers: list[Layer]
    gaps: list[tuple[float, float]]
    p50: list[str]
    p95: list[str]
    most: float
    longest: float
    marks: list[PlacedMark]
    slots: list[Slot]
    ticks: list[str]
    steps: list[StatisticsStep]


def chart_of(statistics: Statistics, marks: Iterable[Mark]) -> HistoryChart:
    """The chart of a window. `marks` of other times are left out."""
    steps = statistics.steps
    step = WIDTH / len(steps)
    figures = [each.figures for each in steps]
    most = max((each.ended_per_second for each in figures if each is not None), default=0.0)
    longest = max((each.wait.p95 or 0.0 for each in figures if each is not None), default=0.0)
    begin = steps[0].at
    end = steps[-1].at + timedelta(seconds=statistics.step_seconds)
    placed = [_placed(mark, begin, end) for mark in marks if begin <= mark.at < end]
    return HistoryChart(
        layers=_layers(steps, step, most),
        gaps=[(number * step, step) for number, each in enumerate(figures) if each is None],
        p50=_line([None if f is None else f.wait.p50 for f in figures], step, longest),
        p95=_line([None if f is None else f.wait.p95 for f in figures], step, longest),
        most=most,
        longest=longest,
        marks=placed,
        slots=_slots(placed, begin, end),
        ticks=_ticks(begin, end),
        steps=[each for each in reversed(steps) if _is_listed(each)],
    )


def _layers(steps: Sequence[StatisticsStep], step: float, most: float) -> list[Layer]:
    """One path for each outcome that there was, from the bottom to the top."""
    tops = [HEIGHT] * len(steps)
    layers = []
    for outcome in OUTCOMES:
        pieces, total = [], 0
        for number, each in enumerate(steps):
            count = 0 if each.figures is None else getattr(each.figures.ended, outcome)
            if not count:
                continue
            total += count
            height = BARS_HEIGHT * count / each.seconds / most
            tops[number] -= height
            x, width = number * step, step * 0.86
            pieces.append(f"M{x:.1f} {tops[number]:.1f}h{width:.1f}v{height:.1f}h-{width:.1f}z")
        if total:
            layers.append(Layer(outcome, WORDS.get(outcome, outcome), "".join(pieces), total))
    return layers


def _line(values: Sequence[float | None], step: float, longest: float) -> list[str]:
    """The pieces of a line between gaps, as points of polylines."""
    pieces: list[list[str]] = [[]]
    for number, value in enumerate(values):
        if value is None:
            pieces.append([])
            continue
        y = WAITS_HEIGHT - (WAITS_HEIGHT - 4) * (value / longest if longest else 0.0)
        pieces[-1].append(f"{(number + 0.43) * step:.1f},{y:.1f}")
    # A line of one point cannot be seen.
    return [" ".join(piece if len(piece) > 1 else piece * 2) for piece in pieces if piece]


def _placed(mark: Mark, begin: datetime, end: datetime) -> PlacedMark:
    sign, words = SIGNS[mark.kind]
    return PlacedMark(
        x=round(WIDTH * ((mark.at - begin) / (end - begin)), 1),
        at=mark.at,
        sign=sign,
        text=words.format(mark.about),
        # The entry is among the first of its page.
        address=f"{_address(until=mark.at + timedelta(seconds=1))}#notice-{mark.notice_id}",
    )


def _slots(marks: Sequence[PlacedMark], begin: datetime, end: datetime) -> list[Slot]:
    length = (end - begin) / SLOTS
    slots = []
    for number in range(SLOTS):
        first, last = begin + number * length, begin + (number + 1) * length
        within = [mark for mark in marks if first <= mark.at < last]
        shown = within if len(within) <= MOST_IN_SLOT else within[: MOST_IN_SLOT - 1]
        slots.append(
            Slot(
                marks=shown[::-1],
                more=len(within) - len(shown),
                address=_address(since=first, until=last),
            )
        )
    return slots


def _address(**times: datetime) -> str:
    query = {name: f"{when:%Y-%m-%dT%H:%M:%S.%fZ}" for name, when in times.items()}
    return f"/ui/events?{urlencode(query)}"


def _ticks(begin: datetime, end: datetime) -> list[str]:
    """Five times of the axis, in UTC."""
    form = "%m-%d" if end - begin > timedelta(days=2) else "%H:%M"
    times = [begin + (end - begin) * part / 4 for part in range(5)]
    return [f"{when:{form}}" for when in times[:-1]] + [f"{times[-1]:{form}} UTC"]


def _is_listed(step: StatisticsStep) -> bool:
    """Whether the table has a line for a step: something happened in it, or it is not known."""
    figures = step.figures
    return figures is None or figures.ended_per_second > 0 or figures.wait.count > 0


__all__ = ["HEIGHT", "OUTCOMES", "WAITS_HEIGHT", "WIDTH", "WORDS", "HistoryChart", "chart_of"]
