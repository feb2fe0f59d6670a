"""Is a handler whose limits mean nothing refused where it is written, and are its defaults what it says?"""

from __future__ import annotations

import math

import pytest

from leaseq import Leaseq
from leaseq.model import TypeDefaults
from leaseq.registry import describe


def work(n: int) -> None:
    """A handler."""


def test_what_a_handler_says_is_what_its_submissions_may_leave_unsaid() -> None:
    assert describe(work).defaults == TypeDefaults(queue="default", max_attempts=None, timeout_seconds=None)
    said = describe(work, queue="sums", max_attempts=2, timeout_seconds=30).defaults
    assert said == TypeDefaults(queue="sums", max_attempts=2, timeout_seconds=30.0)
    assert isinstance(said.timeout_seconds, float), "whole numbers and others do not mix in one array"


@pytest.mark.parametrize("attempts", [0, -1, 1001])
def test_attempts_that_no_task_may_have(attempts: int) -> None:
    with pytest.raises(ValueError, match="handler work: max_attempts must be between 1 and 1000"):
        Leaseq().task(max_attempts=attempts)(work)


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf])
def test_time_outs_that_no_attempt_may_have(seconds: float) -> None:
    with pytest.raises(ValueError, match="handler work: the time-out must be more than 0"):
        Leaseq().task(timeout=seconds)(work)
