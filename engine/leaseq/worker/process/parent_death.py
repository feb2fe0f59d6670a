"""End a worker process whose supervisor dies before the process works.

A worker process imports the code of the app first. Code that never returns from there (a module
that waits for a server, for example) receives neither SIGTERM nor the end of its channel, and no
watchdog is wound up yet. So the kernel ends such a process together with its supervisor (prctl(2),
PR_SET_PDEATHSIG). A process that works is not ended so: it hands its tasks back within moments when
the channel ends, and the watchdog ends it where its event loop stands still (`watchdog.py`).
"""

from __future__ import annotations

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1


def die_with_supervisor(supervisor: int | None) -> None:
    """Let the kernel end this process when its supervisor ends, or end it now if that has happened
    already."""
    if supervisor is None:
        return
    _set_signal(signal.SIGKILL)
    if os.getppid() != supervisor:
        os._exit(1)


def outlive_supervisor() -> None:
    """Undo `die_with_supervisor`: the process works, and the channel tells it of the end of its
    supervisor."""
    _set_signal(0)


def _set_signal(number: int) -> None:
    try:
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    except (AttributeError, OSError):  # another system
        return


__all__ = ["die_with_supervisor", "outlive_supervisor"]
