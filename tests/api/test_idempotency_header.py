"""The Idempotency-Key header is read as RFC 8941 and as plain text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaseq.errors import IdempotencyKeyInvalid
from leaseq_api.idempotency import parse_key

PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=255)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ([], None),
        (["order-1"], "order-1"),
        (['"order-1"'], "order-1"),
        (["  order-1\t"], "order-1"),
        ([r'"a \"b\" \\ c"'], r'a "b" \ c'),
        (["order-1", "order-1"], "order-1"),
        (["order-1", '"order-1"'], "order-1"),
        ([""], ""),
        (['""'], ""),
        (['"a, b"'], "a, b"),
        (['"a", "a"'], "a"),
        (['"a" ,"a"', "a"], "a"),
    ],
)
def test_a_key_is_read(values: list[str], key: str | None) -> None:
    assert parse_key(values) == key


@pytest.mark.parametrize(
    "values",
    # The lines after the first are two headers that a proxy has joined: not a valid key.
    [
        *(
            ['"open'],
            ['"a"b'],
            ['"a";p=1'],
            [r'"\a"'],
            ['"tab\there"'],
            ['"é"'],
            ['"'],
            ["a", "b"],
            ["a", "A"],
            ['"a", "b"'],
        ),
        *(
            ["a, a"],
            ["a,a"],
            ["a, b"],
            ["a,"],
            [","],
            ['"a", a'],
            ['a, "a"'],
            ['"a",'],
            ['"a",,"a"'],
            ['"a" "a"'],
            ["a, a", "a, a"],
        ),
    ],
)
def test_malformed_or_contradictory_request_is_refused(values: list[str]) -> None:
    with pytest.raises(IdempotencyKeyInvalid):
        parse_key(values)


@given(PRINTABLE)
def test_every_printable_key_survives_quoting(key: str) -> None:
    quoted = '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
    assert parse_key([quoted]) == key
