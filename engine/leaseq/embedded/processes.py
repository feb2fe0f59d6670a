"""Run, recognise and end the process of an embedded server.

A server is not a child of the process that uses it: it outlives the process that started it and is
identified by the number in its pid file. Invariant: no signal goes to a number that the kernel may
have reused. A process counts as the server only while it works in the server's own directory (if
the system has /proc to check that).
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from leaseq.embedded.directories import Account
from leaseq.errors import ServerUnreachable

__all__ = ["alive", "children", "kill_tree", "pid_in", "run_as", "signal_tree", "wait_until_gone"]

POLL_SECONDS = 0.01
PROC = Path("/proc")


def run_as(
    account: Account, command: Sequence[str | Path], *, given: str = "", seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a short command as `account` in its own session, so that our Ctrl-C does not reach it. It
    reads `given`."""
    return subprocess.run(
        [os.fspath(part) for part in command],
        user=account.uid if account.foreign else None,
        group=account.gid if account.foreign else None,
        extra_groups=[] if account.foreign else None,
        cwd="/",
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        input=given,
        capture_output=True,
        text=True,
        errors="replace",
        start_new_session=True,
        timeout=seconds,
        check=False,
    )


def pid_in(text: str | None, *, directory: Path, account: Account) -> int | None:
    """The pid on the first line of a pid file, if a living process of `account` that works in
    `directory` has it."""
    try:
        pid = int((text or "").split("\n", 1)[0])
    except ValueError:
        return None
    return pid if pid > 0 and alive(pid) and _works_in(pid, directory, account) else None


def alive(pid: int) -> bool:
    """Whether the process still runs. A zombie does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return not PROC.joinpath("self").exists()
    return text.rpartition(")")[2].split()[0] not in "ZX"


def kill_tree(pid: int) -> None:
    """SIGKILL to the process and all its children together, as in a power cut."""
    for each in signal_tree(pid, signal.SIGKILL):
        wait_until_gone(each, seconds=10)


def signal_tree(pid: int, number: signal.Signals) -> list[int]:
    """Signal the process and then its children; returns their pids."""
    family = [pid, *children(pid)]
    for each in family:
        try:
            os.kill(each, number)
        except ProcessLookupError:
            continue
    return family


def children(pid: int) -> list[int]:
    """The pids of the process's children; none if the system does not list them."""
    try:
        listed = (PROC / str(pid) / "task" / str(pid) / "children").read_text(encoding="utf-8")
    except OSError:
        return []
    return [int(child) for child in listed.split()]


def wait_until_gone(pid: int, *, seconds: float) -> None:
    """Return when the process has ended. Raises ServerUnreachable if it has not within
    `seconds`."""
    give_up = time.monotonic() + seconds
    while alive(pid):
        if time.monotonic() > give_up:
            raise ServerUnreachable(
                f"the embedded server's process {pid} did not end within {seconds:g} s"
            )
        time.sleep(POLL_SECONDS)


def _works_in(pid: int, directory: Path, account: Account) -> bool:
    try:
        return (PROC / str(pid)).stat().st_uid == account.uid and (
            PROC / str(pid) / "cwd"
        ).readlink() == directory.resolve()
    except OSError:
        return not PROC.joinpath("self").exists()
