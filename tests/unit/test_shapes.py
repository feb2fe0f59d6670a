"""Shapes: what the check at submission accepts, the decoder of a worker accepts."""

from __future__ import annotations

import dataclasses
import enum
from collections import deque
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from msgspec import Meta, Struct, defstruct

from leaseq.payloads.shapes import decoder_of, shape_of, stamp_of
from leaseq.registry import describe
from support.examples import examples
from support.payloads import LEAVES, ODD, payload_types, texts

DECODERS: dict[int, tuple[Any, Any]] = {}


def accepts(decoder: msgspec.json.Decoder[Any], raw: bytes) -> bool:
    try:
        decoder.decode(raw)
    except Exception:
        return False
    return True


def decoders(annotation: Any) -> tuple[msgspec.json.Decoder[Any], msgspec.json.Decoder[Any]]:
    """The decoder of a worker for a handler with one parameter, and that of the check."""
    arguments = defstruct(
        "handler", [("value", annotation)], forbid_unknown_fields=True, frozen=True, kw_only=True
    )
    return msgspec.json.Decoder(arguments), decoder_of(shape_of(arguments))


@pytest.mark.parametrize("annotation", LEAVES, ids=repr)
def test_every_type_with_every_odd_text(annotation: Any) -> None:
    worker, check = decoders(annotation)
    differ = [
        text
        for text in ODD
        if accepts(worker, raw := f'{{"value":{text}}}'.encode()) is not accepts(check, raw)
    ]
    assert differ == []


@settings(
    max_examples=examples(120),
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
@given(payload_types, st.lists(st.one_of(st.sampled_from(ODD), texts), min_size=5, max_size=20))
def test_the_check_accepts_what_the_decoder_accepts_and_nothing_else(
    annotation: Any, values: list[str]
) -> None:
    try:
        worker, check = decoders(annotation)
    except TypeError:
        assume(False)  # msgspec does not decode such a union or such a key
    for text in values:
        raw = f'{{"value":{text}}}'.encode()
        assert accepts(check, raw) is accepts(worker, raw), raw


@pytest.mark.parametrize("annotation", LEAVES, ids=repr)
def test_payload_of_a_handler_can_be_submitted_again(annotation: Any) -> None:
    def take(value: Any) -> None:
        """A handler."""

    take.__annotations__["value"] = annotation
    handler = describe(take)
    for text in ODD:
        raw = f'{{"value":{text}}}'.encode()
        if accepts(handler.decoder, raw) and "NaN" not in text and "Infinity" not in text:
            handler.known.check(handler.encode((), handler.decode(raw)))


@given(payload_types)
@settings(max_examples=examples(30), deadline=None)
def test_a_stamp_depends_on_the_shape_alone(annotation: Any) -> None:
    try:
        one, other = (
            shape_of(defstruct(name, [("value", annotation)])) for name in ("one", "other")
        )
    except TypeError:
        assume(False)
    assert stamp_of(one) == stamp_of(other)
    assert stamp_of(one) != stamp_of(
        shape_of(defstruct("one", [("value", annotation), ("more", int)]))
    )


class Missing(enum.Enum):
    A = "a"

    @classmethod
    def _missing_(cls, value: object) -> Missing:
        return cls.A


class Even(Struct):
    number: int

    def __post_init__(self) -> None:
        if self.number % 2:
            raise ValueError("odd")


@dataclasses.dataclass
class EvenToo:
    number: int

    def __post_init__(self) -> None:
        if self.number % 2:
            raise ValueError("odd")


def test_the_code_of_a_handler_is_not_in_its_shape() -> None:
    """The rules that docs/payloads.md lists."""
    worker, check = decoders(Missing)
    assert (accepts(worker, b'{"value":"x"}'), accepts(check, b'{"value":"x"}')) == (True, False)
    for annotation in (Even, EvenToo):
        worker, check = decoders(annotation)
        assert (
            accepts(worker, b'{"value":{"number":1}}'),
            accepts(check, b'{"value":{"number":1}}'),
        ) == (False, True)


class Odd:
    """msgspec does not know how to make one."""


@pytest.mark.parametrize(
    "annotation",
    [Odd, list[Odd], complex, deque, Iterable[int], msgspec.msgpack.Ext, dict[str, Odd]],
    ids=repr,
)
def test_a_type_that_a_payload_cannot_hold_is_refused_where_it_is_written(annotation: Any) -> None:
    def take(value: Any) -> None:
        """A handler."""

    take.__annotations__["value"] = annotation
    with pytest.raises(
        TypeError, match=r"^handler take: a payload cannot hold the type [A-Za-z]+$"
    ):
        describe(take)


class Nested(Struct):
    text: Annotated[str, Meta(pattern="(a+)+b")]


@pytest.mark.parametrize(
    "annotation",
    [Annotated[str, Meta(pattern="(a|a)*$")], list[Nested], dict[str, Nested | None]],
    ids=repr,
)
def test_a_pattern_that_backtracks_is_refused_where_it_is_written(annotation: Any) -> None:
    def take(value: Any) -> None:
        """A handler."""

    take.__annotations__["value"] = annotation
    with pytest.raises(
        ValueError, match=r"^handler take: the pattern .* may take more than linear time .*$"
    ):
        describe(take)


@pytest.mark.parametrize(
    "shape",
    [b"{}", b"[]", b'{"classes":[]}', b'{"classes":[{"fields":[{}]}]}', b'{"classes":[1]}'],
    ids=repr,
)
def test_invalid_shape_is_refused(shape: bytes) -> None:
    with pytest.raises(ValueError, match="not a shape of this version"):
        decoder_of(shape)


def test_a_shape_with_a_pattern_that_backtracks_is_refused() -> None:
    """The ledger may hold one: the process that wrote it had its own rules."""
    field = {"name": "value", "required": True, "type": {"kind": "str", "pattern": "(a+)+$"}}
    with pytest.raises(ValueError, match="may take more than linear time"):
        decoder_of(
            msgspec.json.encode(
                {"classes": [{"fields": [field], "hash": "never", "class": "typed_dict"}]}
            )
        )
