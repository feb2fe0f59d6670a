"""The coordinates of small charts. The templates draw them as SVG.

A value of None is a gap: nothing is drawn where nothing is known.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

WIDTH, HEIGHT = 120.0, 28.0


class Line(Struct, frozen=True):
    """A chart of one line: the pieces between gaps as points of a polyline, and its largest
    value."""

    pieces: list[str]
    areas: list[str]
    largest: float


def line(values: Sequence[float | None]) -> Line:
    """The line through these values, from the left to the right of a box."""
    known = [value for value in values if value is not None]
    largest = max(known, default=0.0)
    step = WIDTH / max(len(values) - 1, 1)
    pieces: list[list[tuple[float, float]]] = [[]]
    for number, value in enumerate(values):
        if value is None:
            pieces.append([])
        else:
            height = value / largest if largest else 0.0
            pieces[-1].append((number * step, HEIGHT - 1 - height * (HEIGHT - 3)))
    drawn = [piece if len(piece) > 1 else [*piece, _right(piece[0])] for piece in pieces if piece]
    return Line(
        [_points(piece) for piece in drawn],
        [_points([(piece[0][0], HEIGHT), *piece, (piece[-1][0], HEIGHT)]) for piece in drawn],
        largest,
    )


class Bar(Struct, frozen=True):
    """A bar of a chart, in its units. A height of None: the value is not known."""

    x: int
    y: float
    height: float | None


# A bar, the gap after it, and the largest height.
BAR, GAP, BARS_HEIGHT = 10, 2, 80.0


def bars(values: Sequence[int | None]) -> list[Bar]:
    """A bar for each value, from the left to the right. A value above 0 can be seen."""
    largest = max((value for value in values if value is not None), default=0)
    found = []
    for number, value in enumerate(values):
        height = None if value is None else 0.0
        if value:
            height = max(round(BARS_HEIGHT * value / largest, 1), 2.0)
        found.append(Bar(number * (BAR + GAP), BARS_HEIGHT - (height or 0.0), height))
    return found


def _right(point: tuple[float, float]) -> tuple[float, float]:
    return (point[0] + 1.0, point[1])


def _points(piece: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in piece)


__all__ = ["BAR", "BARS_HEIGHT", "GAP", "HEIGHT", "WIDTH", "Bar", "Line", "bars", "line"]
