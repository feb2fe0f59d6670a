"""Keep several API processes on one port.

Each of them listens on the port with SO_REUSEPORT, and the kernel spreads the connections over
those that listen. This process answers no request. It holds the port, starts the others, and
replaces one that ends.

Invariants: the first process starts alone, so what prevents a start is reported once, with the
exit code of a single process. Afterwards an end is a failure, and the next start waits longer after
each failure in a row. All processes end with this one, in any way that it ends, because their
standard input is a socket that only this process holds open.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic

import msgspec
import uvloop
from msgspec.structs import replace

from leaseq.config import Config, hide_secrets, split_secrets, take_over
from leaseq.loop import Pauses, end, pause
from leaseq.observability.telemetry import emit
from leaseq_api.address import check_address, hold_port, warn_if_unprotected
from leaseq_api.certificate import open_certificate
from leaseq_api.shared_counts import SharedCounts

# A process drains for a few seconds. One that needs this long does not end any more.
STOP_SECONDS = 30.0
# A process that has lived this long has not failed at its start.
LONG_LIFE_SECONDS = 10.0
RESTART_PAUSES = Pauses(0.5, growth=2.0, cap=10.0)
LAST_REPORT_SECONDS = 0.3
FAILED = 1
# SIGTERM ends a process that has not yet begun to serve.
STOPPED = (0, -signal.SIGTERM)

_COMMAND = [sys.executable, "-P", "-m", "leaseq", "api", "--shared"]


def serve_many(config: Config) -> int:
    """Serve in `config.api_processes` processes until SIGTERM or SIGINT; returns the exit code.

    Raises `ConfigInvalid` if the address cannot be used.
    """
    config = replace(config, api_port=check_address(config))
    open_certificate(config)  # here, so that the error is reported once
    with hold_port(config):
        warn_if_unprotected(config)
        return uvloop.run(ApiProcesses(config).run())


class ApiProcesses:
    """The processes of one port."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stop = asyncio.Event()
        self._running: set[ApiProcess] = set()
        self._counts = SharedCounts()

    async def run(self) -> int:
        """Keep them running until a signal; returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._renew_certificates)
        first = await self._start()
        if not await first.opens(self._stop):
            code = await first.run_until(self._stop)
            return _exit_code([code]) if self._stop.is_set() else max(code, FAILED)
        keepers = [self._keep(first)]
        keepers += [self._keep(None) for _ in range(1, self._config.api_processes)]
        return _exit_code(await asyncio.gather(*keepers))

    async def _keep(self, process: ApiProcess | None) -> int:
        """Keep one process running; returns the exit code of the last one."""
        failures = 0
        while True:
            began = monotonic()
            process = process or await self._start()
            code = await process.run_until(self._stop)
            if self._stop.is_set():
                return code
            failures = 1 if monotonic() - began >= LONG_LIFE_SECONDS else failures + 1
            self._running.discard(process)
            emit("process.ended", pid=process.pid, reason=_reason(code))
            process = None
            await pause(RESTART_PAUSES.after(failures), stop=self._stop)
            if self._stop.is_set():
                return 0

    async def _start(self) -> ApiProcess:
        process = await ApiProcess.start(self._config, self._counts)
        self._running.add(process)
        return process

    def _renew_certificates(self) -> None:
        """Let each process that listens read its certificate again. Without a certificate a hangup
        would end them."""
        if self._config.api_tls_cert is not None:
            for process in self._running:
                process.renew_certificate()


class ApiProcess:
    """One process that serves, and the socket that tells both ends about each other."""

    def __init__(
        self, process: asyncio.subprocess.Process, ours: socket.socket, counting: asyncio.Task[None]
    ) -> None:
        self.pid = process.pid
        self._counting = counting
        self._process = process
        self._ours = ours
        self._listens = False

    @classmethod
    async def start(cls, config: Config, counts: SharedCounts) -> ApiProcess:
        """Start a process. The URLs go through the socket, because programs can read the
        environment of others."""
        values, secrets = split_secrets(config)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        our_counts, their_counts = socket.socketpair()
        try:
            ours.send(msgspec.json.encode(secrets) + b"\n")
            process = await asyncio.create_subprocess_exec(
                *_COMMAND,
                str(their_counts.fileno()),
                stdin=theirs.fileno(),
                pass_fds=[their_counts.fileno()],
                env=hide_secrets(os.environ | values, secrets),
                # Ctrl-C in a terminal reaches this process alone, which stops the others.
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            our_counts.close()
            raise
        finally:
            theirs.close()
            their_counts.close()
        return cls(process, ours, asyncio.create_task(counts.serve(our_counts, process.pid)))

    async def opens(self, stop: asyncio.Event) -> bool:
        """Wait until it listens. False: it has ended before, or `stop` is set."""
        opening = asyncio.ensure_future(self._hear())
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
        opened = opening.done() and opening.result()
        await end(opening, stopping)
        return opened

    async def _hear(self) -> bool:
        try:
            self._listens = bool(await asyncio.get_running_loop().sock_recv(self._ours, 1))
        except ConnectionError:  # it has ended before it had read everything
            return False
        return self._listens

    def renew_certificate(self) -> None:
        """Let it read its certificate again, if it listens. Before, a hangup would end it, and it
        reads the files at its start."""
        if self._listens or self._has_reported():
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGHUP)

    def _has_reported(self) -> bool:
        try:
            self._listens = bool(self._ours.recv(1))
        except OSError:  # nothing so far, or it has ended
            return False
        return self._listens

    async def run_until(self, stop: asyncio.Event) -> int:
        """Wait for its end, or stop it when `stop` is set; returns the exit code (negative: the
        signal that ended it)."""
        ended = asyncio.ensure_future(self._process.wait())
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                self._process.terminate()
                await asyncio.wait({ended}, timeout=STOP_SECONDS)
            if not ended.done():
                self._process.kill()
            return await ended
        finally:
            stopping.cancel()
            self._ours.close()
            # Its last report is here already, unless another process has its end open, too.
            await asyncio.wait({self._counting}, timeout=LAST_REPORT_SECONDS)
            self._counting.cancel()


def receive_secrets() -> None:
    """In such a process: take the URLs over from standard input."""
    line = b""
    while not line.endswith(b"\n"):
        read = os.read(sys.stdin.fileno(), 65_536)
        if not read:  # the other process has ended
            sys.exit(FAILED)
        line += read
    take_over(msgspec.json.decode(line, type=dict[str, str]))


def report_open() -> None:
    """In such a process: report that it listens."""
    with suppress(OSError):  # the other process has ended
        os.write(sys.stdin.fileno(), b"\n")


def _reason(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"


def _exit_code(codes: Sequence[int]) -> int:
    return 0 if all(code in STOPPED for code in codes) else FAILED


__all__ = ["receive_secrets", "report_open", "serve_many"]
