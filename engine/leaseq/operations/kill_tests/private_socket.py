"""Unix sockets that only our own account can open, wherever they lie.

The address of a unix socket has at most 107 bytes, and a data directory may have a longer path. So
the directory is opened, and the address goes by its file descriptor. Needs /proc.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# A process that listens here answers within milliseconds.
CONNECT_SECONDS = 2.0


def listen(path: Path) -> socket.socket:
    """A socket that listens at `path`, with mode 0600."""
    listening = socket.socket(socket.AF_UNIX)
    try:
        with _short(path) as address:
            before = os.umask(0o177)
            try:
                listening.bind(address)
            finally:
                os.umask(before)
        listening.listen()
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


def connect(path: Path) -> socket.socket:
    """A socket that is connected to the one at `path`. Raises OSError."""
    connected = socket.socket(socket.AF_UNIX)
    try:
        connected.settimeout(CONNECT_SECONDS)
        with _short(path) as address:
            connected.connect(address)
        connected.setblocking(False)
    except BaseException:
        connected.close()
        raise
    return connected


def remove_stale(pattern: Path) -> None:
    """Delete the sockets of processes that were killed. `pattern`: the last part may have a `*`."""
    for path in pattern.parent.glob(pattern.name):
        try:
            connect(path).close()
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError:
            continue


@contextmanager
def _short(path: Path) -> Iterator[str]:
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


__all__ = ["connect", "listen", "remove_stale"]
