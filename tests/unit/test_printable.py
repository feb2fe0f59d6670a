"""Tests of the functions that write text from outside in printable characters."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaseq.safe_text.printable import ascii_json, printable, printable_json, printable_lines

# All that may steer a terminal or end a line: C0, DEL, C1 and U+00A0, writing direction, line
# separators, half of a pair.
CONTROLS = [
    *map(chr, range(0x20)),
    *map(chr, range(0x7F, 0xA1)),
    *"\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff\U000e0001",
    "\ud800",
    "\udfff",
]


@pytest.mark.parametrize("char", CONTROLS, ids=ascii)
def test_a_control_character_is_written_out(char: str) -> None:
    shown = printable(f"a{char}b")
    assert shown.isprintable()
    assert shown == "a" + char.encode("unicode_escape").decode() + "b"
    assert printable_lines(f"{char}\n") == ["", "", ""] if char == "\n" else [printable(char), ""]


@given(st.text(alphabet=st.characters(exclude_categories=[])))
def test_any_text_becomes_one_printable_line(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)
    assert (printable(text) == text) == text.isprintable()


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(alphabet=st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(values)
def test_json_keeps_its_value_and_its_line_ends(value: object) -> None:
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    for shown in (printable_json(text), ascii_json(text)):
        assert json.loads(shown) == value
        assert shown.count("\n") == text.count("\n")
        assert shown.replace("\n", "").isprintable()
    assert ascii_json(text).isascii()
