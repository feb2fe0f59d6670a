"""Find what a handler left running in its process after its attempt ended.

An isolation child charges a crash to the one task that it runs
(docs/decisions/0016-blame-needs-a-witness.md). That is fair only while nothing of an earlier task
is alive there: no task, timer or callback in the event loop, no thread, no forked process, no alarm
of the kernel, no changed limit of the process.

Everything that asyncio starts on behalf of a handler holds a copy of the handler's context. So a
token in that context lives for as long as any of it does. Threads and processes do not carry the
context and are listed.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import threading
import weakref
from collections.abc import Collection
from concurrent.futures import Executor
from contextvars import ContextVar
from pathlib import Path

from leaseq.worker.process.limits import limits

# Their signals end the process (signal.alarm, signal.setitimer).
ITIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


class Token:
    """Lives as long as a context that it was set in."""


_token: ContextVar[Token | None] = ContextVar("leaseq_token", default=None)


class Leftovers:
    """Finds what one handler leaves behind. Made before the handler starts."""

    def __init__(self, workers: Collection[threading.Thread]) -> None:
        self._workers = workers  # threads that run handlers, and wait for the next one
        self._threads = set(threading.enumerate())
        self._processes = children()
        self._limits = limits()
        self._token: weakref.ref[Token] | None = None

    def begin(self) -> None:
        """Mark the current context as the handler's."""
        token = Token()
        self._token = weakref.ref(token)
        _token.set(token)

    def found(self) -> str | None:
        """One word for the kind of leftover, or None. Asked once the attempt holds no reference to
        its handler any more."""
        gc.collect()
        # it may be set to end the process, and Python does not tell whether it is set
        faulthandler.cancel_dump_traceback_later()
        if self._token is not None and self._token() is not None:
            return "task"
        if set(threading.enumerate()) - self._threads - set(self._workers):
            return "thread"
        if children() - self._processes:
            return "process"
        if any(map(any, map(signal.getitimer, ITIMERS))):
            return "timer"
        return "limit" if limits() != self._limits else None


def children() -> set[int]:
    """The processes that this one has started and that are still there. Empty where the system does
    not list them."""
    found: set[int] = set()
    for path in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        try:
            found.update(map(int, path.read_text().split()))
        except OSError:  # that thread has just ended
            continue
    return found


def threads_of(executor: Executor) -> Collection[threading.Thread]:
    """The threads of a pool, also those that it starts later."""
    return getattr(executor, "_threads", ())


__all__ = ["Leftovers", "children", "threads_of"]
