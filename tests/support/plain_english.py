"""Find words that hide the subject of a sentence, and module docstrings that ask.

The models (psycopg, river, TigerBeetle, oban-py, trio) use none of these words in their prose, or
one in ten thousand words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from support.prose import Prose

# Files that are not edited later.
HISTORY = ("engine/leaseq/ledger/migrations/",)

# Each word, and what to write instead.
WORDS = {
    r"whoever|nobody|somebody|anybody|everybody|whom": "name the component",
    r"what (?:is|was|are|were)": "name the thing",
    r"whatever": "name the thing",
    r"(?<!all )at once": "immediately, or: at the same time",
    r"anew": "again",
    r"for good": "permanently",
    r"in vain": "without success",
    r"in company": "with other tasks",
    r"by itself": "automatically, alone",
    r"said|told|heard": "logged, reported, named",
    r"lets? go of|letting go": "release",
    r"mends?|mended": "fix",
    r"takes? for|taken for": "treat as",
    r"for ever": "forever, permanently",
}
_WORD = re.compile("|".join(rf"\b(?:{words})\b" for words in WORDS), re.IGNORECASE)
_FREE_RELATIVE = re.compile(r"(?:^|(?<=[.:;] ))(?:What|Who|Whose)\b", re.MULTILINE)
_CODE = re.compile(r"`[^`]*`")
FIRST_LINE = 80


def hidden_subjects(prose: Prose) -> Iterator[str]:
    """Each place in a text where one of the words stands, or a sentence begins with What or Who."""
    for number, line in prose.lines:
        plain = _CODE.sub("``", line)
        for found in (*_WORD.findall(plain), *_FREE_RELATIVE.findall(plain)):
            yield f"{prose.name}:{number} {found!r}: {line.strip()[:100]}"


def unclear_docstring(prose: Prose) -> Iterator[str]:
    """A module docstring that asks, or whose first line is no sentence of at most 80 characters."""
    if not prose.name.endswith(".py") or not prose.docstring:
        return
    first = prose.docstring.splitlines()[0]
    if "?" in prose.docstring:
        yield f"{prose.name}:1 asks a question: {first[:100]}"
    elif len(first) > FIRST_LINE or not first.endswith("."):
        yield f"{prose.name}:1 the first line is no sentence of at most {FIRST_LINE} characters: {first[:100]}"


def asking_header(prose: Prose) -> Iterator[str]:
    """A question in a comment of a statement or a script."""
    if prose.name.endswith((".sql", ".lua")):
        yield from (f"{prose.name}:{number} {line}" for number, line in prose.lines if "?" in line)


def offences(prose: Iterable[Prose]) -> list[str]:
    """Everything that the rules of this file find."""
    rules = (hidden_subjects, unclear_docstring, asking_header)
    return [
        found
        for text in prose
        if not text.name.startswith(HISTORY)
        for rule in rules
        for found in rule(text)
    ]
