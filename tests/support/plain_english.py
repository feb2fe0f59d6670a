"""Find words that hide the subject of a sentence, and module docstrings that ask.

The models (psycopg, river, TigerBeetle, oban-py, trio) use none of these words in their prose, or
one in ten thousand words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from support.prose import Prose

# How many places are still allowed, by folder or file. A number only goes down; what is not listed
# has none. Files belong to the longest name in the table that they begin with.
STILL_ALLOWED: dict[str, int] = {
    "engine/leaseq/ledger/": 7,
    "engine/leaseq/operations/": 1,
    "tests/": 5,
}
# Folders that are counted together, because files move from one to the other.
TOGETHER = ("engine/leaseq/supervisor/", "engine/leaseq/worker/")
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


def offences(prose: Iterable[Prose]) -> dict[str, list[str]]:
    """All that was found, by the entry of STILL_ALLOWED that it counts for ("" for no entry)."""
    found: dict[str, list[str]] = {name: [] for name in [*STILL_ALLOWED, ""]}
    for text in prose:
        if not text.name.startswith(HISTORY):
            path = text.name.replace(*TOGETHER)
            owner = max((name for name in found if path.startswith(name)), key=len)
            found[owner] += [*hidden_subjects(text), *unclear_docstring(text)]
    return found
