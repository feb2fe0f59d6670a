"""Keep one part of `leaseq dev` running.

A part is a process, `python -m leaseq ...`, in a separate session, so that Ctrl-C in the terminal
reaches only us and everything stops in order. Its standard input is a pipe that we hold: when we
end in any way, the pipe ends, and so does the part. Once a part has come up, it is restarted
whenever it dies. A part that never comes up is given up.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from time import monotonic

from msgspec import Struct

from leaseq.cli.dev.printer import Printer
from leaseq.cli.exit_codes import FAILED, USAGE
from leaseq.loop import Pauses, pause

# Without its event (a quiet log level), a part that has lived this long counts as up.
UP_SECONDS = 30.0
SHORT_LIVES = 5
RESTART_PAUSES = Pauses(0.5, growth=2.0)
RELOAD_SECONDS = 2.0
LINE_BYTES = 16 * 1_048_576
# The exit code of a worker whose app cannot be imported.
BROKEN = (FAILED, USAGE)


class ProcessSpec(Struct, frozen=True, kw_only=True):
    """The definition of a part: its command line, the event that shows that it is up, and the time
    for its end."""

    name: str
    arguments: list[str]
    up: str | None  # None: detected elsewhere
    stop_seconds: float
    reloads: bool = False


class ManagedProcess:
    """One process, and its successors after restarts."""

    def __init__(self, spec: ProcessSpec, *, env: Mapping[str, str], printer: Printer) -> None:
        self.spec = spec
        self.given_up: int | None = None  # the exit code of a part that does not come up
        self._env = dict(env)
        self._printer = printer
        self._process: asyncio.subprocess.Process | None = None
        self._up = False  # in this process
        self._proven = False  # in any process
        self._stopping = False
        self._reloading = False
        self._changed = asyncio.Event()

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def pid(self) -> int | None:
        """The process that runs now; None: none does."""
        return None if self._process is None else self._process.pid

    async def run(self) -> None:
        """Keep it running until it is stopped or given up."""
        short_lives = 0
        while not self._stopping:
            self._changed.clear()
            self._reloading = False
            began = monotonic()
            code = await self._live()
            if self._is_expected_end():
                short_lives = 0
                continue
            if monotonic() - began > UP_SECONDS:
                self.came_up()
            short_lives = 0 if self._up else short_lives + 1
            if short_lives and not (self._proven and short_lives < SHORT_LIVES):
                self.given_up = code
                return
            await self._wait_before_restart(code, short_lives)

    def came_up(self) -> None:
        """The part is up. From now on its end is a failure."""
        self._up = self._proven = True

    def _is_expected_end(self) -> bool:
        return self._stopping or self._reloading

    async def _wait_before_restart(self, code: int, short_lives: int) -> None:
        """Wait before a restart. If the code is broken, a person has to change it first."""
        if short_lives and self.spec.reloads and code in BROKEN:
            self._printer.say(
                f"{self.name} cannot start; waiting for a file to change", colour="yellow"
            )
            await self._changed.wait()
            return
        self._printer.say(f"{self.name} ended with code {code}; restarting it", colour="yellow")
        await pause(RESTART_PAUSES.after(short_lives + 1), stop=self._changed)

    async def reload(self) -> None:
        """Restart it with the current code. Running tasks have a moment to finish and are then
        handed back."""
        self._reloading = True
        self._changed.set()
        process = self._process
        if process is not None:
            await self._end(
                process, (signal.SIGTERM, RELOAD_SECONDS), (signal.SIGTERM, self.spec.stop_seconds)
            )

    def stop_restarting(self) -> None:
        """Do not restart it, however it ends from now on."""
        self._stopping = True
        self._changed.set()

    async def stop(self) -> None:
        """Stop it permanently, and wait for its end."""
        self.stop_restarting()
        if self._process is not None:
            await self._end(self._process, (signal.SIGTERM, self.spec.stop_seconds))

    def hurry(self) -> None:
        """Make a part that is stopping stop faster."""
        self._send(self._process, signal.SIGTERM)

    async def _live(self) -> int:
        """Run one process: start it, pass on its output, and return its exit code."""
        self._up = False
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            # a file of the working directory called `queue.py` is not the module of the standard
            # library
            "-P",
            "-m",
            "leaseq",
            *self.spec.arguments,
            "--until-eof",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._env,
            start_new_session=True,
            limit=LINE_BYTES,
        )
        try:
            if self._stopping:
                self._send(process, signal.SIGTERM)
            reading = [
                asyncio.create_task(self._read_log(process)),
                asyncio.create_task(self._read_prints(process)),
            ]
            code = await process.wait()
            # A grandchild may hold the pipes longer than the part lives.
            await asyncio.wait(reading, timeout=1.0)
            for task in reading:
                task.cancel()
            return code
        finally:
            self._process = None

    async def _read_prints(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            self._printer.text(self.name, line.decode(errors="replace").rstrip("\n"))

    async def _read_log(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while line := await process.stderr.readline():
            event = self._printer.line(self.name, line.decode(errors="replace").rstrip("\n"))
            if event is not None and event["event"] == self.spec.up:
                self.came_up()

    async def _end(
        self, process: asyncio.subprocess.Process, *steps: tuple[signal.Signals, float]
    ) -> None:
        """Signals, each with the seconds that it is given; then SIGKILL."""
        for number, seconds in steps:
            self._send(process, number)
            try:
                async with asyncio.timeout(seconds):
                    await process.wait()
                return
            except TimeoutError:
                continue
        self._printer.say(f"{self.name} did not end in time and is killed", colour="red")
        self._kill(process)
        await process.wait()

    def _send(self, process: asyncio.subprocess.Process | None, number: signal.Signals) -> None:
        if process is not None and process.returncode is None:
            process.send_signal(number)

    def _kill(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)


__all__ = ["ManagedProcess", "ProcessSpec"]
