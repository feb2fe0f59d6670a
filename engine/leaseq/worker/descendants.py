"""End the processes that handlers of a worker process started, once that process has ended.

A forked process (os.fork, multiprocessing) holds every socket of its worker, and a program that a handler started holds its
standard error. Neither may outlive the worker, whose tasks run elsewhere by then. They are known by a variable in their
environment, which both inherit. A process that was given a session of its own (setsid, start_new_session=True) was meant to
live on, and is left alone.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

MARK = "_LEASEQ_WORKER"


def end_descendants(worker_id: str) -> int:
    """Kill what the handlers of this incarnation left behind; returns how many. Does nothing where there is no /proc."""
    mark = f"{MARK}={worker_id}".encode()
    session = os.getsid(0)
    ended = 0
    for path in Path("/proc").glob("[0-9]*"):
        pid = int(path.name)
        # What is gone, or is another user's, is none of them.
        with suppress(OSError):
            if pid != os.getpid() and mark in (path / "environ").read_bytes().split(b"\0") and os.getsid(pid) == session:
                os.kill(pid, signal.SIGKILL)
                ended += 1
    return ended


__all__ = ["MARK", "end_descendants"]
