"""Pack many values into one parameter of a statement.

The parameter is the text of a Postgres array. psycopg dumps a list element by element in Python,
which costs more than all the rest of a batch; the text is one join. Postgres reads it back by the
type that the statement casts it to, so it is data, never part of the statement; `quoted` is for all
that is not known to need no quotes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

NULL = "NULL"
NOTHING = "{}"


def words(values: Iterable[str]) -> str:
    """An array of what has no character to quote and is not empty: ids, states."""
    return "{" + ",".join(values) + "}"


def numbers(values: Iterable[float | None]) -> str:
    """An array of numbers; None is NULL."""
    return "{" + ",".join([NULL if value is None else str(value) for value in values]) + "}"


def quoted(values: Iterable[str | None]) -> str:
    """An array of any text; None is NULL."""
    found = [*values]
    if None in found:
        return "{" + ",".join([NULL if text is None else _quote(text) for text in found]) + "}"
    texts = cast("list[str]", found)
    joined = '","'.join(texts)
    if "\\" not in joined and joined.count('"') == 2 * (len(texts) - 1):
        return '{"' + joined + '"}'  # the texts themselves have no quotes
    return "{" + ",".join([_quote(text) for text in texts]) + "}"


def _quote(text: str) -> str:
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


__all__ = ["NOTHING", "numbers", "quoted", "words"]
