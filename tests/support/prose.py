"""Read the prose of the repository.

Messages are the string literals with a space in them, except those of tests. Headers are the
comments of statements and scripts. Fenced blocks of Markdown are code.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from support.source_tree import FOLDERS, ROOT, Function, tree_of, walk

SUFFIXES = (".py", ".sql", ".lua", ".md")
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
    for node in walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | Function) and (
            docstring := ast.get_docstring(node, clean=False)
        ):
            yield from enumerate(docstring.splitlines(), node.body[0].lineno)


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
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("# ")
