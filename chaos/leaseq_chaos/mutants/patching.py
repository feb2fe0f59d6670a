"""Apply a bug to a copy of the source tree.

By a patch in the unified format, hunk by hunk: what a hunk shows of the old text must be in the
file exactly once, wherever. Line numbers are not believed, since lines are added above; and nothing
is guessed: a patch that has come apart from the code is an error, not a mutant that survives.
"""

from __future__ import annotations

import re
import shutil
from importlib.util import find_spec
from pathlib import Path

from msgspec import Struct

__all__ = ["PACKAGES", "Hunk", "Misfit", "copy_tree", "hunks", "patched"]

# Where each package lies below the root of a source tree.
PACKAGES = {"leaseq": "engine", "leaseq_api": "api", "leaseq_reaper": "reaper"}

_FILE = re.compile(r"\+\+\+ b/(\S+)")


class Misfit(Exception):
    """The patch and the code do not belong together (any more)."""


class Hunk(Struct, frozen=True):
    """One place of one file."""

    file: str
    old: str
    new: str


def hunks(patch: str) -> list[Hunk]:
    """The hunks of a unified diff. Raises Misfit where it is none."""
    found: list[Hunk] = []
    file = ""
    for line in patch.splitlines(keepends=True):
        if line.startswith("--- "):
            continue
        if heading := _FILE.match(line):
            file = heading[1]
        elif line.startswith("@@"):
            found.append(Hunk(file, "", ""))
        elif found and line[0] in " +-":
            last, text = found.pop(), line[1:]
            found.append(
                Hunk(
                    last.file,
                    last.old + text * (line[0] != "+"),
                    last.new + text * (line[0] != "-"),
                )
            )
        else:
            raise Misfit(f"this is no line of a patch: {line.rstrip()}")
    return found


def patched(patch: str, tree: Path) -> list[Path]:
    """Apply a patch; the files that it changed. Raises Misfit, and may then have changed some of
    them."""
    changed: dict[Path, None] = {}
    for hunk in hunks(patch):
        path = tree / hunk.file
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if (count := text.count(hunk.old)) != 1:
            raise Misfit(f"{hunk.file} has this {count} times, not once:\n{hunk.old}")
        path.write_text(text.replace(hunk.old, hunk.new), encoding="utf-8")
        changed[path] = None
    return list(changed)


def copy_tree(target: Path) -> Path:
    """Copy the packages that are run here, wherever they are installed, into the layout of a source
    tree."""
    for package, part in PACKAGES.items():
        spec = find_spec(package)
        assert spec is not None, f"{package} is not installed"
        place = next(iter(spec.submodule_search_locations or ()))
        shutil.copytree(
            place, target / part / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    return target
