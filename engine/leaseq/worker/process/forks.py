"""Take the worker's sockets and signals away from a process that a handler forks.

A forked process (os.fork, multiprocessing) is a copy of the worker. It would ignore SIGTERM as the
worker does, so that `multiprocessing.Pool` could not end it and would wait for it forever. It would
report the worker's signals through the worker's own wakeup pipe. It holds the worker's sockets,
whose bytes it could take, and a copy of the event loop with the other attempts in it.

Invariants: in the copy the worker's sockets lead nowhere, and keep their numbers. The copy ends
where the handler does, and before its copy of the loop goes on.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress

from leaseq.connections.postgres_connection import FastCancelConnection

EXIT_COPY = 70


class _Copy:
    """Whether this process is a forked copy of a worker."""

    made = False


def guard_forks(channel: int, loop: asyncio.AbstractEventLoop) -> None:
    """Give each process that is forked from now on default signals and none of the worker's
    sockets.

    `loop` is the loop of the worker, which runs in this thread, now or later.
    """

    turning = threading.get_ident()

    def in_child() -> None:
        _Copy.made = True
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for descriptor in {channel, *_sockets()}:
            with suppress(OSError):
                os.dup2(nowhere, descriptor, inheritable=False)
        os.close(nowhere)
        # where another thread forked, no loop goes on in the copy
        if threading.get_ident() == turning:
            # the copy has no running loop, as far as asyncio knows
            loop.call_soon(os._exit, EXIT_COPY)

    os.register_at_fork(after_in_child=in_child)


def exit_forked_copy() -> None:
    """End this process if it is a forked copy. Called after a handler: the code that follows
    belongs to the worker."""
    if _Copy.made:
        os._exit(EXIT_COPY)


def is_forked_copy() -> bool:
    """Whether this process was forked off a worker."""
    return _Copy.made


def _sockets() -> Iterator[int]:
    """The descriptors of the connections to both stores: those of Postgres, and the streams of the
    event loop."""
    for found in gc.get_objects():
        with suppress(Exception):
            if isinstance(found, FastCancelConnection):
                yield found.pgconn.socket
            elif isinstance(found, asyncio.StreamWriter):
                yield found.get_extra_info("socket").fileno()


__all__ = ["exit_forked_copy", "guard_forks", "is_forked_copy"]
