"""The items of a batch are found in any bytes, in linear time."""

from __future__ import annotations

import json
from time import process_time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leaseq_api.batch.split import MAX_DEPTH, Lines, split_array
from leaseq_api.refused import Refused
from support.examples import examples

TEXT = st.text(alphabet='ab"\\[]{},: \n\u00e9\u2028') | st.text()
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=30,
)


@given(items=st.lists(ANY_JSON, max_size=6), indent=st.sampled_from([None, 0, 3]), escape=...)
@settings(max_examples=examples(300), deadline=None)
def test_elements_are_those_of_the_parser(
    items: list[Any], indent: int | None, escape: bool
) -> None:
    raw = json.dumps(items, indent=indent, ensure_ascii=escape).encode("utf-8", "surrogatepass")
    assert [json.loads(bytes(element)) for element in split_array(raw)] == items


@pytest.mark.parametrize("levels", [1, 7, 8, 9, 20, MAX_DEPTH])
def test_a_deep_element_is_found(levels: int) -> None:
    deep = b"[" * levels + b'"]"' + b"]" * levels
    assert [bytes(element) for element in split_array(b"[" + deep + b" , 1]")] == [deep, b"1"]


@given(raw=st.binary(max_size=40) | st.text(alphabet='[]{},:"\\ 1a').map(str.encode))
@settings(max_examples=examples(300), deadline=None)
def test_any_bytes_are_split_as_the_parser_would_or_refused(raw: bytes) -> None:
    try:
        parsed = json.loads(raw)
    except ValueError:
        parsed = None
    try:
        elements = [bytes(element) for element in split_array(raw)]
    except Refused:
        assert not isinstance(parsed, list)
    else:
        if isinstance(parsed, list):
            assert [json.loads(element) for element in elements] == parsed


HOSTILE = {
    "deep": b"[" * 4_000_000,
    "deep with strings": b'["",' * 1_000_000,
    "deep pairs": b"[[" + b"[[[[[[[[[]]]]]]]]]," * 200_000 + b"1]]",
    "quotes": b'["' + b'\\"' * 2_000_000,
    "space": b"[" + b" " * 4_000_000,
    "a word": b"[" + b"a" * 4_000_000,
    "commas": b"[" + b"," * 4_000_000,
    "empty arrays": b"[[" + b"[]," * 1_300_000 + b"1]]",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_take_linear_time(name: str) -> None:
    raw = HOSTILE[name]
    began = process_time()
    json.loads(b"[" + b"1," * 500_000 + b"1]")
    usual = process_time() - began
    began = process_time()
    try:
        for _ in split_array(raw):
            pass
    except Refused:
        pass
    assert process_time() - began < 30 * usual + 1


@given(
    lines=st.lists(st.binary(max_size=12).map(lambda raw: raw.replace(b"\n", b"")), max_size=12),
    cuts=st.lists(st.integers(0, 150), max_size=8),
    ended=...,
)
@settings(max_examples=examples(300), deadline=None)
def test_lines_do_not_depend_on_the_pieces(
    lines: list[bytes], cuts: list[int], ended: bool
) -> None:
    raw = b"\n".join(lines) + (b"\n" if ended else b"")
    reader, found, at = Lines(10), [], 0
    for cut in [*sorted(cut for cut in cuts if cut <= len(raw)), len(raw)]:
        found += reader.feed(raw[at:cut], last=False)
        at = cut
    found += reader.feed(b"", last=True)
    assert found == [line if len(line) <= 10 else None for line in raw.split(b"\n")]
