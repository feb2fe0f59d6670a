"""Start a service of leaseq as a real process, and stop or kill it.

Invariants: only processes that the demo started, and their children, are ever signalled; a service
whose demo has died ends, because its standard input ends (`--until-eof`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from leaseq.safe_text.printable import printable

STOP_SECONDS = 10.0
PROC = Path("/proc")


class Service:
    """One `leaseq ...` process, with its words in a file."""

    def __init__(
        self, name: str, arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path
    ) -> None:
        self.name = name
        self.command = ["leaseq", *arguments]
        self._log = log
        with log.open("wb") as words:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "leaseq", *arguments, "--until-eof"],
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.PIPE,
                stdout=words,
                stderr=subprocess.STDOUT,
                # A Ctrl-C in the terminal is for the demo, which then ends its services in order.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def children(self) -> list[int]:
        """The pids of the processes that it has started and that still run."""
        listed = PROC / str(self.pid) / "task" / str(self.pid) / "children"
        if listed.exists():
            return [int(pid) for pid in listed.read_text(encoding="ascii").split()]
        pairs = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
        ).stdout
        found = [line.split() for line in pairs.splitlines()]
        return [int(pid) for pid, parent in found if parent == str(self.pid)]

    def kill_whole(self) -> list[int]:
        """SIGKILL to the process and its children together, as when its machine is lost: no process
        is left to clean up.

        The supervisor stands still first. Otherwise it would replace a child, or a child would
        notice that its supervisor is gone, and hand its tasks back.
        """
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGSTOP)
        pids = [self.pid, *self.children()]
        for pid in reversed(pids):
            kill(pid)
        self.process.wait()
        return pids

    def stop(self) -> None:
        """SIGTERM, and SIGKILL to those that do not listen."""
        if self.ended:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill_whole()

    def last_words(self, lines: int = 12) -> str:
        """The end of what it wrote."""
        said = self._log.read_text(encoding="utf-8", errors="replace").split("\n")[-lines:]
        return "\n".join(printable(line) for line in said)


def kill(pid: int) -> None:
    """SIGKILL to one process that may have gone already."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
