"""Lines of a burst are written together, whole, and in order."""

from __future__ import annotations

import select

import pytest

from leaseq.observability import logs
from leaseq.observability.logs import Lines
from leaseq.observability.telemetry import burst


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    pieces: list[bytes] = []
    monkeypatch.setattr(logs, "_write", pieces.append)
    return pieces


def test_a_line_alone_is_written_at_once(written: list[bytes]) -> None:
    Lines().write(b"alone")
    assert written == [b"alone\n"]


def test_the_lines_of_a_burst_are_written_once(written: list[bytes]) -> None:
    lines = Lines()
    with burst():
        lines.write(b"one")
        lines.write(b"two")
        assert written == []
    lines.write(b"three")
    assert written == [b"one\ntwo\n", b"three\n"]


@pytest.mark.parametrize("letter", ["x", "é"])
def test_no_piece_is_larger_than_a_pipe_takes_whole(written: list[bytes], letter: str) -> None:
    said = [letter.encode() * (7 * n % 500) for n in range(100)]
    lines = Lines()
    with burst():
        for line in said:
            lines.write(line)
    assert b"".join(written) == b"".join(line + b"\n" for line in said)
    assert max(len(piece) for piece in written) <= select.PIPE_BUF
    assert len(written) < len(said) / 2


def test_a_line_that_is_larger_goes_alone(written: list[bytes]) -> None:
    large, lines = b"x" * 2 * select.PIPE_BUF, Lines()
    with burst():
        lines.write(b"before")
        lines.write(large)
        lines.write(b"after")
    assert b"".join(written) == b"before\n" + large + b"\nafter\n"
