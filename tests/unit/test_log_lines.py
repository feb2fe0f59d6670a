"""Lines of a burst are written together, whole, and in order."""

from __future__ import annotations

import json
import select
from typing import Any

import pytest

from leaseq.observability import logs
from leaseq.observability.logs import EventLines
from leaseq.observability.telemetry import INFO, Event, burst


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    pieces: list[bytes] = []
    monkeypatch.setattr(logs, "_write", pieces.append)
    return pieces


def event(name: str = "task.cancelled", **fields: Any) -> Event:
    return Event(name, INFO, fields)


def said(written: list[bytes]) -> list[dict[str, Any]]:
    """The lines without what differs from run to run."""
    lines = [json.loads(line) for piece in written for line in piece.splitlines()]
    assert all(line.pop("timestamp") and line.pop("level") == "info" for line in lines)
    return [{name: value for name, value in line.items() if name != "pid"} for line in lines]


def test_a_line_alone_is_written_at_once(written: list[bytes]) -> None:
    EventLines(logs._render_json).add(event(task_id="alone"))
    assert said(written) == [{"event": "task.cancelled", "task_id": "alone"}]


@pytest.mark.parametrize("render", [logs._render_json, logs._render_console])
def test_the_lines_of_a_burst_are_written_once(written: list[bytes], render: Any) -> None:
    lines = EventLines(render)
    with burst():
        lines.add(event(task_id="one"))
        lines.add(event(task_id="two"))
        assert written == []
    lines.add(event(task_id="three"))
    assert [piece.count(b"\n") for piece in written] == [2, 1]
    assert [name in piece for name in (b"one", b"two", b"three") for piece in written] == [
        True, False, True, False, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"task_id": "a", "seconds": 0.25, "state": None},
        {"task_id": "\x7f\x9b\u202e"},
        {"pid": 7, "task_id": "a"},
        {"task_id": "\ud800"},
        {"error": "x" * 2 * logs.LINE_LIMIT},
    ],
)
def test_a_line_of_a_burst_is_that_of_a_lone_event(
    written: list[bytes], monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    monkeypatch.setattr(logs, "_timestamp", lambda _: "now")
    lines = EventLines(logs._render_json)
    with burst():
        for _ in range(3):
            lines.add(event(**fields))
    whole = logs._render_safely(logs._render_json, logs._line("task.cancelled", INFO, fields))
    assert b"".join(written) == 3 * (whole + b"\n")


@pytest.mark.parametrize("letter", ["x", "é"])
def test_no_piece_is_larger_than_a_pipe_takes_whole(written: list[bytes], letter: str) -> None:
    names = [letter * (7 * n % 500) for n in range(100)]
    lines = EventLines(logs._render_json)
    with burst():
        for name in names:
            lines.add(event(task_id=name))
    assert [line["task_id"] for line in said(written)] == names
    assert max(len(piece) for piece in written) <= select.PIPE_BUF
    assert all(piece.endswith(b"\n") for piece in written)
    assert len(written) < len(names) / 2


def test_a_line_that_is_larger_goes_alone(written: list[bytes]) -> None:
    large, lines = "x" * 2 * select.PIPE_BUF, EventLines(logs._render_json)
    with burst():
        for name in ("before", large, "after"):
            lines.add(event(task_id=name))
    assert [piece.count(b"\n") for piece in written] == [1, 1, 1]
    assert [line["task_id"] for line in said(written)] == ["before", large, "after"]
