"""Write lines to a stream without ever blocking on its reader.

A pipe holds 64 KiB. A process that writes more to a reader that has stopped would wait forever, and
with it every attempt and its own drain. So writes here wait for at most `PATIENCE_SECONDS`, and
after that not at all until the stream takes data again. Meanwhile lines are dropped and counted,
and the count is written when there is room.

Invariants: a line is written completely or not at all. A write never blocks, even if other
processes use the same pipe.
"""

from __future__ import annotations

import io
import os
import select
import socket
import stat
import threading
import time
import weakref
from collections.abc import Callable

PATIENCE_SECONDS = 0.1


class Outlet:
    """One descriptor. `note` formats the line that reports how many lines were dropped."""

    def __init__(self, descriptor: int, *, note: Callable[[int], bytes]) -> None:
        self.descriptor = descriptor
        self.dropped = 0
        self._note = note
        self._rest = b""  # the rest of a partly written line
        self._stuck = False
        self._lock = threading.Lock()
        # A handler may close its standard output, and the next file or socket would get that
        # number.
        self._own = os.dup(descriptor)
        self._put, self._close = _putter(self._own)
        _outlets.add(self)

    def write(self, data: bytes) -> None:
        """Write whole lines, or count them as dropped."""
        with self._lock:
            done = self._put_some(data) if self._ready() else 0
            if done or not data:
                self._rest = data[done:]
            else:
                self.dropped += data.count(b"\n") or 1

    def close(self) -> None:
        """Close the files that were opened here. The descriptor itself is unchanged."""
        self._close()
        os.close(self._own)

    def _ready(self) -> bool:
        """Finish a partly written line, and report dropped lines. False if there is no room for
        more."""
        if self._rest:
            self._rest = self._rest[self._put_some(self._rest) :]
        if self.dropped and not self._rest:
            note = self._note(self.dropped)
            done = self._put_some(note)
            if not done:
                return False
            self.dropped, self._rest = 0, note[done:]
        return not self._rest

    def _put_some(self, data: bytes) -> int:
        """How many bytes the descriptor has taken. Without a reader it takes all, since work goes
        on."""
        if self._stuck and not _has_room(self._own, 0.0):
            return 0
        deadline = time.monotonic() + PATIENCE_SECONDS
        done = 0
        while done < len(data):
            try:
                done += self._put(data[done:])
                self._stuck = False
            except BlockingIOError:
                left = deadline - time.monotonic()
                if self._stuck or left <= 0 or not _has_room(self._own, left):
                    self._stuck = True
                    break
            except (OSError, ValueError):
                return len(data)
        return done

    def renew_lock(self) -> None:
        """Reset the lock in a forked process, whose copy another thread may have held."""
        self._lock = threading.Lock()


class OutletFile(io.RawIOBase):
    """An outlet that serves as the raw file below a text stream."""

    def __init__(self, outlet: Outlet, name: str) -> None:
        self._outlet = outlet
        self.name = name

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._outlet.descriptor

    def isatty(self) -> bool:
        return os.isatty(self._outlet.descriptor)

    def write(self, data: object, /) -> int:
        raw = bytes(data)  # type: ignore[call-overload]
        self._outlet.write(raw)
        return len(raw)

    def close(self) -> None:
        """Do nothing, because a handler's `with sys.stdout` would close it for all handlers."""


def text_stream(outlet: Outlet, name: str) -> io.TextIOWrapper:
    """A text stream, such as `sys.stdout`, that never waits for its reader."""
    # A text stream asks of its buffer only what a raw file has, too.
    return io.TextIOWrapper(
        OutletFile(outlet, name), encoding="utf-8", errors="backslashreplace", line_buffering=True
    )


def _putter(descriptor: int) -> tuple[Callable[[bytes], int], Callable[[], None]]:
    """A function that writes to this descriptor without waiting (`BlockingIOError` if there is no
    room), and one that closes it.

    The descriptor itself is left as it is, since other processes share it. A pipe is opened a
    second time instead.
    """
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return lambda data: os.write(descriptor, data), _nothing
    if stat.S_ISSOCK(mode):
        end = socket.socket(fileno=os.dup(descriptor))
        return lambda data: end.send(data, socket.MSG_DONTWAIT), end.close
    try:
        again = os.open(
            f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        )
    except OSError:
        return lambda data: _put_if_ready(descriptor, data), _nothing
    return lambda data: os.write(again, data), lambda: os.close(again)


def _nothing() -> None:
    """Do nothing; there is nothing to close."""


def _put_if_ready(descriptor: int, data: bytes) -> int:
    """For a descriptor that could not be reopened: write as much as a pipe takes when it reports
    room."""
    if not _has_room(descriptor, 0.0):
        raise BlockingIOError
    return os.write(descriptor, data[: select.PIPE_BUF])


def _has_room(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(seconds * 1000))


_outlets: weakref.WeakSet[Outlet] = weakref.WeakSet()


def _after_fork() -> None:
    for outlet in list(_outlets):
        outlet.renew_lock()


os.register_at_fork(after_in_child=_after_fork)

__all__ = ["Outlet", "text_stream"]
