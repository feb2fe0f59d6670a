"""Payloads, results and fingerprints: accepted and refused bytes."""

from __future__ import annotations

import enum
import json
import math
import random
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaseq.codec import (
    MAX_DEPTH,
    check_depth,
    check_payload,
    encode_progress,
    encode_result,
    fingerprint,
    is_task_id,
    new_task_id,
)
from leaseq.errors import PayloadInvalid, PayloadTooLarge, ResultInvalid

MIB = 1_048_576

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)
PIECES = [
    *(bytes([code]) for code in b'{}[]":,\\ue0-.1 \n'),
    b"\\u0000",
    b"\\ud83d",
    b"\\ude00",
    b"\\\\",
    b"true",
]
PIECES += [
    b"null",
    b'"a"',
    b'{"a":',
    b"\x00",
    b"\xff",
    b"\xc3\xa9",
    b"\xed\xa0\x80",
    b"1e400",
    b"NaN",
    b"\xef\xbb\xbf",
]
nearly_json = st.lists(st.sampled_from(PIECES)).map(b"".join) | st.binary()


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part)
    elif isinstance(value, dict):
        for key, part in value.items():
            yield key
            yield from _strings(part)


@given(values, st.booleans(), st.sampled_from([None, 1]))
def test_every_json_value_is_taken_unless_postgres_could_not_store_it(
    value: Any, ascii_only: bool, indent: int | None
) -> None:
    raw = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    if any("\x00" in text for text in _strings(value)):
        with pytest.raises(PayloadInvalid, match="u0000"):
            check_payload(raw, max_bytes=MIB)
    else:
        assert check_payload(raw, max_bytes=MIB) == json.loads(raw)


@given(nearly_json)
def test_no_bytes_raise_anything_else(raw: bytes) -> None:
    with suppress(PayloadInvalid, PayloadTooLarge):
        value = check_payload(raw, max_bytes=100)
        assert value == json.loads(raw)
        fingerprint(value)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{",
        b"[1,]",
        b"NaN",
        b"-Infinity",
        b"1e400",
        b"1" * 5_000,
        b"\xef\xbb\xbf1",
        b'"\xed\xa0\x80"',
        b'"\x01"',
        b"[1] 2",
        b'"\\ud800"',
        b'"\\ud800\\ud800"',
        b'"\\udc00\\ud800"',
        b'"\\uD83Dx\\uDE00"',
        b'"\\u0000"',
        b'"\\\\\\u0000"',
        b'{"\\u0000": 1}',
    ],
)
def test_payload_outside_json_is_refused(raw: bytes) -> None:
    with pytest.raises(PayloadInvalid):
        check_payload(raw, max_bytes=MIB)


@pytest.mark.parametrize("raw", [b'"\\ud800"', b'"\\uDC00\\uD83D"', b'{"\\ud83d\\ud83d": 1}'])
def test_half_of_a_pair_is_named_as_what_it_is(raw: bytes) -> None:
    with pytest.raises(PayloadInvalid, match="an unpaired surrogate"):
        check_payload(raw, max_bytes=MIB)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'"\\\\u0000"', "\\u0000"),
        (b'"\\\\ud800"', "\\ud800"),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'"\\uD83D\\uDE00\\\\ud800"', "\U0001f600\\ud800"),
        (b" [ 1 ]\n", [1]),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
        (b'{"a":1,"a":2}', {"a": 2}),
    ],
)
def test_payload_is_accepted_with_its_value(raw: bytes, value: Any) -> None:
    assert check_payload(raw, max_bytes=MIB) == value


def test_payload_above_the_size_limit_is_refused() -> None:
    assert check_payload(b'"12345678"', max_bytes=10) == "12345678"
    with pytest.raises(PayloadTooLarge, match="11 bytes; the limit is 10"):
        check_payload(b'"123456789"', max_bytes=10)


@pytest.mark.parametrize("pair", [(b"[", b"]"), (b'{"a":', b"}")])
def test_payload_at_the_depth_limit_is_accepted_and_beyond_is_refused(
    pair: tuple[bytes, bytes],
) -> None:
    opened, closed = pair
    fits = opened * MAX_DEPTH + b"1" + closed * MAX_DEPTH
    check_payload(fits, max_bytes=MIB)
    with pytest.raises(PayloadInvalid, match="deeper than 64"):
        check_payload(opened + fits + closed, max_bytes=MIB)
    with pytest.raises(PayloadInvalid, match="deeper than 64"):
        check_payload(opened * 100_000, max_bytes=MIB)


def test_brackets_in_strings_and_beside_each_other_are_not_depth() -> None:
    check_payload(json.dumps(["[" * 1_000, '"[' * 1_000, "\\[" * 1_000]).encode(), max_bytes=MIB)
    check_payload(b"[" + b",".join([b"[]"] * 1_000) + b"]", max_bytes=MIB)


@pytest.mark.parametrize(
    "hostile",
    [
        b'"' + b'\\"' * 400_000 + b"[" * 100,
        b"[" * MAX_DEPTH + b'"' + b'\\"' * 400_000 + b"[" * 100,
        b'"' * 500_000 + b"[" * 100,
        b"\\" * 500_000 + b"[" * 100,
        b"[" * MAX_DEPTH + b'"' + b"a" * 900_000 + b'"' + b"]" * MAX_DEPTH + b"[]" * 100,
    ],
)
def test_a_hostile_megabyte_is_read_in_one_go(hostile: bytes) -> None:
    """A pattern that goes back over an unterminated string would need hours for one of these."""
    began = time.process_time()
    with suppress(PayloadInvalid):
        check_depth(hostile)
    assert time.process_time() - began < 5


@given(values, st.randoms(use_true_random=False))
def test_a_fingerprint_does_not_depend_on_the_order_of_keys(
    value: Any, chance: random.Random
) -> None:
    assert fingerprint(_shuffled(value, chance)) == fingerprint(value)


@given(values, values)
def test_fingerprints_differ_where_the_content_does(one: Any, other: Any) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (fingerprint(one) == fingerprint(other)) == same


def _shuffled(value: Any, chance: random.Random) -> Any:
    if isinstance(value, list):
        return [_shuffled(part, chance) for part in value]
    if isinstance(value, dict):
        items = [(key, _shuffled(part, chance)) for key, part in value.items()]
        chance.shuffle(items)
        return dict(items)
    return value


def test_task_ids_are_version_7_ordered_and_different() -> None:
    made = [new_task_id() for _ in range(1_000)]
    assert all(
        is_task_id(task_id) and task_id[14] == "7" and task_id[19] in "89ab" for task_id in made
    )
    assert len(set(made)) == 1_000
    assert [task_id[:13] for task_id in made] == sorted(task_id[:13] for task_id in made)
    milliseconds = int(made[-1][:8] + made[-1][9:13], 16)
    assert abs(milliseconds - time.time() * 1_000) < 60_000


@pytest.mark.parametrize(
    "change",
    [str.upper, lambda t: t + "\n", lambda t: t[:-1], lambda t: "{" + t + "}", lambda t: ""],
)
def test_is_task_id_knows_one_form_only(change: Any) -> None:
    task_id = "01900000-0000-7000-8000-00000000000a"
    assert is_task_id(task_id)
    assert not is_task_id(change(task_id))


@given(values)
def test_a_result_that_can_be_written_can_be_stored(value: Any) -> None:
    if any("\x00" in text for text in _strings(value)):
        with pytest.raises(ResultInvalid, match="NUL"):
            encode_result(value, max_bytes=MIB)
    else:
        assert msgspec.json.decode(encode_result(value, max_bytes=MIB)) == value


def test_a_result_that_cannot_be_written_says_why() -> None:
    loop: list[Any] = []
    loop.append(loop)
    for value in (object(), "\ud800", {1, object()}, loop):
        with pytest.raises(ResultInvalid, match="cannot be written"):
            encode_result(value, max_bytes=MIB)
    with pytest.raises(ResultInvalid, match="12 bytes; the limit is 11"):
        encode_result("0123456789", max_bytes=11)


class Colour(enum.Enum):
    NONE = math.nan


@dataclass
class Reading:
    value: Any


class Sample(msgspec.Struct):
    value: Any


NOT_FINITE = [
    math.nan,
    math.inf,
    -math.inf,
    Decimal("NaN"),
    Decimal("-Infinity"),
    Decimal("sNaN"),
    Colour.NONE,
]


@pytest.mark.parametrize("number", NOT_FINITE, ids=repr)
@pytest.mark.parametrize(
    "wrap",
    [
        lambda n: n,
        lambda n: [1, [n]],
        lambda n: {"a": {"b": n}},
        Reading,
        lambda n: Sample([Reading(n)]),
    ],
)
def test_a_number_that_json_does_not_have_is_refused(number: Any, wrap: Any) -> None:
    with pytest.raises(ResultInvalid, match="JSON has no"):
        encode_result(wrap(number), max_bytes=MIB)
    with pytest.raises(ValueError, match="JSON has no"):
        encode_progress(wrap(number))


def test_a_key_that_is_no_finite_number_is_refused() -> None:
    for key in (math.nan, -math.inf, Decimal("NaN")):
        with pytest.raises(ResultInvalid, match="JSON has no"):
            encode_result({key: 1}, max_bytes=MIB)


def test_words_that_only_look_like_a_missing_number_are_kept() -> None:
    value = [
        None,
        "NaN",
        "Infinity",
        "null",
        {"nan": None},
        1e308,
        Decimal("1.5"),
        msgspec.Raw(b"null"),
    ]
    kept = msgspec.json.decode(encode_result(value, max_bytes=MIB))
    assert kept == [None, "NaN", "Infinity", "null", {"nan": None}, 1e308, "1.5", None]
