"""JSON Schemas of older workers: payloads that their decoder accepts pass."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from msgspec import Meta, Struct, defstruct

from leaseq.payloads.old_schemas import shape_from
from leaseq.payloads.shapes import decoder_of
from support.examples import examples
from support.payloads import LEAVES, ODD, payload_types, texts


def accepts(decoder: msgspec.json.Decoder[Any], raw: bytes) -> bool:
    try:
        msgspec.json.decode(raw)  # as each submission is, before its type is looked at
        decoder.decode(raw)
    except Exception:
        return False
    return True


def decoders(annotation: Any) -> tuple[msgspec.json.Decoder[Any], msgspec.json.Decoder[Any]]:
    arguments = defstruct("handler", [("value", annotation)], forbid_unknown_fields=True)
    return msgspec.json.Decoder(arguments), decoder_of(
        shape_from(msgspec.json.encode(msgspec.json.schema(arguments)))
    )


@settings(
    max_examples=examples(100),
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
@given(payload_types, st.lists(st.one_of(st.sampled_from(ODD), texts), min_size=5, max_size=20))
def test_payload_that_the_decoder_accepts_passes(annotation: Any, values: list[str]) -> None:
    try:
        worker, check = decoders(annotation)
    except TypeError:
        assume(False)
    for text in values:
        raw = f'{{"value":{text}}}'.encode()
        assert accepts(check, raw) or not accepts(worker, raw), raw


@pytest.mark.parametrize("annotation", LEAVES, ids=repr)
def test_payload_that_the_decoder_accepts_passes_for_every_leaf(annotation: Any) -> None:
    worker, check = decoders(annotation)
    refused = [
        text
        for text in ODD
        if accepts(worker, raw := f'{{"value":{text}}}'.encode()) and not accepts(check, raw)
    ]
    assert refused == []


class Line(Struct, forbid_unknown_fields=True):
    number: int
    note: Annotated[str, Meta(max_length=3)] | None = None
    next: Line | None = None


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "1.0"),
        (datetime, "1"),
        (Annotated[datetime, Meta(tz=True)], '"2024-01-01"'),
        (date, '"2023-02-29"'),
        (timedelta, '"1 day"'),
        (UUID, '"x"'),
        (Decimal, '"x"'),
        (bytes, '"a"'),
        (list[int], "[1,1.0]"),
        (dict[str, int], '{"a":"b"}'),
        (Literal["a"], '"b"'),
        (Annotated[int, Meta(multiple_of=3)], "4"),
        (Annotated[str, Meta(pattern="^[a-z]$")], '"1"'),
        (Line, '{"number":1,"next":{"number":1,"note":"abcd"}}'),
        (Line, '{"number":1,"more":1}'),
    ],
    ids=repr,
)
def test_most_of_what_it_refuses_is_refused(annotation: Any, text: str) -> None:
    worker, check = decoders(annotation)
    raw = f'{{"value":{text}}}'.encode()
    assert (accepts(worker, raw), accepts(check, raw)) == (False, False)


@pytest.mark.parametrize(
    "schema",
    [
        b"{}",
        b"[]",
        b'{"type":"object"}',
        b'{"$ref":"#/$defs/x"}',
        b'{"$ref":"http://x","$defs":{}}',
        b"1",
    ],
)
def test_another_schema_is_refused(schema: bytes) -> None:
    with pytest.raises(ValueError, match="not a schema of msgspec"):
        shape_from(schema)
