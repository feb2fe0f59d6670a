"""How many examples Hypothesis tries, and for how long.

LEASEQ_TEST_EXAMPLES names the profile: `fast` (`make test-fast`), `default` (`make test`) or `ci`
(`.ci/run`), which tries as many as a test asks for. A test ends with the example in which its time
is up, so that a slow machine tries fewer.

Invariants: at least `LEAST` examples run. A test that has failed has no limit, because Hypothesis
runs the failed example again, and what failed must fail again.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from time import monotonic
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.errors import UnsatisfiedAssumption

LEAST = 5
USUAL = 100  # examples of a test that asks for no number


class Profile(NamedTuple):
    """A share of the examples that a test asks for, and the seconds that they may take."""

    share: float
    seconds: float


PROFILES = {
    "fast": Profile(share=0.2, seconds=1.0),
    "default": Profile(share=0.5, seconds=5.0),
    "ci": Profile(share=1.0, seconds=30.0),
}
CHOSEN = os.environ.get("LEASEQ_TEST_EXAMPLES", "default")
_whole: dict[Any, Callable[..., Any]] = {}  # the tests without a limit


def examples(wanted: int) -> int:
    """The `max_examples` of a test that asks for so many."""
    return max(round(wanted * PROFILES[CHOSEN].share), LEAST)


def pytest_configure() -> None:
    """The settings of tests that have none of their own. A loaded machine takes a second for what
    another does in a millisecond: neither is a finding."""
    settings.register_profile(
        "leaseq",
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        max_examples=examples(USUAL),
    )
    settings.load_profile("leaseq")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Bound a test that `given` made. (`inner_test` is there for plugins.)"""
    made = getattr(item, "function", None)
    if handle := getattr(made, "hypothesis", None):
        test = _whole.setdefault(made, handle.inner_test)
        handle.inner_test = bounded(test, seconds=PROFILES[CHOSEN].seconds)


def bounded(test: Callable[..., Any], *, seconds: float) -> Callable[..., Any]:
    """A test of one example that passes without a look when the time of all is up."""
    limit = _Limit(seconds)

    @functools.wraps(test)
    def run(*args: Any, **named: Any) -> Any:
        with limit:
            return None if limit.is_up else test(*args, **named)

    @functools.wraps(test)
    async def run_async(*args: Any, **named: Any) -> Any:
        with limit:
            return None if limit.is_up else await test(*args, **named)

    return run_async if inspect.iscoroutinefunction(test) else run


class _Limit:
    """The time of all examples of one test."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._started: float | None = None
        self._ran = 0
        self._failed = False

    @property
    def is_up(self) -> bool:
        if self._failed or self._started is None or self._ran <= LEAST:
            return False
        return monotonic() - self._started > self._seconds

    def __enter__(self) -> None:
        self._started = monotonic() if self._started is None else self._started
        self._ran += 1

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        found = kind is not None and issubclass(kind, (Exception, pytest.fail.Exception))
        # That is `assume`: the example was none.
        self._failed = self._failed or (found and kind is not UnsatisfiedAssumption)
