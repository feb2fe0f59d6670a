"""The pages that follow one task and one crash name few, short files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST_FILES = 10
MOST_LINES = 450
MOST_SENTENCES = 3
PAGES = ["docs/one-task.md", "docs/one-crash.md"]

_ITEM = re.compile(
    r"^\d+\. `(?P<path>[^`]+)`(?P<text>.*?)(?=^\d+\. |\Z|\n\n)", re.MULTILINE | re.DOTALL
)


def complaints(page: str) -> list[str]:
    """The problems of such a page: too many files, too long ones, and names that a file does not
    contain."""
    items = [(match["path"], match["text"]) for match in _ITEM.finditer(page)]
    found = [] if 5 <= len(items) <= MOST_FILES else [f"{len(items)} files"]
    for path, text in items:
        if not (ROOT / path).is_file():
            found.append(f"{path} does not exist")
            continue
        source = (ROOT / path).read_text(encoding="utf-8")
        if (lines := source.count("\n")) > MOST_LINES:
            found.append(f"{path} has {lines} lines")
        if not (names := re.findall(r"`([^`]+)`", text)):
            found.append(f"{path}: the text names nothing that is in it")
        found += [
            f"{path} does not contain {name}"
            for name in names
            if not re.search(rf"\b{re.escape(name)}\b", source)
        ]
        if (sentences := len(re.findall(r"\.(?=\s|$)", text))) > MOST_SENTENCES:
            found.append(f"{path}: {sentences} sentences")
    return found


@pytest.mark.parametrize("page", PAGES)
def test_page_names_few_short_files_and_what_is_in_them(page: str) -> None:
    assert complaints((ROOT / page).read_text(encoding="utf-8")) == []


def test_page_with_wrong_names_is_noticed() -> None:
    page = (ROOT / PAGES[-1]).read_text(encoding="utf-8")
    assert complaints(page.replace("supervisor/child_process.py", "supervisor/family.py"))
    assert complaints(page.replace("`_wait_and_recover`", "`_accompany`"))
    assert complaints(
        page.replace("1. `engine", "1. `engine/leaseq/model.py` is a file.\n2. `engine")
    )
    assert complaints(page.replace("`_wait_and_recover`", "`_wait_and_recover`. More. More. More"))
    assert complaints("No file.\n")
