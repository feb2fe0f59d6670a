"""Start processes of leaseq as forks of one that has imported it.

A fork runs the same `main` as `python -m leaseq`, with the environment, directory and stderr of its
own, in a session of its own, and ends as a program ends. It differs in what it has imported and in
`/proc/PID`. The worker processes of a forked supervisor are forks, too (`spare_children.py`).
Services that a test gives other than LEASEQ_* variables are executed as programs, and so are those
of `Services.executing`. `leaseq dev`, the demo, the benchmark and the chaos suite execute
everything.

Invariants: the server has one thread. It knows its forks by their pidfd, and reports the end of
each to the test process.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

PRELOADED = (
    "leaseq.cli.commands.run",
    "leaseq.worker.child",
    "leaseq_api.serve",
    "leaseq_reaper.sidecar",
    "uvloop",
)
AVAILABLE = hasattr(os, "pidfd_open") and hasattr(socket, "send_fds")
LARGEST_REQUEST = 2**18  # bytes; an environment is a few kilobytes


class Start(NamedTuple):
    """The arguments and the environment of a fork."""

    args: list[str]
    env: dict[str, str]
    cwd: str


class Forked:
    """A running fork, with the face of an `asyncio.subprocess.Process`."""

    def __init__(
        self, pid: int, stderr: asyncio.StreamReader, reports: asyncio.StreamReader, own: list[Any]
    ) -> None:
        self.pid = pid
        self.stderr = stderr
        self.returncode: int | None = None
        self._own = own
        self._ending = asyncio.create_task(self._end(reports))

    async def wait(self) -> int:
        return await asyncio.shield(self._ending)

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    async def _end(self, reports: asyncio.StreamReader) -> int:
        line = await reports.readline()
        assert line, "the fork server has ended"
        self.returncode = int(line)
        self._own[0].close()
        return self.returncode


class ForkServer:
    """The server, as the test process sees it. Started when the first service is."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None
        self._environ: dict[str, str] = {}

    def can_run(self, env: dict[str, str]) -> bool:
        """Whether a program with this environment would behave as a fork does."""
        return AVAILABLE and _foreign(env) == (
            self._environ if self._process else _foreign(dict(os.environ))
        )

    async def start(self, args: list[str], *, env: dict[str, str], cwd: Path) -> Forked:
        """Run `leaseq ARGS`, with stderr as a stream."""
        requests = self._running()
        reports, theirs = socket.socketpair()
        reading, writing = os.pipe()
        with theirs:
            try:
                request = json.dumps(Start(args, env, str(cwd))).encode()
                socket.send_fds(requests, [request], [theirs.fileno(), writing])
            finally:
                os.close(writing)
        stream, writer = await asyncio.open_connection(sock=reports)
        stderr = asyncio.StreamReader(limit=2**20)
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stderr), os.fdopen(reading, "rb", buffering=0)
        )
        return Forked(int(await stream.readline()), stderr, stream, [writer, pipe])

    def close(self) -> None:
        if self._process is not None and self._requests is not None:
            self._requests.close()
            self._process.wait()
            self._process = None

    def _running(self) -> socket.socket:
        if self._requests is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST_REQUEST)
            self._environ = _foreign(dict(os.environ))
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", __file__, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    env=self._environ,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,
                )
            self._requests = ours
        return self._requests


def _foreign(env: dict[str, str]) -> dict[str, str]:
    """The variables that leaseq does not read when it starts a service, but Python or the libraries
    may have read."""
    return {
        name: value for name, value in env.items() if not name.startswith(("LEASEQ_", "PYTEST_"))
    }


def serve(requests: socket.socket) -> Start:
    """Fork for every request. Returns in the forks, with what to run."""
    waiting = selectors.DefaultSelector()
    waiting.register(requests, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.fileobj is not requests:
                _report_end(waiting, key)
                continue
            request, fds, _, _ = socket.recv_fds(requests, LARGEST_REQUEST, 2)
            if not request:
                sys.exit()
            start = Start(*json.loads(request))
            pid = os.fork()
            if pid == 0:
                _close(waiting, requests)
                os.close(fds[0])
                _become(start, stderr=fds[1])
                return start
            os.close(fds[1])
            report = socket.socket(fileno=fds[0])
            report.sendall(b"%d\n" % pid)
            waiting.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, report))


def _report_end(waiting: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    pid, report = key.data
    waiting.unregister(key.fd)
    os.close(key.fd)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with report, suppress(BrokenPipeError):  # its test is over
        report.sendall(b"%d\n" % code)


def _close(waiting: selectors.BaseSelector, requests: socket.socket) -> None:
    """Close the files of the server through the objects that own them: these are collected when
    others have the numbers."""
    for key in waiting.get_map().values():
        if key.fileobj is not requests:
            os.close(key.fd)
            key.data[1].close()
    waiting.close()
    requests.close()


def _become(start: Start, *, stderr: int) -> None:
    os.setsid()
    os.dup2(stderr, 2)
    # The one of the server knows that its file can seek.
    sys.stderr = open(  # noqa: SIM115
        2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )
    os.close(stderr)
    os.chdir(start.cwd)
    os.environ.clear()
    os.environ.update(start.env)
    sys.argv = ["leaseq", *start.args]


def spare_children(args: list[str]) -> int:
    """How many worker processes a supervisor with these arguments may start as forks."""
    if args[0] != "worker":
        return 0
    processes = int(args[args.index("--processes") + 1]) if "--processes" in args else 1
    return processes + 2


if __name__ == "__main__":
    for name in PRELOADED:
        import_module(name)
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from support.spare_children import Spares

    sys.path.pop(0)
    gc.collect()
    gc.freeze()  # a fork copies no page for the sake of a collection
    wanted = serve(socket.socket(fileno=int(sys.argv[1])))
    Spares(spare_children(wanted.args)).take_over()
    from leaseq.cli import main

    main(prog_name="leaseq")
