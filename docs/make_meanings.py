"""Write the meanings of events from the table in docs/operations.md.

`make generated` runs it, and a test compares the file. The diary shows them, so what a person reads
there is what the page for the person on call says.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "docs" / "operations.md"
TARGET = ROOT / "engine" / "leaseq" / "observability" / "meanings.json"
HEAD = "| event | level | fields | what it means, and what to do |"
# A link to another page of the documents, which a reader of the diary cannot follow.
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")


def meanings() -> dict[str, str]:
    """The meaning of each event, in the order of the table. Backquotes stay."""
    lines = SOURCE.read_text(encoding="utf-8").splitlines()
    found = {}
    for line in lines[lines.index(HEAD) + 2 :]:
        if not line.startswith("|"):
            break
        name, _, _, meaning = line.strip("| ").split(" | ")
        found[name.strip("`")] = _LINK.sub(r"\1", meaning.strip())
    return found


def text() -> str:
    """The text of the file."""
    encoded = msgspec.json.format(msgspec.json.encode(meanings()), indent=1)
    return encoded.decode() + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
