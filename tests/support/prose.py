"""Read the prose of the repository.

Messages are the string literals with a space in them, except those of tests. Headers are the
comments of statements and scripts. Fenced blocks of Markdown are code.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from support.source_tree import FOLDERS, ROOT, Function, tree_of, walk

SUFFIXES = (".py", ".sql", ".lua", ".md")
# Not with `tokenize`, which takes five times as long. A quote in a comment begins no string.
_STRING_OR_COMMENT = re.compile(
    r"""\"{3}(?:[^\\]|\\.)*?\"{3}|'{3}(?:[^\\]|\\.)*?'{3}|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|#[^\n]*""",
    re.DOTALL,
)
_FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


class Prose(NamedTuple):
    """The prose of one file: numbered lines, and the docstring of a Python module."""

    name: str
    lines: list[tuple[int, str]]
    docstring: str = ""

    @property
    def text(self) -> str:
        """All lines as one text."""
        return "\n".join(line for _, line in self.lines)


@cache
def all_prose() -> list[Prose]:
    """The prose of every file of the project."""
    paths = [*ROOT.glob("*.md")]
    paths += [
        path for folder in FOLDERS for suffix in SUFFIXES for path in folder.rglob(f"*{suffix}")
    ]
    return [
        read_prose(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
        for path in sorted(paths)
        if _ours(path)
    ]


def read_prose(name: str, text: str) -> Prose:
    """The prose in a file with this name and text."""
    match Path(name).suffix:
        case ".py":
            tree = tree_of(text)
            lines = [*_docstrings(tree), *_comments(text)]
            lines += [] if name.startswith("tests/") else _messages(tree)
            return Prose(name, lines, ast.get_docstring(tree) or "")
        case ".md":
            plain = _FENCE.sub(lambda block: "\n" * block[0].count("\n"), text)
            return Prose(name, list(enumerate(plain.splitlines(), 1)))
        case _:
            split = (
                (number, line.partition("--")) for number, line in enumerate(text.splitlines(), 1)
            )
            return Prose(
                name, [(number, comment) for number, (_, found, comment) in split if found]
            )


def _ours(path: Path) -> bool:
    return not any(part == "__pycache__" or part.endswith(".egg-info") for part in path.parts)


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in _definitions(tree):
        if docstring := ast.get_docstring(node, clean=False):
            yield from enumerate(docstring.splitlines(), node.body[0].lineno)


def _definitions(block: ast.Module | ast.stmt) -> Iterator[ast.Module | ast.ClassDef | Function]:
    """A module, and each class and function in it. Expressions contain none."""
    if isinstance(block, ast.Module | ast.ClassDef | Function):
        yield block
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        for inner in getattr(block, field, ()):
            yield from _definitions(inner)


def _messages(tree: ast.Module) -> Iterator[tuple[int, str]]:
    known = {id(node.value) for node in walk(tree) if isinstance(node, ast.Expr)}
    for node in walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and " " in node.value.strip()
            and id(node) not in known
        ):
            yield from ((node.lineno, line) for line in node.value.splitlines())


def _comments(text: str) -> Iterator[tuple[int, str]]:
    line, seen = 1, 0
    for found in _STRING_OR_COMMENT.finditer(text):
        if found[0].startswith("#"):
            line, seen = line + text.count("\n", seen, found.start()), found.start()
            yield line, found[0].lstrip("# ")
