"""Read `traceparent` and `tracestate` as the specification of Trace Context asks."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaseq.payloads.known_type import stamp_in
from leaseq.trace_context import context_in, read_context, with_context

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


def read(*headers: tuple[str, str]) -> dict[str, str] | None:
    return read_context([(name.encode(), value.encode("latin-1")) for name, value in headers])


def test_a_context_is_read() -> None:
    assert read(("accept", "*/*"), ("traceparent", PARENT)) == {"traceparent": PARENT}
    assert read(("traceparent", f" {PARENT}\t"), ("tracestate", "a=1"), ("tracestate", "b=2")) == {
        "traceparent": PARENT,
        "tracestate": "a=1,b=2",
    }


def test_a_later_version_is_read_as_the_first() -> None:
    assert read(("traceparent", f"cc-{TRACE}-{SPAN}-01-what-the-future-brings")) == {
        "traceparent": PARENT
    }


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "x",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01,{PARENT}",
        f"{PARENT}\n",
        "\u00b2" * 55,
    ],
)
def test_an_invalid_context_is_none(parent: str) -> None:
    assert read(("traceparent", parent), ("tracestate", "a=1")) is None


def test_two_contexts_are_none() -> None:
    assert read(("traceparent", PARENT), ("traceparent", PARENT)) is None


@pytest.mark.parametrize("state", ["a=" + "x" * 511, "a=\u00e9", ""])
def test_an_unfit_state_is_left_out(state: str) -> None:
    assert read(("traceparent", PARENT), ("tracestate", state)) == {"traceparent": PARENT}


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_no_header_raises(parent: bytes, state: bytes) -> None:
    found = read_context([(b"traceparent", parent), (b"tracestate", state)])
    assert found is None or found["traceparent"].isascii()


def test_a_context_is_stored_beside_the_stamp() -> None:
    headers = with_context(b'{"shape":"s1"}', {"traceparent": PARENT, "tracestate": "a=1"})
    assert stamp_in(headers) == "s1"
    assert context_in(headers) == {"traceparent": PARENT, "tracestate": "a=1"}
    again = with_context(headers, {"traceparent": PARENT})
    assert msgspec.json.decode(again) == {"shape": "s1", "traceparent": PARENT}


@pytest.mark.parametrize("headers", [None, b"{}", b"[]", b'{"traceparent": 1}'])
def test_other_headers_have_no_context(headers: bytes | None) -> None:
    assert context_in(headers) == {}
