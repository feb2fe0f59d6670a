"""Make the blocking client from the asynchronous one, so that it is written once.

`make generated` writes `client.py`. A test compares it with what this makes.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent / "leaseq_http"
SOURCE, TARGET = PACKAGE / "async_client.py", PACKAGE / "client.py"

HEADER = '''"""The blocking client, for code without an event loop.

This file is made from `async_client.py` by `make generated`. Change that one.
"""'''
# In this order: words of the docstrings, then of the code.
REPLACED = [
    (r'"""The client for asyncio\..*?\n"""', HEADER),
    (r"many asyncio tasks at a time", "many threads at a time"),
    (r"\bimport asyncio\nfrom collections", "from collections"),
    (r"\bfrom time import monotonic\b", "from time import monotonic, sleep"),
    (r"\basyncio\.sleep\b", "sleep"),
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (
        r"\bfor (\w+) in ((?:self\._pages|items)\([^\n]*\)):\n +yield \1\b",
        r"yield from \2",
    ),
    (r"\bfor (\w+) in (following\.feed\(piece\)):\n +yield \1\b", r"yield from \2"),
    (r"`contextlib\.aclosing`", "`contextlib.closing`"),
    (r"\bAsyncGenerator\[([\w\[\]]+), None\]", r"Generator[\1, None, None]"),
    (r"\bAsync(Client|Generator|Iterator)\b", r"\1"),
    (r"\basynccontextmanager\b", "contextmanager"),
    (r"\b__a(enter|exit)__\b", r"__\1__"),
    (r"\ba(close|read|iter_bytes)\(", r"\1("),
]


def blocking(text: str) -> str:
    """The blocking form of a module, formatted."""
    for words, written in REPLACED:
        text, count = re.subn(words, written, text, flags=re.DOTALL)
        if not count:
            raise ValueError(
                f"{SOURCE.name} has no {words!r} any more: change {Path(__file__).name}"
            )
    return _ruff("format", _ruff("check", text, "--select", "I", "--fix", "--quiet"))


def _ruff(command: str, text: str, *options: str) -> str:
    ruff = [sys.executable, "-m", "ruff", command, *options, "--stdin-filename", str(TARGET), "-"]
    return subprocess.run(ruff, input=text, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    TARGET.write_text(blocking(SOURCE.read_text(encoding="utf-8")), encoding="utf-8")


__all__ = ["SOURCE", "TARGET", "blocking"]
