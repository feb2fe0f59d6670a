"""The data types are frozen, comparable, and spelt as on the wire."""

from __future__ import annotations

import msgspec
import pytest

from leaseq import model
from leaseq.lifecycle import TRANSITIONS
from leaseq.model import TERMINAL, Claim, Priority, State, TaskError


def test_the_six_states() -> None:
    assert [state.value for state in State] == [
        "PENDING",
        "SCHEDULED",
        "PROCESSING",
        "SUCCESS",
        "FAILED",
        "CANCELLED",
    ]
    assert {to for _, _, to in TRANSITIONS} == set(State)
    assert {State.SUCCESS, State.FAILED, State.CANCELLED} == TERMINAL


def test_priorities_are_ordered() -> None:
    assert Priority.LOW < Priority.NORMAL < Priority.HIGH


def test_every_struct_is_frozen() -> None:
    structs = [
        value
        for value in vars(model).values()
        if isinstance(value, type) and issubclass(value, msgspec.Struct)
    ]
    assert len(structs) > 10
    for struct in structs:
        assert struct is msgspec.Struct or struct.__struct_config__.frozen, struct
    claim = Claim("t", 1, "w")
    with pytest.raises(AttributeError):
        claim.attempt = 2  # type: ignore[misc]


def test_an_error_is_stored_without_its_empty_parts() -> None:
    assert (
        msgspec.json.encode(TaskError("timeout", "too slow"))
        == b'{"code":"timeout","message":"too slow"}'
    )
