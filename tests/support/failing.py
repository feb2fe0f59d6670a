"""Code that fails in the ways that fingerprints tell apart, or do not."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any


class PaymentLost(Exception):
    """An error of an application."""


class Client:
    """Has methods, so that frames have qualified names."""

    def post(self, amount: int) -> None:
        raise PaymentLost(f"payment {amount} was lost")


def charge(amount: int) -> None:
    Client().post(amount)


def charge_each(amounts: list[int]) -> list[Any]:
    run: Callable[[int], Any] = charge
    return [run(amount) for amount in amounts]


def charge_from_elsewhere(amount: int) -> None:
    Client().post(amount)


def decode(text: str) -> Any:
    return json.loads(text)


def wrap(amount: int) -> None:
    try:
        charge(amount)
    except PaymentLost as error:
        raise RuntimeError("the order was not paid") from error


def descend(depth: int) -> None:
    if depth:
        descend(depth - 1)
    else:
        charge(depth)


def ping(n: int) -> None:
    pong(n + 1)


def pong(n: int) -> None:
    ping(n + 1)


def generated(amount: int) -> None:
    exec("charge(amount)", {"charge": charge, "amount": amount})


def decorated(function: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(function)
    def call(*args: Any) -> None:
        function(*args)

    return call


@decorated
def charge_decorated(amount: int) -> None:
    Client().post(amount)


def raised(function: Callable[..., Any], *args: Any) -> BaseException:
    """The exception of a call."""
    try:
        function(*args)
    except BaseException as error:
        return error
    raise AssertionError(f"{function} did not raise")


__all__ = [
    "PaymentLost",
    "charge",
    "charge_decorated",
    "charge_each",
    "charge_from_elsewhere",
    "decode",
    "descend",
    "generated",
    "ping",
    "raised",
    "wrap",
]
