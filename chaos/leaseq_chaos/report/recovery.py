"""Recovery times by kind of fault.

Drawn from the figures of the checker `recovery`. p50, p99 and max are of the victims during whose
time no other fault came; the judged time is the longest stretch without another fault, of any
victim, and it must keep the bound. The axis is logarithmic; what comes nearest to its bound stands
first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log10

from msgspec import Struct

from leaseq_chaos.report.markup import HTML, columns, element, span, table, text
from leaseq_chaos.verdict import Finding

__all__ = ["Recovery", "draw_recovery", "recoveries_of"]

FASTEST = 0.01  # seconds; the left edge of the axis
EXPLAINED = (
    "Seconds. Alone are the victims during whose time no other fault came or was open; p50, p99 and max are theirs. Judged is "
    "the longest stretch without another fault, of any victim: it has to keep the bound."
)
_FIGURES = ("count", "alone", "p50", "p99", "max", "judged", "bound")


class Recovery(Struct, frozen=True, kw_only=True):
    """Of all faults of one kind. Times in seconds."""

    nemesis: str
    count: float = 0
    alone: float | None = None
    p50: float | None = None
    p99: float | None = None
    max: float | None = None
    judged: float | None = None
    bound: float | None = None

    @property
    def strain(self) -> float:
        """How much of the bound was used up."""
        return (self.judged or 0.0) / self.bound if self.bound else 0.0


def recoveries_of(findings: Sequence[Finding]) -> list[Recovery]:
    """The figures by nemesis, the most strained first."""
    kinds: dict[str, dict[str, float]] = {}
    for finding in findings:
        if finding.checker == "recovery":
            for key, value in finding.facts.items():
                nemesis, _, figure = key.rpartition(" ")
                if nemesis and figure in _FIGURES:
                    kinds.setdefault(nemesis, {})[figure] = value
    return sorted(
        (_recovery(nemesis, figures) for nemesis, figures in kinds.items()),
        key=lambda r: (-r.strain, r.nemesis),
    )


def draw_recovery(findings: Sequence[Finding]) -> HTML:
    """A row for each nemesis."""
    recoveries = recoveries_of(findings)
    if not recoveries:
        return element("p", text("The checker recovery had no figures."), class_="nothing")
    longest = (
        max(
            [
                10.0,
                *(
                    value
                    for r in recoveries
                    for value in (r.max, r.judged, r.bound)
                    if value is not None
                ),
            ]
        )
        * 1.15
    )
    rows = [_row(recovery, longest) for recovery in recoveries]
    scale = [
        span(name, style=f"left:{_place(value, longest):.2f}%") for name, value in _TICKS.items()
    ]
    key = element(
        "p",
        *(
            element("span", element("i", class_=class_), text(name))
            for class_, name in _LEGEND.items()
        ),
        class_="key",
        aria_hidden="true",
    )
    said = element("p", text(EXPLAINED), class_="remark")
    heads = columns("nemesis", "#victims", "#alone", "#p50", "#p99", "#max", "#judged", "#bound")
    heads.append(
        element(
            "th",
            element("div", *scale),
            class_="track",
            scope="col",
            aria_label="drawn on a logarithmic axis",
        )
    )
    return element(
        "div", said, key, table(heads, rows, caption="Recovery times in seconds", class_="recovery")
    )


_TICKS = {"100 ms": 0.1, "1 s": 1.0, "10 s": 10.0}
_LEGEND = {"p50": "p50", "p99": "p99", "max": "max", "judged": "judged", "bound": "bound"}


def _recovery(nemesis: str, figures: Mapping[str, float]) -> Recovery:
    return Recovery(
        nemesis=nemesis,
        count=figures.get("count", 0),
        alone=figures.get("alone"),
        p50=figures.get("p50"),
        p99=figures.get("p99"),
        max=figures.get("max"),
        judged=figures.get("judged"),
        bound=figures.get("bound"),
    )


def _row(recovery: Recovery, longest: float) -> HTML:
    late = recovery.strain > 1
    figures = [
        (recovery.p50, ""),
        (recovery.p99, ""),
        (recovery.max, ""),
        (recovery.judged, " late" if late else ""),
    ]
    figures.append((recovery.bound, " soft"))
    return element(
        "tr",
        element("th", text(recovery.nemesis), scope="row"),
        element("td", text(f"{recovery.count:,.0f}"), class_="n"),
        element(
            "td", text("-" if recovery.alone is None else f"{recovery.alone:,.0f}"), class_="n"
        ),
        *(
            element("td", text("-" if value is None else f"{value:.2f}"), class_=f"n{more}")
            for value, more in figures
        ),
        element("td", _track(recovery, longest, late=late), class_="track"),
        data_nemesis=recovery.nemesis,
    )


def _track(recovery: Recovery, longest: float, *, late: bool) -> HTML:
    marks = [
        element("i", class_="tick", style=f"left:{_place(value, longest):.2f}%")
        for value in _TICKS.values()
    ]
    if recovery.p50 is not None and recovery.max is not None:
        left, right = _place(recovery.p50, longest), _place(recovery.max, longest)
        marks.append(
            element(
                "i", class_="reach", style=f"left:{left:.2f}%;width:{max(right - left, 0):.2f}%"
            )
        )
    for name in ("bound", "p99", "p50", "max", "judged"):
        value = getattr(recovery, name)
        if value is not None:
            marks.append(element("i", class_=name, style=f"left:{_place(value, longest):.2f}%"))
    return element("div", *marks, class_="late" if late else None, aria_hidden="true")


def _place(value: float, longest: float) -> float:
    """Per cent of the axis."""
    return 100 * log10(max(value, FASTEST) / FASTEST) / log10(longest / FASTEST)
