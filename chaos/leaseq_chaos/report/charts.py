"""Draw lines and axes.

Pure geometry. Across, the unit is one second of the run, so that a script can zoom by changing the
view box and nothing else; down, it is one pixel. The paper is stretched to the width of the window:
strokes keep their width, words stand outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import floor, log10

from leaseq_chaos.report.markup import HTML, element

__all__ = ["Scale", "area", "dot", "line", "linear", "logarithmic", "paper", "rect", "round_up"]

Scale = Callable[[float], float]  # a value -> pixels from the top
Values = Sequence[float | None]


def linear(*, top: float, height: float) -> Scale:
    """0 at the bottom, `top` at the top."""
    return lambda value: height - height * value / top


def logarithmic(*, bottom: float, top: float, height: float) -> Scale:
    """A logarithmic axis; values below the bottom lie on it."""
    span = log10(top / bottom)
    return lambda value: height - height * log10(max(value, bottom) / bottom) / span


def round_up(value: float) -> float:
    """The next 1, 2 or 5 times a power of ten: the top of an axis."""
    if value <= 1:
        return 1.0
    power = 10.0 ** floor(log10(value))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= value)


def line(values: Values, *, seconds: float, scale: Scale) -> str:
    """The path through the middles of the buckets; it breaks off where there is no value."""
    pieces = []
    for run in _runs(values):
        points = [f"{_short((at + 0.5) * seconds)} {_short(scale(value))}" for at, value in run]
        if len(points) == 1:
            points.append(points[0])  # a stroke of no length, which its round ends make a dot
        pieces.append("M" + "L".join(points))
    return "".join(pieces)


def area(upper: Values, lower: Values, *, seconds: float, scale: Scale) -> str:
    """The closed path between two lines that have their gaps in the same places."""
    pieces = []
    for above, below in zip(_runs(upper), _runs(lower), strict=True):
        points = [
            f"{_short((at + 0.5) * seconds)} {_short(scale(value))}"
            for at, value in [*above, *reversed(below)]
        ]
        pieces.append("M" + "L".join(points) + "Z")
    return "".join(pieces)


def rect(*, x: float, width: float, y: float, height: float, **attributes: object) -> HTML:
    return element(
        "rect",
        x=_short(x),
        y=_short(y),
        width=_short(max(width, 0.01)),
        height=_short(height),
        **attributes,
    )


def dot(*, x: float, y: float, **attributes: object) -> HTML:
    """A point that stays round however wide the paper is stretched: a stroke of no length with
    round ends."""
    return element("path", d=f"M{_short(x)} {_short(y)}h.001", **attributes)


def paper(*drawn: HTML, length: float, height: float, label: str) -> HTML:
    """The drawing itself. `length` in seconds."""
    view, style = f"0 0 {_short(length)} {_short(height)}", f"height:{_short(height)}px"
    return element(
        "svg",
        *drawn,
        class_="time",
        viewBox=view,
        preserveAspectRatio="none",
        style=style,
        role="img",
        aria_label=label,
    )


def _runs(values: Values) -> Iterator[list[tuple[int, float]]]:
    run: list[tuple[int, float]] = []
    for at, value in enumerate(values):
        if value is not None:
            run.append((at, value))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _short(value: float) -> str:
    """Two digits are a hundredth of a second or of a pixel."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
