"""Are the lines of a burst written together, whole, in order, and in pieces that a shared pipe does not tear?"""

from __future__ import annotations

import select

import pytest

from leaseq import logs
from leaseq.logs import Lines
from leaseq.telemetry import burst


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    pieces: list[str] = []
    monkeypatch.setattr(logs, "_write", pieces.append)
    return pieces


def test_a_line_alone_is_written_at_once(written: list[str]) -> None:
    Lines().write("alone")
    assert written == ["alone\n"]


def test_the_lines_of_a_burst_are_written_once(written: list[str]) -> None:
    lines = Lines()
    with burst():
        lines.write("one")
        lines.write("two")
        assert written == []
    lines.write("three")
    assert written == ["one\ntwo\n", "three\n"]


@pytest.mark.parametrize("letter", ["x", "é", "\ud800"])
def test_no_piece_is_larger_than_a_pipe_takes_whole(written: list[str], letter: str) -> None:
    said = [letter * (7 * n % 500) for n in range(100)]
    lines = Lines()
    with burst():
        for line in said:
            lines.write(line)
    assert "".join(written) == "".join(f"{line}\n" for line in said)
    assert max(len(piece.encode("utf-8", "backslashreplace")) for piece in written) <= select.PIPE_BUF
    assert len(written) < len(said) / 2


def test_a_line_that_is_larger_goes_alone(written: list[str]) -> None:
    large, lines = "x" * 2 * select.PIPE_BUF, Lines()
    with burst():
        lines.write("before")
        lines.write(large)
        lines.write("after")
    assert "".join(written) == f"before\n{large}\nafter\n"
