"""The run times of a type as bars, one for each bucket of its statistics.

The buckets double with every second bar, so quick and slow attempts are seen on one chart.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from leaseq.metrics.tally import BOUNDS
from leaseq_api.ui.charts import BAR, GAP, Bar, bars
from leaseq_api.ui.wording import brief


class Bucket(Struct, frozen=True):
    """How many attempts ran so long."""

    words: str
    count: int


def histogram(counts: Sequence[int]) -> list[tuple[Bar, Bucket]]:
    """A bar for each bucket from the first to the last that has attempts. Empty: none has."""
    used = [place for place, count in enumerate(counts) if count]
    if not used:
        return []
    first, last = used[0], used[-1]
    buckets = [Bucket(_words(place), counts[place]) for place in range(first, last + 1)]
    return list(zip(bars([bucket.count for bucket in buckets]), buckets, strict=True))


def width_of(count: int) -> int:
    """The width of so many bars."""
    return count * (BAR + GAP)


def _words(place: int) -> str:
    """The bounds of a bucket."""
    if place == 0:
        return f"up to {brief(BOUNDS[0])}"
    if place >= len(BOUNDS):
        return f"more than {brief(BOUNDS[-1])}"
    return f"{brief(BOUNDS[place - 1])} to {brief(BOUNDS[place])}"


__all__ = ["Bucket", "histogram", "width_of"]
