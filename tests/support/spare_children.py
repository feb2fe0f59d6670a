"""Worker processes of a forked supervisor, as forks instead of programs.

A supervisor executes `python -m leaseq.worker.child`, and imports are nine tenths of what such a
start costs. A supervisor that the fork server has made gets some spare processes instead. They are
forked from it before it does anything, and each waits for the arguments, the environment and the
descriptors that its program would have been given. Then it runs the same `main`, as the leader of a
session. It differs from the program in what it has imported and in `/proc/PID`.

Invariants: a spare is a child of its supervisor, and ends with it. A supervisor whose spares are
used up executes the program, as always.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import Any

CHILD = ("-P", "-m", "leaseq.worker.child")
LARGEST_START = 2**18  # bytes
HIGH = 200  # descriptors from here on are in the way of none that a supervisor passes


class SpareProcess:
    """A spare at work, with the face of an `asyncio.subprocess.Process`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._file = os.pidfd_open(pid)
        self._loop.add_reader(self._file, self._note_end)

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)

    def _note_end(self) -> None:
        self._loop.remove_reader(self._file)
        os.close(self._file)
        self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self._ended.set()


class Spares:
    """The spare processes of one supervisor."""

    def __init__(self, count: int) -> None:
        self._waiting: list[tuple[int, socket.socket]] = []
        for _ in range(count):
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            pid = os.fork()
            if pid == 0:
                for _, other in self._waiting:
                    other.close()
                ours.close()
                os._exit(_serve(theirs))
            theirs.close()
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST_START)
            self._waiting.append((pid, ours))
        self._execute: Any = asyncio.create_subprocess_exec

    def take_over(self) -> None:
        """Take the place of programs in this process."""
        asyncio.create_subprocess_exec = self._start  # type: ignore[assignment]

    async def _start(self, program: str, *args: str, **options: Any) -> Any:
        while self._waiting and args[: len(CHILD)] == CHILD:
            pid, link = self._waiting.pop(0)
            files = options["pass_fds"]
            start = {"args": args[len(CHILD) :], "env": options["env"], "files": files}
            with link, suppress(OSError):  # it was ended
                socket.send_fds(link, [json.dumps(start).encode()], files)
                return SpareProcess(pid)
        return await self._execute(program, *args, **options)


def _serve(link: socket.socket) -> int:
    """Wait for the arguments, and run a worker process with them. Returns only what went wrong."""
    os.setsid()
    data, given, _, _ = socket.recv_fds(link, LARGEST_START, 8)
    if not data:
        return 0  # the supervisor ended
    link.close()
    start = json.loads(data)
    # None of those received may be in the place of another one.
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, HIGH) for fd in given]
    for fd in given:
        os.close(fd)
    for fd, wanted in zip(high, start["files"], strict=True):
        os.dup2(fd, wanted)
        os.close(fd)
    os.environ.clear()
    os.environ.update(start["env"])
    sys.argv = ["leaseq.worker.child", *start["args"]]
    from leaseq.worker.child import main

    main()
    return 1
