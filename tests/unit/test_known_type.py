"""The check of a payload is short, precise and cheap."""

from __future__ import annotations

import enum
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import process_time
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from msgspec import Meta, Struct, defstruct

from leaseq.errors import PayloadInvalid
from leaseq.model import TypeDefaults
from leaseq.payloads.known_type import KnownType, stamp_in
from leaseq.payloads.shapes import decoder_of, shape_of
from support.examples import examples
from support.payloads import ODD, payload_types, texts

# A millisecond on a machine three times slower. A refusal that takes no longer is cheap, for any
# cost of an acceptance takes.
FLOOR_SECONDS = 0.003


class Color(enum.Enum):
    RED = "red"


class Line(Struct, tag="line"):
    name: str = msgspec.field(name="a/b~c")


class Dot(Struct, tag="dot", forbid_unknown_fields=True):
    size: int = 1


class Args(Struct, forbid_unknown_fields=True):
    cents: Annotated[int, Meta(ge=0)] = 0
    tags: dict[str, list[str]] = {}
    rows: list[Line | Dot] = []
    color: Color = Color.RED
    mode: Literal["fast"] = "fast"
    code: Annotated[str, Meta(pattern="^[a-z]+$")] = "a"


def known(*types: type[Struct]) -> KnownType:
    return KnownType(
        TypeDefaults(), [(cls.__name__, decoder_of(shape_of(cls)).decode) for cls in types]
    )


def check(of: KnownType, payload: bytes) -> bytes | None:
    return of.check(payload)


@pytest.mark.parametrize(
    ("payload", "pointer"),
    [
        (b'{"cents":-1}', "/cents"),
        (b'{"cents":1.0}', "/cents"),
        (b'{"rows":[{"type":"dot"},{"type":"line","a/b~c":1}]}', "/rows/1/a~1b~0c"),
        (b'{"rows":[{"type":"s3cret"}]}', "/rows/0/type"),
        (b'{"tags":{"x":[1]}}', "/tags"),
        (b'{"color":"s3cret"}', "/color"),
        (b'{"color":"s3cret - at `$.x` s3cret"}', "/color"),
        (b'{"mode":"s3cret"}', "/mode"),
        (b'{"code":"S3CRET"}', "/code"),
        (b'{"more":1}', ""),
        (b"[]", ""),
    ],
)
def test_a_refusal_names_the_place_and_quotes_no_value(payload: bytes, pointer: str) -> None:
    with pytest.raises(PayloadInvalid) as refused:
        check(known(Args), payload)
    assert refused.value.pointer == pointer
    assert "s3cret" not in str(refused.value).lower()


def test_a_refusal_is_short() -> None:
    with pytest.raises(PayloadInvalid) as refused:
        check(known(Args), msgspec.json.encode({"x" * 100_000: 1}))
    assert len(str(refused.value)) < 400


class Old(Struct, forbid_unknown_fields=True):
    a: int


class New(Struct, forbid_unknown_fields=True):
    a: int
    b: int


def test_a_payload_that_fits_one_of_the_shapes_is_accepted_under_its_stamp() -> None:
    both = known(New, Old)
    assert stamp_in(check(both, b'{"a":1,"b":2}')) == "New"
    assert stamp_in(check(both, b'{"a":1}')) == "Old"
    # what the newest shape says
    with pytest.raises(PayloadInvalid, match="missing required field `a`"):
        check(both, b"{}")


def test_a_type_without_a_shape_takes_everything() -> None:
    assert stamp_in(check(KnownType(TypeDefaults()), b'"x"')) is None


@pytest.mark.parametrize("headers", [None, b"", b"[]", b'{"trace":"x"}', b"null"])
def test_other_headers_have_no_stamp(headers: bytes | None) -> None:
    assert stamp_in(headers) is None


class Leaf(Struct, tag="leaf"):
    value: int


class Node(Struct, tag="node"):
    left: Leaf | Node
    right: Leaf | Node


class Names(Struct):
    names: list[str]
    trees: list[Leaf | Node] = []
    color: Color = Color.RED


def seconds(run: Callable[[], object]) -> float:
    """Of the processor; the least of three, since others use the machine too."""

    def once() -> float:
        began = process_time()
        with suppress(PayloadInvalid):
            run()
        return process_time() - began

    return min(once() for _ in range(3))


def deep(levels: int, leaf: str) -> str:
    return '{"type":"node","left":{"type":"leaf","value":1},"right":' * levels + leaf + "}" * levels


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ('{"names":["1"' + ',"1"' * 500_000 + "]}", '{"names":[1' + ",1" * 500_000 + "]}"),
        (
            '{"names":["' + " - at `$" * 100_000 + '"]}',
            '{"names":[],"color":"' + " - at `$" * 100_000 + '"}',
        ),
        ('{"names":["1"' + ',"1"' * 500_000 + "]}", '{"names":["1"' + ',"1"' * 500_000 + ",1]}"),
        (
            f'{{"names":[],"trees":[{deep(58, deep(0, "") or "{}")}]}}',
            f'{{"names":[],"trees":[{deep(58, "1")}]}}',
        ),
    ],
    ids=["numbers for names", "a path in a value", "one number", "a deep tree"],
)
def test_a_refusal_is_no_dearer_than_an_acceptance(good: str, bad: str) -> None:
    names = known(Names)
    accepted, refused = (seconds(partial(check, names, text.encode())) for text in (good, bad))
    assert refused <= max(10 * accepted, FLOOR_SECONDS)
    with pytest.raises(PayloadInvalid):
        check(names, bad.encode())


@settings(
    max_examples=examples(40),
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
@given(payload_types, st.lists(st.one_of(st.sampled_from(ODD), texts), min_size=10, max_size=30))
def test_refusals_of_generated_payloads_are_no_dearer_than_acceptances(
    annotation: Any, values: list[str]
) -> None:
    try:
        one = known(defstruct("one", [("value", annotation)]))
        many = known(defstruct("many", [("value", list[annotation])]))  # type: ignore[valid-type,unused-ignore]
    except TypeError:
        assume(False)

    def fits(text: str) -> bool:
        try:
            return check(one, f'{{"value":{text}}}'.encode()) is not None
        except (
            PayloadInvalid,
            msgspec.ValidationError,
        ):  # the latter for a number that is no float
            return False

    good, bad = ([text for text in values if fits(text) is wanted] for wanted in (True, False))
    assume(good and bad)
    fitting, rest = ",".join(good * (300 // len(good))), ",".join(bad * (300 // len(bad)))
    payloads = [f'{{"value":[{text}]}}'.encode() for text in (fitting, f"{fitting},{bad[0]}", rest)]
    accepted, *refused = (
        seconds(lambda payload=payload: many.check(payload))  # type: ignore[misc]
        for payload in payloads
    )
    assert max(refused) <= max(10 * accepted, FLOOR_SECONDS)
