"""Draw the life of a task as SVG.

The picture is made of escaped elements only, without a style attribute: classes give its colours in
both themes. Kinds of bars differ by pattern too, not only by colour, and each has a title. The table
beside it has the same times. A life that is longer than `LINEAR_SECONDS` has a logarithmic axis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from math import ceil, log1p

from leaseq.operations.life.lanes import Life, LifeBar, LifeLane, LifeMark
from leaseq.operations.why.wording import span
from leaseq.safe_text.markup import HTML, element, text
from leaseq.safe_text.printable import printable

WIDTH, GUTTER, RIGHT = 1000.0, 200.0, 984.0
TOP, LANE, BAR = 30.0, 30.0, 14.0
LEAST = 3.0  # pixels of the shortest bar
LINEAR_SECONDS = 3600.0
TITLE_LENGTH = 400
_STEPS = (
    0.001,
    0.01,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
)
_SINCE = (1.0, 10.0, 60.0, 600.0, 3600.0, 21_600.0, 86_400.0, 604_800.0, 2_592_000.0, 31_536_000.0)
_SIGNS = {
    "person": "▲",
    "failed": "✕",
    "succeeded": "✓",
    "cancelled": "⊘",
    "lost": "✕",
    "refused": "▲",
}

Place = Callable[[datetime], float]


def draw_life(life: Life) -> HTML:
    """The picture."""
    total = max((life.ended - life.began).total_seconds(), 0.001)
    place = _linear(life.began, total)
    ticks = [*_clock_ticks(life.began, total)]
    if total > LINEAR_SECONDS:
        place = _logarithmic(life.began, total)
        ticks = [*_since_ticks(life.began, total)]
    height = TOP + LANE * len(life.lanes) + 4
    drawn = [_patterns(), *_axis(ticks, place, height)]
    for number, lane in enumerate(life.lanes):
        drawn.append(_lane(lane, TOP + LANE * number, place, striped=number % 2 == 1))
    if life.ended <= life.now and life.now == life.ended:
        x = _short(place(life.now))
        drawn.append(element("line", x1=x, x2=x, y1=TOP - 6, y2=_short(height), class_="life-now"))
    return element(
        "svg",
        *drawn,
        class_="life",
        viewBox=f"0 0 {_short(WIDTH)} {_short(height)}",
        role="img",
        aria_label="The life of the task in time; the table of its times follows",
    )


def _linear(began: datetime, total: float) -> Place:
    def place(when: datetime) -> float:
        share = (when - began).total_seconds() / total
        return GUTTER + (RIGHT - GUTTER) * min(max(share, 0.0), 1.0)

    return place


def _logarithmic(began: datetime, total: float) -> Place:
    whole = log1p(total)

    def place(when: datetime) -> float:
        seconds = min(max((when - began).total_seconds(), 0.0), total)
        return GUTTER + (RIGHT - GUTTER) * log1p(seconds) / whole

    return place


def _clock_ticks(began: datetime, total: float) -> Iterator[tuple[datetime, str]]:
    """Five to eight round times of day."""
    step = next((each for each in _STEPS if total / each <= 7), _STEPS[-1])
    first = ceil(began.timestamp() / step) * step
    for number in range(9):
        when = datetime.fromtimestamp(first + number * step, UTC)
        if (when - began).total_seconds() > total:
            return
        yield when, f"{when:%H:%M:%S}" + (f".{when:%f}"[:4] if step < 1 else "")


def _since_ticks(began: datetime, total: float) -> Iterator[tuple[datetime, str]]:
    """Times since the beginning, each about ten times the one before."""
    for seconds in _SINCE:
        if seconds <= total:
            yield began + timedelta(seconds=seconds), f"+{span(seconds).replace('.0 s', ' s')}"


def _axis(ticks: list[tuple[datetime, str]], place: Place, height: float) -> Iterator[HTML]:
    last = 0.0
    for when, words in ticks:
        x = place(when)
        yield element("line", x1=_short(x), x2=_short(x), y1=20, y2=_short(height), class_="axis")
        if x - last > 62:
            yield element("text", text(words), x=_short(x), y=14, text_anchor="middle")
            last = x


def _lane(lane: LifeLane, top: float, place: Place, *, striped: bool) -> HTML:
    inside = []
    if striped:
        inside.append(
            element("rect", x=0, y=_short(top), width=_short(WIDTH), height=LANE, class_="stripe")
        )
    middle = top + LANE / 2
    name_y = middle + (0 if lane.who else 4)
    inside.append(element("text", text(lane.name), x=6, y=_short(name_y), class_="name"))
    if lane.who:
        who = printable(lane.who)[:34]
        inside.append(element("text", text(who), x=6, y=_short(middle + 11), class_="who"))
    inside += [_bar(bar, middle, place) for bar in lane.bars]
    inside += [_mark(mark, middle, place) for mark in lane.marks]
    return element("g", *inside)


def _bar(bar: LifeBar, middle: float, place: Place) -> HTML:
    begin, end = place(bar.began), place(bar.ended)
    words = f"{bar.text} ({_times(bar.began, bar.ended, is_open=bar.is_open)})"
    return element(
        "rect",
        _title(words),
        x=_short(min(begin, RIGHT - LEAST)),
        y=_short(middle - BAR / 2),
        width=_short(max(end - begin, LEAST)),
        height=_short(BAR),
        rx=2,
        class_=f"life-bar is-{bar.kind}" + (" is-open" if bar.is_open else ""),
        fill="url(#life-hatch)" if bar.kind == "silent" else None,
    )


def _mark(mark: LifeMark, middle: float, place: Place) -> HTML:
    return element(
        "text",
        _title(f"{_clock(mark.at)} {mark.text}"),
        text(_SIGNS[mark.kind]),
        x=_short(place(mark.at)),
        y=_short(middle + 5),
        text_anchor="middle",
        class_=f"life-mark is-{mark.kind}",
    )


def _patterns() -> HTML:
    stroke = element("path", d="M-1 7L7 -1M5 7L7 5M-1 1L1 -1", class_="life-stroke")
    hatch = element(
        "pattern", stroke, id="life-hatch", width=6, height=6, patternUnits="userSpaceOnUse"
    )
    return element("defs", hatch)


def _title(words: str) -> HTML:
    return element("title", text(printable(words)[:TITLE_LENGTH]))


def _times(began: datetime, ended: datetime, *, is_open: bool) -> str:
    return f"{_clock(began)} to {'now' if is_open else _clock(ended)}"


def _clock(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S}.{when:%f}"[:23] + " UTC"


def _short(value: float) -> str:
    """A tenth of a pixel is enough."""
    return f"{value:.1f}".rstrip("0").rstrip(".")


__all__ = ["draw_life"]
