"""Values with one hash do not keep a set busy, at submission or in a worker."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from msgspec import Struct

from leaseq.errors import PayloadInvalid
from leaseq.registry import describe

PRIME = 2**61 - 1
MANY = 1_500


class Key(Struct, frozen=True):
    number: int


def numbers(step: int) -> list[int]:
    return [n * step for n in range(1, MANY + 1)]


VALUES: dict[str, tuple[Any, Any]] = {
    "ints": (set[int], numbers),
    "uuids": (set[UUID], lambda step: [str(UUID(int=n)) for n in numbers(step)]),
    "decimals": (frozenset[Decimal], lambda step: [str(n) for n in numbers(step)]),
    "keys": (dict[int, int], lambda step: {str(n): 1 for n in numbers(step)}),
    "keys of 32 digits": (
        dict[int, int],
        lambda step: {str(10**31 - 10**31 % step + n): 1 for n in numbers(step)},
    ),
    "uuid keys": (dict[UUID, int], lambda step: {str(UUID(int=n)): 1 for n in numbers(step)}),
    "tuples": (set[tuple[int, str]], lambda step: [[n, "x"] for n in numbers(step)]),
    "structs": (set[Key], lambda step: [{"number": n} for n in numbers(step)]),
    "nested": (list[dict[str, set[int]]], lambda step: [{"a": numbers(step)}]),
}


@pytest.mark.parametrize(("annotation", "values"), VALUES.values(), ids=VALUES.keys())
def test_values_with_one_hash_are_refused_and_others_are_taken(
    annotation: Any, values: Any
) -> None:
    def take(value: Any) -> None:
        """A handler."""

    take.__annotations__["value"] = annotation
    handler = describe(take)
    bad = msgspec.json.encode({"value": values(PRIME)})
    with pytest.raises(PayloadInvalid, match="many values with the same hash"):
        handler.known.check(bad)
    with pytest.raises(msgspec.ValidationError, match="many values with the same hash"):
        handler.decode(bad)
    good = msgspec.json.encode({"value": values(7)})
    assert handler.known.check(good) is not None
    assert handler.decode(good)


def test_the_same_value_many_times_is_taken() -> None:
    def take(value: set[int]) -> None:
        """A handler."""

    assert describe(take).known.check(msgspec.json.encode({"value": [PRIME] * MANY})) is not None


def test_sets_of_strings_are_not_looked_at() -> None:
    def take(value: set[str], more: dict[str, int]) -> None:
        """A handler."""

    handler = describe(take)
    assert not handler.collides
