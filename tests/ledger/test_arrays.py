"""Postgres reads back the exact values of an array's text."""

from __future__ import annotations

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leaseq.ledger.arrays import numbers, quoted
from support.examples import examples

# Texts that Postgres can store: no NUL, no unpaired surrogate.
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=examples(150), deadline=None)
@given(texts=st.lists(st.none() | TEXTS, max_size=6))
def test_text_array_keeps_any_text(server: psycopg.Connection, texts: list[str | None]) -> None:
    cursor = server.execute("select %s::text[]", [quoted(texts)])
    assert cursor.fetchone() == (texts,)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NULL",
        "null",
        '"',
        "\\",
        '\\"',
        "{}",
        "{,}",
        ",",
        " ",
        "\n",
        "\t x ",
        "'",
        "a\\\\b",
        '{"a": "b\\n"}',
    ],
)
def test_text_that_means_something_in_an_array(server: psycopg.Connection, text: str) -> None:
    cursor = server.execute("select %s::text[]", [quoted([text, None, text])])
    assert cursor.fetchone() == ([text, None, text],)


def test_number_arrays_keep_their_values(server: psycopg.Connection) -> None:
    values = [0.0, 1e-7, 86_400.0 * 366, None, 0.1 + 0.2]
    cursor = server.execute(
        "select %s::float8[], %s::integer[]", [numbers(values), numbers([1, None, -1])]
    )
    assert cursor.fetchone() == (values, [1, None, -1])


def test_bytes_by_their_digits(server: psycopg.Connection) -> None:
    cursor = server.execute("select %s::bytea[]", [quoted(["\\x00ff", "\\x"])])
    assert cursor.fetchone() == ([b"\0\xff", b""],)
