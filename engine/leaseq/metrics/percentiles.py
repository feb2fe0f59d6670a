"""Percentiles of a histogram of a tally.

A percentile is the middle, on a logarithmic scale, of the step in which it lies. The steps are
half powers of two, so it is at most 2^(1/4) = 1.19 times too large or too small, for any
distribution. Values below the first bound count as that bound, and values above the last one as
the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt

from leaseq.metrics.tally import BOUNDS


def percentile(counts: Sequence[int], share: float) -> float | None:
    """The value that this share of the counted values does not exceed. None: nothing was
    counted."""
    total = sum(counts)
    if not total:
        return None
    rank, seen = max(ceil(share * total), 1), 0
    for index, count in enumerate(counts):
        seen += count
        if seen >= rank:
            return _middle(index)
    raise AssertionError("unreachable code")


def _middle(index: int) -> float:
    if index == 0:
        return float(BOUNDS[0])
    if index >= len(BOUNDS):
        return float(BOUNDS[-1])
    return sqrt(BOUNDS[index - 1] * BOUNDS[index])


__all__ = ["percentile"]
