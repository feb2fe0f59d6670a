"""Colours on a terminal, none in a pipe, and escaped text in both."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from leaseq.cli.output import moment
from leaseq.safe_text.printable import printable
from support.cli import Stage
from support.processes import environment


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain, é, 漢", "plain, é, 漢"),
        ("two\nlines\tand a tab", "two\\nlines\\tand a tab"),
        ("\x1b[2J\x07\r\x7f", "\\x1b[2J\\x07\\r\\x7f"),
        ("\u202eright to left\u200b", "\\u202eright to left\\u200b"),
    ],
)
def test_control_characters_are_written_out(raw: str, shown: str) -> None:
    assert printable(raw) == shown


def test_a_moment_has_a_fixed_width() -> None:
    when = datetime(2030, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
    assert (len(moment(when)), len(moment(when, fine=True))) == (19, 23)
    assert moment(when, fine=True).endswith(":05.678")
    assert moment(None) == "-"


def test_a_terminal_gets_colours(stage: Stage) -> None:
    task_id = stage.submit(queue="side")
    command = [sys.executable, "-m", "leaseq", "list"]
    env = environment(stage.config) | {"TERM": "xterm-256color", "COLUMNS": "200"}
    piped = subprocess.run(command, env=env, capture_output=True, check=True).stdout
    assert b"\x1b" not in piped
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            command, env=env, stdin=theirs, stdout=theirs, stderr=theirs
        ) as process:
            os.close(theirs)
            seen = read_all(ours)
            assert process.wait(timeout=60) == 0
    finally:
        os.close(ours)
    assert f"{task_id}".encode() in seen
    assert b"\x1b[36mPENDING\x1b[0m" in seen


def read_all(terminal: int) -> bytes:
    seen = b""
    while True:
        try:
            part = os.read(terminal, 65_536)
        except OSError:  # how Linux says that the other side has closed it
            return seen
        if not part:
            return seen
        seen += part
