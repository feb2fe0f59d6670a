"""Find references in prose to numbers, files and anchors that do not exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from support.prose import Prose
from support.source_tree import FOLDERS, ROOT

# Where each kind of number is defined: the document, and the line that defines one.
NUMBERED = {
    "P": ("docs/pitfalls.md", r"^## (P\d+)$"),
    "I": ("docs/chaos.md", r"^\| (I\d+) \|"),
    "G": ("docs/guarantees.md", r"^## (G\d+) "),
}
_NUMBER = re.compile(r"\b([PIG])(\d{1,2}[a-z]?)\b(?! ?%)")
_FILE = re.compile(r"(?<![\w./:@*<{-])((?:[\w.-]+/)*[\w-]+\.(?:py|sql|lua|md))\b(?!\.\w)")
_ANCHOR = re.compile(r"(docs/[\w/-]+\.md)(#[\w-]+(?:(?:, | to )#[\w-]+)*)")

# Files of users and of other projects, and patterns of names.
FOREIGN = {
    "app.py",
    "queue.py",
    "redis/_defaults.py",
    "redis/asyncio/client.py",
    "sides/on_NAME.py",
    "NNNN_name.sql",
    "shop.py",
}
# Texts that are not edited later: what they name may be gone.
HISTORY = ("CHANGELOG.md", "engine/leaseq/ledger/migrations/")


def dead_references(prose: Prose) -> Iterator[str]:
    """Each reference of a text to a number, a file or an anchor that does not exist."""
    for number, line in prose.lines:
        for found in (*_dead_numbers(line), *_dead_files(prose.name, line), *_dead_anchors(line)):
            yield f"{prose.name}:{number} {found}"


def _dead_numbers(line: str) -> Iterator[str]:
    for kind, digits in _NUMBER.findall(line):
        if kind + digits not in _defined(kind):
            yield kind + digits


def _dead_files(name: str, line: str) -> Iterator[str]:
    if name.startswith(HISTORY):
        return
    for file in _FILE.findall(re.sub(r"https?://\S+", "", line)):
        if file not in FOREIGN and file.removeprefix("../") not in _files():
            yield file


def _dead_anchors(line: str) -> Iterator[str]:
    for file, anchors in _ANCHOR.findall(line):
        for anchor in re.findall(r"#([\w-]+)", anchors):
            if anchor not in headings(file):
                yield f"{file}#{anchor}"


@cache
def headings(file: str) -> set[str]:
    """The anchors of a document, as GitHub derives them from its headings."""
    path = ROOT / file
    titles = (
        re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        if path.exists()
        else []
    )
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@cache
def _defined(kind: str) -> set[str]:
    file, form = NUMBERED[kind]
    return set(re.findall(form, (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE))


@cache
def _files() -> set[str]:
    """Every file by all ends of its path that begin behind a slash."""
    paths = [*ROOT.iterdir(), *(path for folder in FOLDERS for path in folder.rglob("*"))]
    parts = [path.relative_to(ROOT).parts for path in paths if path.is_file()]
    return {"/".join(each[start:]) for each in parts for start in range(len(each))}
