"""Examples of Hypothesis end with their time, and a failure is found again."""

from __future__ import annotations

import asyncio
import inspect
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.errors import UnsatisfiedAssumption

from support.examples import LEAST, PROFILES, bounded


def test_no_example_is_looked_at_when_the_time_is_up() -> None:
    ran = count()
    test = bounded(lambda: next(ran), seconds=0.0)
    assert [test() for _ in range(20)] == [*range(LEAST), *[None] * (20 - LEAST)]


async def test_coroutine_stays_a_coroutine() -> None:
    ran = count()

    async def test() -> int:
        await asyncio.sleep(0)
        return next(ran)

    limited = bounded(test, seconds=0.0)
    assert inspect.iscoroutinefunction(limited)
    assert [await limited() for _ in range(LEAST + 1)] == [*range(LEAST), None]


def test_failure_behind_the_last_second_fails_again() -> None:
    def test(*, fails: bool) -> None:
        assert not fails

    limited = bounded(test, seconds=0.0)
    with pytest.raises(AssertionError):
        limited(fails=True)
    for _ in range(LEAST):
        limited(fails=False)
    with pytest.raises(AssertionError):
        limited(fails=True)


def test_example_that_is_none_is_no_failure() -> None:
    def test() -> None:
        raise UnsatisfiedAssumption

    limited = bounded(test, seconds=0.0)
    for _ in range(LEAST):
        with pytest.raises(UnsatisfiedAssumption):
            limited()
    assert limited() is None


def test_hypothesis_reports_what_a_bounded_test_finds() -> None:
    @settings(database=None, max_examples=100)
    @given(st.integers())
    def finds(number: int) -> None:
        assert number < 1000

    handle = getattr(finds, "hypothesis")  # noqa: B009 - unknown to the type of a function
    handle.inner_test = bounded(handle.inner_test, seconds=60.0)
    with pytest.raises(AssertionError) as raised:
        finds()
    assert "finds(\n    number=1000,\n)" in "\n".join(raised.value.__notes__)


def test_continuous_integration_tries_what_a_test_asks_for() -> None:
    assert PROFILES["ci"].share == 1.0
