"""Handlers with invalid limits are refused where they are defined."""

from __future__ import annotations

import functools
import math
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from leaseq import Leaseq
from leaseq.errors import PayloadInvalid
from leaseq.model import TypeDefaults
from leaseq.registry import describe
from leaseq.worker.expedite import task_types


def work(n: int) -> None:
    """A handler."""


def test_options_of_a_handler_are_the_defaults_of_its_submissions() -> None:
    assert describe(work).defaults == TypeDefaults(
        queue="default", max_attempts=None, timeout_seconds=None
    )
    said = describe(work, queue="sums", max_attempts=2, timeout=30).defaults
    assert said == TypeDefaults(queue="sums", max_attempts=2, timeout_seconds=30.0)
    assert isinstance(said.timeout_seconds, float), (
        "whole numbers and others do not mix in one array"
    )


@pytest.mark.parametrize("attempts", [0, -1, 1001])
def test_attempts_that_no_task_may_have(attempts: int) -> None:
    with pytest.raises(ValueError, match="handler work: max_attempts must be between 1 and 1000"):
        Leaseq().task(max_attempts=attempts)(work)


class Callable:
    """An object that can be called."""

    def __call__(self, n: int) -> None:
        """A handler, nearly."""


@pytest.mark.parametrize("name", [None, "named"])
@pytest.mark.parametrize(
    "function",
    [functools.partial(work, 1), Callable(), None, 5],
    ids=["partial", "object", "None", "5"],
)
def test_handler_that_is_no_function_is_refused_with_the_remedy(
    function: Any, name: str | None
) -> None:
    with pytest.raises(
        TypeError,
        match=r"a handler must be a function, not \w+: call it from a `def` or `async def`",
    ):
        Leaseq().task(name=name)(function)


@pytest.mark.parametrize(
    "said", [{"name": "a b"}, {"name": "a" * 129}, {"queue": "ü"}, {"queue": ""}], ids=repr
)
def test_names_that_no_submission_could_give(said: dict[str, str]) -> None:
    with pytest.raises(
        ValueError, match=r"the name of a (task type|queue) must be 1 to 128 characters"
    ):
        Leaseq().task(**said)(work)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="handler <lambda>: the name of a task type"):
        Leaseq().task(lambda: None)


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf])
def test_time_outs_that_no_attempt_may_have(seconds: float) -> None:
    with pytest.raises(ValueError, match="handler work: the time-out must be more than 0"):
        Leaseq().task(timeout=seconds)(work)


def test_arguments_that_json_cannot_hold_are_refused_where_they_are_submitted() -> None:
    def take(value: Any) -> None:
        """A handler."""

    endless: list[Any] = []
    endless.append(endless)
    for value in ("\ud800", endless):
        with pytest.raises(PayloadInvalid, match="the payload of take cannot be stored"):
            describe(take).encode((), {"value": value})


@pytest.mark.parametrize("number", [math.nan, math.inf, Decimal("NaN")], ids=repr)
def test_a_payload_with_a_number_that_json_does_not_have_is_refused_where_it_is_submitted(
    number: Any,
) -> None:
    def take(values: list[float | Decimal]) -> None:
        """A handler."""

    with pytest.raises(PayloadInvalid, match="the payload of take cannot be stored: JSON has no"):
        describe(take).encode((), {"values": [1.0, number]})


@pytest.mark.parametrize("given", [90, 90.0, timedelta(seconds=90)])
def test_the_retention_of_a_handler_is_registered(given: float | timedelta) -> None:
    app = Leaseq()
    app.task(retention=given)(work)
    (registered,) = task_types(app.registry)
    assert registered.retention_seconds == 90.0


@pytest.mark.parametrize("given", [0, -1, float("nan"), float("inf"), timedelta(days=4000)])
def test_retentions_that_no_task_may_have(given: float | timedelta) -> None:
    with pytest.raises(ValueError, match="handler work: the retention must be between"):
        Leaseq().task(retention=given)(work)
