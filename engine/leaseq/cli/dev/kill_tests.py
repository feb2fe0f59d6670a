"""Carry out the kill tests of the dashboard.

This process has started the worker and holds the embedded servers, so it can break both, and the API
only asks, over a unix socket that only its own account can open. One test runs at a time.

Invariants: a signal goes only to processes that this `leaseq dev` has started. A stopped process
goes on and a stopped server is started again in each of these cases. The API ends: the test runs
here. `leaseq dev` is asked to stop: it undoes the test first. This process is killed: freeze.py sees
it, and the next process that needs a server starts it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec.structs import replace

from leaseq.cli.dev import freeze
from leaseq.cli.dev.managed_process import ManagedProcess
from leaseq.cli.dev.printer import Printer
from leaseq.config import Config
from leaseq.embedded import PostgresServer, ValkeyServer
from leaseq.embedded.holders import exclusively
from leaseq.embedded.processes import children
from leaseq.errors import LeaseqError
from leaseq.loop import pause
from leaseq.operations.kill_tests import private_socket
from leaseq.operations.kill_tests.protocol import (
    BEYOND_LEASE_SECONDS,
    LINE_BYTES,
    REDIS_AWAY_SECONDS,
    Answer,
    KillTest,
    to_request,
)

MOST_KEPT = 20
ASK_SECONDS = 5.0


class KillTests:
    """The tests of one `leaseq dev`, in the order in which they were started."""

    def __init__(
        self, config: Config, path: Path, *, worker: ManagedProcess, printer: Printer
    ) -> None:
        self._config = config
        self._path = path
        self._worker = worker
        self._printer = printer
        self._tests: dict[str, KillTest] = {}
        self._running: asyncio.Task[None] | None = None
        self._server: asyncio.Server | None = None
        self._stop = asyncio.Event()

    async def open(self) -> None:
        """Answer the API from now on."""
        listening = private_socket.listen(self._path)
        self._server = await asyncio.start_unix_server(
            self._answer, sock=listening, limit=LINE_BYTES
        )

    async def aclose(self) -> None:
        """Undo a test that has not ended, and answer no more."""
        self._stop.set()
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
        if self._running is not None:
            await self._running

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request of the API."""
        with suppress(OSError, ValueError, TimeoutError):
            async with asyncio.timeout(ASK_SECONDS):
                request = to_request.decode(await reader.readline())
                refused = None if request.start is None else self._start(request.start)
                tests = list(reversed(self._tests.values()))
                writer.write(msgspec.json.encode(Answer(tests, refused)) + b"\n")
                await writer.drain()
        writer.close()

    def _start(self, test: KillTest) -> str | None:
        """Start a test unless its id is known. Returns the reason if it is refused."""
        if test.test_id in self._tests:
            return None
        if self._stop.is_set():
            return "`leaseq dev` is stopping"
        if self._running is not None and not self._running.done():
            return "another kill test has not ended yet"
        self._keep(test)
        self._running = asyncio.create_task(self._run(test))
        return None

    def _keep(self, test: KillTest) -> None:
        self._tests[test.test_id] = test
        for oldest in list(self._tests)[:-MOST_KEPT]:
            del self._tests[oldest]

    async def _run(self, test: KillTest) -> None:
        """Carry out a test, and undo it in any case."""
        self._printer.say(f"kill test: {test.kind}", colour="yellow")
        test = replace(test, began_at=_now())
        self._keep(test)
        try:
            match test.kind:
                case "kill-worker":
                    os.kill(self._child_of(test), signal.SIGKILL)
                case "freeze-worker":
                    await self._freeze(test)
                case "flush-redis":
                    await asyncio.to_thread(self._valkey().flush)
                case "stop-redis":
                    await self._stop_redis()
                case "restart-postgres":
                    await asyncio.to_thread(self._restart_postgres)
        except (LeaseqError, OSError) as error:
            test = replace(test, failed=str(error))
            self._printer.say(f"kill test: {test.kind} failed: {error}", colour="red")
        finally:
            self._keep(replace(test, ended_at=_now()))

    def _child_of(self, test: KillTest) -> int:
        """The worker process of a test, if our supervisor has started it."""
        for pid in children(self._worker.pid or 0):
            with suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                if test.worker_id and f'"{test.worker_id}"'.encode() in command:
                    return pid
        raise OSError(f"no process of this `leaseq dev` is the worker {test.worker_id}")

    async def _freeze(self, test: KillTest) -> None:
        """Stop the supervisor and its worker processes until their lease is over."""
        self._child_of(test)
        seconds = self._config.lease_seconds + BEYOND_LEASE_SECONDS
        freezer = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", freeze.__file__, f"{seconds:g}", str(self._worker.pid)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert freezer.stdin is not None
        assert freezer.stdout is not None
        stopped = [int(pid) for pid in (await freezer.stdout.readline()).split()]
        stopping = asyncio.create_task(self._stop.wait())
        ending = asyncio.create_task(freezer.wait())
        await asyncio.wait([stopping, ending], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        freezer.stdin.close()
        if await ending != 0:  # it was killed itself
            for pid in reversed(stopped):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        if not stopped:
            raise OSError("the worker could not be stopped")

    async def _stop_redis(self) -> None:
        valkey = self._valkey()
        try:
            await asyncio.to_thread(_alone, valkey.directory, valkey.stop)
            await pause(REDIS_AWAY_SECONDS, stop=self._stop)
        finally:
            await asyncio.to_thread(_alone, valkey.directory, valkey.start)

    def _restart_postgres(self) -> None:
        postgres = PostgresServer(self._config.data_dir / "postgres")
        with exclusively(postgres.directory):
            try:
                postgres.stop()
            finally:
                postgres.start()

    def _valkey(self) -> ValkeyServer:
        return ValkeyServer(self._config.data_dir / "valkey")


def _alone(directory: Path, work: Callable[[], None]) -> None:
    with exclusively(directory):
        work()


def _now() -> datetime:
    return datetime.now(UTC)


__all__ = ["KillTests"]
