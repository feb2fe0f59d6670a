"""Does a backoff stay between nothing and its cap, however many retries there were?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from leaseq.backoff import Backoff

seconds = st.floats(min_value=1e-6, max_value=1e9)
chance = st.floats(min_value=0, max_value=1, exclude_max=True)


@given(seconds, seconds, st.integers(min_value=0, max_value=10**9), chance)
def test_a_delay_is_between_nothing_and_the_cap(base: float, cap: float, retries: int, drawn: float) -> None:
    delay = Backoff(base, cap).delay(retries, rand=lambda: drawn)
    assert 0 <= delay <= min(cap, base * 2.0 ** min(retries, 64))


@given(seconds, seconds, st.integers(min_value=0, max_value=100))
def test_the_ceiling_never_falls(base: float, cap: float, retries: int) -> None:
    backoff = Backoff(base, cap)
    assert backoff.delay(retries + 1, rand=lambda: 1.0) >= backoff.delay(retries, rand=lambda: 1.0)


def test_the_ceiling_doubles_up_to_the_cap() -> None:
    backoff = Backoff(base_seconds=1.0, cap_seconds=10.0)
    assert [backoff.delay(n, rand=lambda: 1.0) for n in range(6)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_full_jitter() -> None:
    """Tasks that failed together are spread over the whole span, not only its end."""
    delays = [Backoff(base_seconds=1.0, cap_seconds=1.0).delay(5) for _ in range(1_000)]
    assert min(delays) < 0.1
    assert max(delays) > 0.9
