"""Stop a worker for some seconds.

A kill test runs this file as a program, `freeze.py SECONDS PID`, with a pipe from itself as standard
input. A stopped process cannot notice that its own parent has ended. So this process lets it go on,
when the time is over or when the pipe ends, which it does however the parent ends. The file needs
the standard library only.

The supervisor is stopped first, so that it starts no process in between, and goes on last.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path


def freeze(seconds: float, supervisor: int) -> None:
    """Stop a supervisor and its worker processes, and let them go on."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    stopped: list[int] = []
    try:
        os.kill(supervisor, signal.SIGSTOP)
        stopped.append(supervisor)
        for child in children(supervisor):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGSTOP)
                stopped.append(child)
        with suppress(OSError):
            os.write(1, f"{' '.join(map(str, stopped))}\n".encode())
        select.select([0], [], [], seconds)
    finally:
        for pid in reversed(stopped):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def children(pid: int) -> list[int]:
    """The children of a process."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8")
    return [int(child) for child in listed.split()]


if __name__ == "__main__":
    freeze(float(sys.argv[1]), int(sys.argv[2]))
