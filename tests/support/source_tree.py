"""The files of this repository, as the tidy tests read them.

Parsed once for each test run. Only files of the project itself: what tools and servers leave behind
is no part of it.
"""

from __future__ import annotations

import ast
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "leaseq": ROOT / "engine" / "leaseq",
    "leaseq_api": ROOT / "api" / "leaseq_api",
    "leaseq_reaper": ROOT / "reaper" / "leaseq_reaper",
    "leaseq_chaos": ROOT / "chaos" / "leaseq_chaos",
    "leaseq_http": ROOT / "api" / "leaseq-http" / "leaseq_http",
}
# The packages in the wheel of leaseq.
DISTRIBUTED = {name: PACKAGES[name] for name in ("leaseq", "leaseq_api", "leaseq_reaper")}
FOLDERS = [
    *(folder for name, folder in PACKAGES.items() if name != "leaseq_http"),
    ROOT / "api" / "leaseq-http",
    *(ROOT / name for name in (".ci", ".github", "bench", "deploy", "docs", "examples", "tests")),
]
TEXT = {
    ".lock",
    ".lua",
    ".md",
    ".py",
    ".sql",
    ".toml",
    ".yml",
    ".yaml",
    ".conf",
    ".sh",
    ".json",
    ".cfg",
    ".ini",
    ".ts",
    "",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, eq=False)
class Module:
    """One Python file."""

    path: Path
    text: str
    tree: ast.Module

    @cached_property
    def name(self) -> str:
        """The path from the root of the repository, as people write it."""
        return self.path.relative_to(ROOT).as_posix()


@cache
def shipped() -> list[Module]:
    """Every module of the packages, the chaos suite included."""
    return [parsed(path) for folder in PACKAGES.values() for path in _walk(folder, ".py")]


@cache
def services() -> list[Module]:
    """Every module of the packages that do the work: the chaos suite stands outside and has rules
    of its own."""
    return [module for module in shipped() if PACKAGES["leaseq_chaos"] not in module.path.parents]


@cache
def written() -> list[Module]:
    """Every Python file there is: packages, tests, benchmarks, examples."""
    return [parsed(path) for folder in FOLDERS for path in _walk(folder, ".py")]


@cache
def texts() -> list[tuple[str, str]]:
    """Name and content of every text file, of the root directory too."""
    paths = [
        path
        for path in ROOT.iterdir()
        if path.is_file() and path.suffix in TEXT and path.name != ".git"
    ]
    paths += [path for folder in FOLDERS for path in _walk(folder) if path.suffix in TEXT]
    paths += [ROOT / "chaos" / "pyproject.toml"]
    return [
        (path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
        for path in sorted(paths)
    ]


@cache
def parsed(path: Path) -> Module:
    """One file, parsed."""
    text = path.read_text(encoding="utf-8")
    return Module(path, text, tree_of(text))


@cache
def tree_of(text: str) -> ast.Module:
    """The syntax of a Python file."""
    with no_collection():
        return ast.parse(text)


@cache
def walk(node: ast.AST) -> list[ast.AST]:
    """A node and all below it. Two dozen rules walk the same trees."""
    return list(ast.walk(node))


@contextmanager
def no_collection() -> Iterator[None]:
    """Hold off the garbage collector while Python parses.

    In Python 3.11 a finalizer that formats a traceback parses, too, and a parser that was
    interrupted by another one raises SystemError (https://github.com/python/cpython/issues/106905).
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def functions(module: Module) -> Iterator[Function]:
    """Every function and method of a module, also those inside others."""
    return (node for node in walk(module.tree) if isinstance(node, Function))


def calls(module: Module, *names: str) -> Iterator[ast.Call]:
    """Calls of a function or method that is written with one of these names."""
    for node in walk(module.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in names:
            yield node


def literals(module: Module) -> Iterator[tuple[int, str]]:
    """Line and text of every string that is not a docstring."""
    docstrings = {
        id(node.body[0].value)
        for node in walk(module.tree)
        if isinstance(node, ast.Module | ast.ClassDef | Function)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in walk(module.tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
        ):
            yield node.lineno, node.value


def _walk(folder: Path, suffix: str = "") -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.rglob(f"*{suffix}")
        if path.is_file()
        and not any(part == "__pycache__" or part.endswith(".egg-info") for part in path.parts)
    )
