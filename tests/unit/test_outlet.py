"""A process continues, regardless of the reader of its lines."""

from __future__ import annotations

import io
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from leaseq.observability.outlet import Outlet, text_stream


@pytest.fixture(params=["pipe", "socket", "pipe that cannot be opened again"])
def ends(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[int, int]]:
    """The end that is read, and the one that is written to."""
    if request.param == "socket":
        ours, theirs = socket.socketpair()
        yield ours.fileno(), theirs.fileno()
        ours.close()
        theirs.close()
        return
    if request.param != "pipe":
        monkeypatch.setattr(os, "open", _refuse)
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def _refuse(*_: object) -> int:
    raise PermissionError


OutletTo = Callable[[int], Outlet]


@pytest.fixture
def outlet_to() -> Iterator[OutletTo]:
    made: list[Outlet] = []

    def make(descriptor: int) -> Outlet:
        made.append(Outlet(descriptor, note=lambda count: b"dropped %d\n" % count))
        return made[-1]

    yield make
    for outlet in made:
        outlet.close()


def read_all(descriptor: int) -> bytes:
    """The bytes that are there now."""
    os.set_blocking(descriptor, False)
    found = b""
    while True:
        try:
            piece = os.read(descriptor, 1 << 20)
        except BlockingIOError:
            return found
        if not piece:
            return found
        found += piece


def test_lines_to_a_reader_that_has_stopped_are_dropped_and_counted(
    ends: tuple[int, int], outlet_to: OutletTo
) -> None:
    reading, writing = ends
    outlet = outlet_to(writing)
    lines = [b"%06d %s\n" % (n, b"x" * (n % 3000)) for n in range(2000)]
    began = time.monotonic()
    for line in lines:
        outlet.write(line)
    assert time.monotonic() - began < 10
    assert outlet.dropped > 0
    first = read_all(reading)
    outlet.write(b"last\n")
    seen = (first + read_all(reading)).splitlines(keepends=True)
    assert seen[-1] == b"last\n"
    assert seen[-2].startswith(b"dropped ")
    written = seen[:-2]
    assert written == lines[: len(written)], "whole lines, in order"
    assert int(seen[-2].split()[1]) == len(lines) - len(written)


def test_a_reader_that_is_slow_loses_nothing(
    ends: tuple[int, int], outlet_to: OutletTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The thread that reads may wait for a processor for longer than a line waits for its reader.
    monkeypatch.setattr("leaseq.observability.outlet.PATIENCE_SECONDS", 60.0)
    reading, writing = ends
    outlet, seen = outlet_to(writing), bytearray()
    lines = [b"%06d %s\n" % (n, b"x" * 1000) for n in range(500)]

    def read_slowly() -> None:
        while seen.count(b"\n") < len(lines):
            seen.extend(os.read(reading, 65_536))
            time.sleep(0.002)

    reader = threading.Thread(target=read_slowly)
    reader.start()
    for line in lines:
        outlet.write(line)
    reader.join(30)
    assert bytes(seen) == b"".join(lines)


def test_a_line_that_is_larger_than_a_pipe_is_finished_before_the_next(
    ends: tuple[int, int], outlet_to: OutletTo
) -> None:
    reading, writing = ends
    outlet = outlet_to(writing)
    large = b"y" * 500_000 + b"\n"
    outlet.write(large)
    seen = read_all(reading)
    assert seen
    while len(seen) < len(large):
        outlet.write(b"next\n")
        seen += read_all(reading)
    assert seen.startswith(large)


def test_a_reader_that_is_gone_is_not_missed(outlet_to: OutletTo) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    outlet = outlet_to(writing)
    outlet.write(b"nobody hears this\n")
    assert outlet.dropped == 0
    os.close(writing)


def test_a_file_is_written_at_its_end(tmp_path: Path, outlet_to: OutletTo) -> None:
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, b"before\n")
    outlet_to(descriptor).write(b"after\n")
    os.close(descriptor)
    assert path.read_bytes() == b"before\nafter\n"


def test_output_is_written_a_line_at_a_time(outlet_to: OutletTo) -> None:
    reading, writing = os.pipe()
    stream = text_stream(outlet_to(writing), "<stdout>")
    print("one", "\ud800", file=stream)
    assert read_all(reading) == b"one \\ud800\n"
    assert (stream.fileno(), stream.name, stream.isatty()) == (writing, "<stdout>", False)
    os.close(reading)
    os.close(writing)


def test_the_flags_of_a_shared_pipe_are_left_alone(outlet_to: OutletTo) -> None:
    """Other processes write to it too, and would get an error that it is full."""
    reading, writing = os.pipe()
    outlet_to(writing).write(b"line\n")
    assert os.get_blocking(writing)
    os.close(reading)
    os.close(writing)


def test_a_descriptor_that_was_closed_and_given_to_another_file_is_not_written_to(
    tmp_path: Path, outlet_to: OutletTo
) -> None:
    """A handler closes standard output, and the next connection gets its number."""
    log, other = tmp_path / "log", tmp_path / "other"
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT)
    outlet = outlet_to(descriptor)
    os.close(descriptor)
    again = os.open(other, os.O_WRONLY | os.O_CREAT)
    assert again == descriptor
    outlet.write(b"a line\n")
    os.close(again)
    assert (log.read_bytes(), other.read_bytes()) == (b"a line\n", b"")


def test_a_stream_that_one_handler_closes_is_open_for_the_next(
    ends: tuple[int, int], outlet_to: OutletTo
) -> None:
    reading, writing = ends
    stream = text_stream(outlet_to(writing), "<stdout>")
    with stream as file:
        print("first", file=file)
    io.TextIOWrapper(stream.buffer).close()
    print("second", file=stream)
    assert read_all(reading) == b"first\nsecond\n"
