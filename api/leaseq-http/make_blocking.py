"""Make the blocking client from the asynchronous one, so that it is written once.

`make generated` writes `client.py`, `rules.py` and `sending.py`. A test compares them with what this makes.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent / "leaseq_http"
# Each file, and the one that is made from it.
MADE = {
    "async_client.py": "client.py",
    "async_rules.py": "rules.py",
    "async_sending.py": "sending.py",
}

NOTE = "This file is made from `{source}` by `make generated`. Change that one."
# In this order: words of the docstrings, then of the code. Each has to be in one of the files.
REPLACED = [
    (
        r'"""The client for asyncio\..*?\n"""',
        f'"""The blocking client, for code without an event loop.\n\n{NOTE}\n"""',
    ),
    (
        r'"""Send calls with asyncio, again where that is safe\..*?\n"""',
        f'"""Send calls without an event loop, again where that is safe.\n\n{NOTE}\n"""',
    ),
    (
        r'"""Limits and schedules with asyncio\..*?\n"""',
        f'"""Limits and schedules without an event loop.\n\n{NOTE}\n"""',
    ),
    (r"\basync_(sending|rules)\b", r"\1"),
    (r"many asyncio tasks at a time", "many threads at a time"),
    (r"\bimport asyncio\nfrom collections", "from collections"),
    (r"\bfrom time import monotonic\b", "from time import monotonic, sleep"),
    (r"\basyncio\.sleep\b", "sleep"),
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (
        r"\bfor (\w+) in ((?:self\._sender\.pages|items)\([^\n]*\)):\n +yield \1\b",
        r"yield from \2",
    ),
    (r"\bfor (\w+) in (following\.feed\(piece\)):\n +yield \1\b", r"yield from \2"),
    (r"`contextlib\.aclosing`", "`contextlib.closing`"),
    (r"\bAsyncGenerator\[([\w\[\]]+), None\]", r"Generator[\1, None, None]"),
    (r"\bAsync(Client|Generator|Iterator|Limits|Schedules|Sender)\b", r"\1"),
    (r"\basynccontextmanager\b", "contextmanager"),
    (r"\b__a(enter|exit)__\b", r"__\1__"),
    (r"\ba(close|read|iter_bytes)\(", r"\1("),
]


def blocking(texts: dict[str, str]) -> dict[str, str]:
    """The blocking forms of these files, formatted, by the names that they get."""
    for words, _ in REPLACED:
        if not any(re.search(words, text, flags=re.DOTALL) for text in texts.values()):
            raise ValueError(f"no file has {words!r} any more: change {Path(__file__).name}")
    return {MADE[name]: _blocking(name, text) for name, text in texts.items()}


def sources() -> dict[str, str]:
    """The files that are written for asyncio."""
    return {name: (PACKAGE / name).read_text(encoding="utf-8") for name in MADE}


def _blocking(name: str, text: str) -> str:
    for words, written in REPLACED:
        text = re.sub(words, written, text, flags=re.DOTALL)
    text = text.replace("{source}", name)
    return _ruff("format", _ruff("check", text, "--select", "I", "--fix", "--quiet"))


def _ruff(command: str, text: str, *options: str) -> str:
    ruff = [
        sys.executable,
        "-m",
        "ruff",
        command,
        *options,
        "--stdin-filename",
        str(PACKAGE / "client.py"),
        "-",
    ]
    return subprocess.run(ruff, input=text, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    for name, text in blocking(sources()).items():
        (PACKAGE / name).write_text(text, encoding="utf-8")


__all__ = ["PACKAGE", "blocking", "sources"]
