"""Draw the timeline of a run.

One picture with one time axis: a lane for each nemesis, and below it the rates of submissions and
endings, the waiting tasks, and the latencies. The drawing is complete without its script, which
adds the axis' marks, the zoom and the text under the pointer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from leaseq.model import State
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.report.charts import (
    Scale,
    area,
    dot,
    line,
    linear,
    logarithmic,
    paper,
    rect,
    round_up,
)
from leaseq_chaos.report.faults import Fault, Phase, clock, faults_of, kinds_of, phases_of
from leaseq_chaos.report.markup import HTML, element, joined, span, text
from leaseq_chaos.report.series import WAITING, Band, Series, series_of
from leaseq_chaos.verdict import Finding

__all__ = ["draw_timeline"]

LANE, BAR = 14, 9  # pixels
PANEL = 76
FASTEST = 0.001  # seconds; the bottom of a latency axis
HEIGHTS = {"10 ms": 0.01, "100 ms": 0.1, "1 s": 1.0, "10 s": 10.0, "100 s": 100.0}


def draw_timeline(evidence: Evidence, findings: Sequence[Finding]) -> tuple[HTML, dict[str, Any]]:
    """The picture, and what its script has to know."""
    length = (evidence.run.ended - evidence.run.began) / 1e9
    faults, phases, series = faults_of(evidence), phases_of(evidence), series_of(evidence)
    backdrop = paper(
        *(
            rect(x=p.began, width=p.ended - p.began, y=0, height=1, class_=f"phase-{p.name}")
            for p in phases
        ),
        length=length,
        height=1,
        label=f"Phases: {', '.join(f'{p.name} from {clock(p.began)}' for p in phases)}",
    )
    rows = [
        *_violations(evidence, findings, length),
        _lanes(faults, length),
        _throughput(series, length),
        _backlog(series, length),
        _latency("Submit to claim", series.claimed, series, length),
        _latency("Submit to end", series.finished, series, length),
    ]
    layers = element(
        "div",
        backdrop,
        element("div", id="ticks"),
        element("div", id="mark"),
        class_="layers",
        aria_hidden="true",
    )
    return element("div", layers, *rows, class_="timeline", id="timeline"), _told(
        length, faults, phases, series
    )


def _told(
    length: float, faults: list[Fault], phases: list[Phase], series: Series
) -> dict[str, Any]:
    lines = {"submitted /s": series.submitted, "ended /s": series.ended}
    lines |= {
        state.value: [float(count) for count in counts] for state, counts in series.backlog.items()
    }
    bands = {"claim": series.claimed, "end": series.finished}
    return {
        "length": length,
        "bucket": series.seconds,
        "faults": [
            [f.number, f.nemesis, f.target, round(f.began, 2), round(f.ended, 2), f.remark]
            for f in faults
        ],
        "phases": [[p.name, round(p.began, 2), round(p.ended, 2)] for p in phases],
        "lines": lines,
        "latencies": {
            f"{name} {share}": getattr(band, share)
            for name, band in bands.items()
            for share in ("p50", "p99")
        },
    }


def _violations(evidence: Evidence, findings: Sequence[Finding], length: float) -> list[HTML]:
    """A lane of its own at the top, where there are any whose time is known: one point for each
    second and checker."""
    timed = [
        (f.checker, (v.at - evidence.run.began) / 1e9)
        for f in findings
        for v in f.violations
        if v.at is not None
    ]
    if not timed:
        return []
    points = {(checker, int(at)): at for checker, at in timed}
    marks = [
        element("a", dot(x=at, y=LANE / 2), href=f"#checker-{checker}")
        for (checker, _), at in points.items()
    ]
    drawing = paper(
        *marks,
        length=length,
        height=LANE,
        label=f"{len(timed)} violations over time; the checkers list them",
    )
    label = element(
        "div",
        element("ol", element("li", span("violations"), span(f"{len(timed):,}", "count"))),
        class_="label",
    )
    return [
        element("div", label, element("div", drawing, class_="plot"), class_="row lanes violations")
    ]


def _lanes(faults: list[Fault], length: float) -> HTML:
    kinds = kinds_of(faults)
    index = {fault.number: at for at, fault in enumerate(faults)}
    drawn = [
        _bar(fault, top=lane * LANE, index=index[fault.number])
        for lane, of_kind in enumerate(kinds.values())
        for fault in of_kind
    ]
    names = [
        element(
            "li",
            span(name, f"name is-{of_kind[0].family}", title=name),
            span(len(of_kind), "count"),
        )
        for name, of_kind in kinds.items()
    ]
    said = f"{len(faults)} faults of {len(kinds)} kinds over time; the table All faults lists them"
    drawing = paper(*drawn, length=length, height=max(len(kinds), 1) * LANE, label=said)
    nothing = [] if kinds else [span("no faults were injected", "nothing")]
    return element(
        "div",
        element("div", element("ol", *names), class_="label"),
        element("div", drawing, *nothing, class_="plot"),
        class_="row lanes",
        id="lanes",
    )


def _bar(fault: Fault, *, top: float, index: int) -> HTML:
    class_ = f"fault is-{fault.family}" + (" went-wrong" if fault.remark else "")
    if fault.instant:
        return dot(x=fault.began, y=top + LANE / 2, class_=f"{class_} instant", data_fault=index)
    width = fault.ended - fault.began
    return rect(
        x=fault.began,
        width=width,
        y=top + (LANE - BAR) / 2,
        height=BAR,
        class_=class_,
        data_fault=index,
    )


def _throughput(series: Series, length: float) -> HTML:
    top = round_up(max([*series.submitted, *series.ended], default=1))
    scale = linear(top=top, height=PANEL)
    zero = [0.0] * len(series.ended)
    drawn = [
        _path("fill strong", area(series.ended, zero, seconds=series.seconds, scale=scale)),
        _path("stroke strong", line(series.ended, seconds=series.seconds, scale=scale)),
        _path("stroke plain", line(series.submitted, seconds=series.seconds, scale=scale)),
    ]
    legend = {"strong": "ended", "plain": "submitted"}
    return _panel(
        "Throughput",
        "tasks per second",
        drawn,
        legend=legend,
        marks=_marks(top, scale),
        length=length,
    )


def _backlog(series: Series, length: float) -> HTML:
    piles: list[list[float]] = [[0.0] * len(series.ended)]
    for state in WAITING:
        piles.append(
            [under + count for under, count in zip(piles[-1], series.backlog[state], strict=True)]
        )
    top = round_up(max(piles[-1], default=1))
    scale = linear(top=top, height=PANEL)
    drawn = [
        _path(
            f"fill pile {state.value.lower()}",
            area(above, below, seconds=series.seconds, scale=scale),
        )
        for state, below, above in zip(WAITING, piles, piles[1:], strict=False)
    ]
    legend = {
        f"pile {state.value.lower()}": state.value
        for state in (State.SCHEDULED, State.PENDING, State.PROCESSING)
    }
    return _panel(
        "Backlog", "tasks not ended", drawn, legend=legend, marks=_marks(top, scale), length=length
    )


def _latency(title: str, band: Band, series: Series, length: float) -> HTML:
    top = max(10.0, round_up(max((value for value in band.p99 if value is not None), default=1)))
    scale = logarithmic(bottom=FASTEST, top=top, height=PANEL)
    drawn = [
        _path("fill band", area(band.p99, band.p50, seconds=series.seconds, scale=scale)),
        _path("stroke thin", line(band.p99, seconds=series.seconds, scale=scale)),
        _path("stroke strong", line(band.p50, seconds=series.seconds, scale=scale)),
    ]
    marks = [(name, scale(value)) for name, value in HEIGHTS.items() if value <= top]
    legend = {"thin": "p99", "strong": "p50"}
    return _panel(title, "when submitted", drawn, legend=legend, marks=marks, length=length)


def _panel(
    title: str,
    about: str,
    drawn: list[HTML],
    *,
    legend: dict[str, str],
    marks: list[tuple[str, float]],
    length: float,
) -> HTML:
    swatches = joined(
        element("li", element("i", class_=class_), text(name)) for class_, name in legend.items()
    )
    label = element(
        "div",
        element("h3", text(title)),
        element("p", text(about)),
        element("ul", swatches, class_="legend"),
        class_="label",
    )
    grid = [element("line", x1=0, x2=length, y1=at, y2=at, class_="grid") for _, at in marks]
    heights = [
        span(name, "height", style=f"top:{at:.1f}px", aria_hidden="true") for name, at in marks
    ]
    drawing = paper(
        *grid,
        *drawn,
        length=length,
        height=PANEL,
        label=f"{title}, {about}: {', '.join(legend.values())}",
    )
    return element(
        "div", label, element("div", drawing, *heights, class_="plot"), class_="row panel"
    )


def _marks(top: float, scale: Scale) -> list[tuple[str, float]]:
    return [(f"{value:,g}", scale(value)) for value in (top / 2, top)]


def _path(class_: str, d: str) -> HTML:
    return element("path", d=d, class_=class_)
