"""Count the holders of a shared server, and stop it after the last one.

Each process that uses a server holds a shared lock on its `.holders` file. A process that leaves,
and then can lock the file exclusively, was the last holder and stops the server. Starting and
stopping happen under a second, exclusive lock, so a server that is being stopped is not started at
the same time. Both are flock(2): the kernel drops them when the process ends in any way, so a
SIGKILLed process is no holder any more. A server whose last holder was killed keeps running. The
next process finds it, holds it, and stops it later.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from leaseq.errors import ServerUnreachable

__all__ = ["exclusively", "hold"]

LOCK_SECONDS = 90.0
POLL_SECONDS = 0.02


@contextmanager
def hold(directory: Path, *, start: Callable[[], None], stop: Callable[[], None]) -> Iterator[None]:
    """Keep the server in `directory` running within the block: `start` finds or starts it, the last
    holder calls `stop`.

    The lock files lie beside the directory, so that only one process creates it.
    """
    holders = directory.with_name(f"{directory.name}.holders")
    starting = _lock_of(directory)
    holders.parent.mkdir(parents=True, exist_ok=True)
    with _alone(starting):
        start()
        mine = _open(holders)
        fcntl.flock(mine, fcntl.LOCK_SH)
    try:
        yield
    finally:
        with _alone(starting):
            # Closed, not unlocked: a forked child that still has this file open is a holder, too.
            os.close(mine)
            if _nobody_holds(holders):
                stop()


@contextmanager
def exclusively(directory: Path) -> Iterator[None]:
    """Let no other process start or stop the server in `directory` within the block."""
    with _alone(_lock_of(directory)):
        yield


def _lock_of(directory: Path) -> Path:
    return directory.with_name(f"{directory.name}.lock")


@contextmanager
def _alone(starting: Path) -> Iterator[None]:
    lock = _open(starting)
    try:
        give_up = time.monotonic() + LOCK_SECONDS
        while not _try_lock(lock):
            if time.monotonic() > give_up:
                raise ServerUnreachable(
                    f"another process has been starting or stopping a server ({starting}) for too long"
                )
            time.sleep(POLL_SECONDS)
        yield
    finally:
        os.close(lock)


def _nobody_holds(holders: Path) -> bool:
    probe = _open(holders)
    try:
        return _try_lock(probe)
    finally:
        os.close(probe)


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
