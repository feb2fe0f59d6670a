"""Exceptions that lie, have no end, or cannot be stored."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

from leaseq import Retry
from leaseq.errors import ResultInvalid


class Exits(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class LiesAboutItsClass(Exception):
    __class__ = property(lambda self: 1 / 0)


class CausesWithoutEnd(Exception):
    __cause__ = property(lambda self: CausesWithoutEnd())
    __context__ = property(lambda self: CausesWithoutEnd())
    __traceback__ = property(lambda self: 1 / 0)


class Nameless(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("no name")


class HasNoName(Exception, metaclass=Nameless):
    """Its class does not say what it is called."""


class Text(str):
    """A text of a kind of its own."""

    def __getitem__(self, key: Any) -> str:
        raise RuntimeError("not to be cut")


class SaysSo(Exception):
    def __str__(self) -> str:
        return Text("said")


class OddCode(ResultInvalid):
    code = 7  # type: ignore[assignment]


class HasNoDelay(Retry):
    delay = property(lambda self: 1 / 0, lambda self, value: None)


class Number:
    """Looks like a number of another library."""

    dtype = "float64"

    def __float__(self) -> float:
        raise RuntimeError("too large")

    def __lt__(self, other: object) -> Any:
        return [True, False]


def grouped(depth: int) -> BaseException:
    """Groups within groups."""
    group: Exception = ValueError("the innermost")
    for _ in range(depth):
        group = ExceptionGroup("around", [group])
    return group


def _looped() -> BaseException:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    return first


ODD: dict[str, Callable[[], BaseException]] = {
    "exits": Exits,
    "lies about its class": LiesAboutItsClass,
    "causes without end": CausesWithoutEnd,
    "has no name": HasNoName,
    "a text of its own": SaysSo,
    "a code of its own": OddCode,
    "an enormous name": lambda: type("E" * 1_000_000, (Exception,), {})("x"),
    "an enormous text": lambda: ValueError("x" * 5_000_000),
    "lone surrogates": lambda: ValueError("\ud800 \udfff"),
    "NUL": lambda: ValueError("a\0b"),
    "a name with NUL": lambda: type("A\ud800", (Exception,), {})("x"),
    "a group of groups": lambda: grouped(50_000),
    "a loop": _looped,
    "delay: bool": lambda: Retry(delay=True),
    "delay: a huge int": lambda: Retry(delay=10**400),
    "delay: a huge negative int": lambda: Retry(delay=-(10**400)),
    "delay: Decimal": lambda: Retry(delay=Decimal("NaN")),  # type: ignore[arg-type]
    "delay: Fraction": lambda: Retry(delay=Fraction(1, 3)),  # type: ignore[arg-type]
    "delay: nan": lambda: Retry(delay=math.nan),
    "delay: inf": lambda: Retry(delay=math.inf),
    "delay: -inf": lambda: Retry(delay=-math.inf),
    "delay: negative": lambda: Retry(delay=-5),
    "delay: of another library": lambda: Retry(delay=Number()),  # type: ignore[arg-type]
    "delay: complex": lambda: Retry(delay=1j),  # type: ignore[arg-type]
    "delay: raises": HasNoDelay,
}


__all__ = ["ODD", "grouped"]
