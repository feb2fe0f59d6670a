"""Kill the processes that handlers started, once their worker process has ended.

A forked process (os.fork, multiprocessing) holds every socket of its worker, and a program that a
handler started holds its standard error. Neither may outlive the worker, whose tasks run elsewhere
by then.

Each worker process leads a session, and those processes are in it. A process that was given another
session (setsid, start_new_session=True) was meant to live on, and is left alone.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def kill_descendants(session: int) -> int:
    """Kill the processes in the session of a worker process, except this one; returns how many it
    killed.

    `session` is the process id of the worker. Where there is no /proc, only the process group of
    the worker is killed, and not by the worker itself.
    """
    if not PROC.is_dir():
        with suppress(OSError):
            if session != os.getpid():
                os.killpg(session, signal.SIGKILL)
        return 0
    ended = 0
    for path in PROC.glob("[0-9]*"):
        pid = int(path.name)
        # A process that is gone, or is another user's, is none of them.
        with suppress(OSError):
            if pid != os.getpid() and os.getsid(pid) == session:
                os.kill(pid, signal.SIGKILL)
                ended += 1
    return ended


__all__ = ["kill_descendants"]
