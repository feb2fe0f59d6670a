"""The bounds of a backoff, and the outage that a task survives by default."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from leaseq.backoff import Backoff
from leaseq.config import Config

seconds = st.floats(min_value=1e-6, max_value=1e9)
chance = st.floats(min_value=0, max_value=1, exclude_max=True)


@given(seconds, seconds, st.integers(min_value=0, max_value=10**9), chance)
def test_a_delay_is_between_half_the_ceiling_and_the_ceiling(
    base: float, cap: float, retries: int, drawn: float
) -> None:
    delay = Backoff(base, cap).delay(retries, rand=lambda: drawn)
    ceiling = min(cap, base * 2.0 ** min(retries, 64))
    assert ceiling / 2 <= delay <= ceiling


@given(seconds, seconds, st.integers(min_value=0, max_value=100))
def test_the_ceiling_never_falls(base: float, cap: float, retries: int) -> None:
    backoff = Backoff(base, cap)
    assert backoff.delay(retries + 1, rand=lambda: 1.0) >= backoff.delay(retries, rand=lambda: 1.0)


def test_the_ceiling_doubles_up_to_the_cap() -> None:
    backoff = Backoff(base_seconds=1.0, cap_seconds=10.0)
    assert [backoff.delay(n, rand=lambda: 1.0) for n in range(6)] == [
        1.0,
        2.0,
        4.0,
        8.0,
        10.0,
        10.0,
    ]


def test_tasks_that_failed_together_are_spread_over_half_the_ceiling() -> None:
    delays = [Backoff(base_seconds=1.0, cap_seconds=1.0).delay(5) for _ in range(1_000)]
    assert 0.5 <= min(delays) < 0.55
    assert 0.95 < max(delays) <= 1.0


@given(st.lists(chance, min_size=100, max_size=100))
def test_by_default_the_last_attempt_comes_an_hour_after_the_first(drawn: list[float]) -> None:
    """However the dice fall: a task survives an outage of an hour of the service that it calls."""
    config = Config()
    backoff = Backoff(config.backoff_base_seconds, config.backoff_cap_seconds)
    dice = iter(drawn)
    waits = [
        backoff.delay(retry, rand=lambda: next(dice)) for retry in range(config.max_attempts - 1)
    ]
    assert 3600 <= sum(waits) <= 4 * 3600
    assert max(waits) <= 3600
    assert waits[0] <= 1  # the first retry comes soon: most failures last for seconds
