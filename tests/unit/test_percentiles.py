"""Percentiles of a tally are within 19 % of the exact ones."""

from __future__ import annotations

import random
from math import ceil

import pytest

from leaseq.metrics.percentiles import percentile
from leaseq.metrics.tally import BOUNDS, Histogram

SHARES = (0.5, 0.95, 0.99)
chance = random.Random(20)
DATA = {
    "log-normal": [chance.lognormvariate(-2.0, 1.0) for _ in range(10_000)],
    "bimodal": [chance.gauss(mean, mean / 10) for mean in (0.02, 3.0) for _ in range(5000)],
    "constant": [0.7] * 1000,
    "few": [0.004, 0.1, 40.0],
    "just above each bound": [bound * 1.0001 for bound in BOUNDS[:-1]],
    "each bound": [*BOUNDS[1:]],
}


def exact(values: list[float], share: float) -> float:
    """The smallest value that this share of the values does not exceed."""
    return sorted(values)[max(ceil(share * len(values)), 1) - 1]


def counted(values: list[float]) -> list[int]:
    histogram = Histogram()
    for value in values:
        histogram.observe(value)
    return histogram.counts


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("share", SHARES)
def test_a_percentile_is_near_the_exact_one(name: str, share: float) -> None:
    found = percentile(counted(DATA[name]), share)
    assert found == pytest.approx(exact(DATA[name], share), rel=0.19)


def test_values_outside_the_bounds_count_as_the_nearest_bound() -> None:
    assert percentile(counted([0.0, 1e-6]), 0.99) == BOUNDS[0]
    assert percentile(counted([1e9]), 0.5) == BOUNDS[-1]


def test_nothing_has_no_percentile() -> None:
    assert percentile([], 0.5) is None
    assert percentile([0, 0], 0.5) is None


def test_zeros_at_the_end_may_be_left_out() -> None:
    assert percentile([0, 0, 4], 0.5) == percentile([0, 0, 4, 0, 0], 0.5)
