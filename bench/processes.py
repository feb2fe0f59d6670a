"""Start one service of leaseq as a real process, read what it says, and end it.

Its log goes to a file, which costs the benchmark nothing while it measures. Invariants: only
processes that were started here, and their children, are ever signalled; a service whose benchmark
has died ends (`--until-eof`).
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
import psutil

ROOT = Path(__file__).parents[1]
STOP_SECONDS = 40.0
START_SECONDS = 30.0
POLL_SECONDS = 0.02


class BenchFailed(Exception):
    """A run did not come to its end, or is not worth anything."""


class Service:
    """One `leaseq ...` process. `python`: the words that run Python, where they are others than
    those of this process. `patience`: how many times slower it is then."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path,
        python: Sequence[str] = (sys.executable,),
        patience: float = 1.0,
    ) -> None:
        self.name = " ".join(arguments)
        self._log = log
        self._patience = patience
        with log.open("wb") as words:
            self.process = subprocess.Popen(
                [*python, "-m", "leaseq", *arguments, "--until-eof"],
                cwd=ROOT,
                env=dict(env),
                stdin=subprocess.PIPE,
                stdout=words,
                stderr=subprocess.STDOUT,
                # A Ctrl-C in the terminal is for the benchmark, which then ends its services in
                # order.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def heard(self, event: str) -> list[dict[str, Any]]:
        """Every line of its log that says this."""
        lines = self._log.read_bytes().splitlines()
        return [
            said
            for line in lines
            if event.encode() in line and (said := _decoded(line)).get("event") == event
        ]

    async def hear(self, event: str, *, count: int = 1) -> list[dict[str, Any]]:
        """Wait for this event. Raises `BenchFailed`, with the last log lines, if the service ends
        or takes too long."""
        give_up = monotonic() + START_SECONDS * self._patience
        while len(heard := self.heard(event)) < count:
            if self.process.poll() is not None or monotonic() > give_up:
                raise BenchFailed(
                    f"leaseq {self.name} did not log {event}; its last lines:\n{self.last_words()}"
                )
            await asyncio.sleep(POLL_SECONDS)
        return heard

    def kill_whole(self) -> None:
        """SIGKILL to the process and its children together, as when its machine is lost: no child
        hands anything back.

        The supervisor stands still first, so that it replaces no child and no child notices that it
        is gone.
        """
        with suppress(psutil.NoSuchProcess):
            whole = psutil.Process(self.pid)
            whole.suspend()
            for process in [*whole.children(), whole]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM twice (the second hurries), and SIGKILL if that has no effect."""
        for patience in (self._patience, STOP_SECONDS * self._patience):
            if self.process.poll() is None:
                self.process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(patience)
        if self.process.poll() is None:
            self.kill_whole()
        if self.process.stdin is not None:
            self.process.stdin.close()

    def last_words(self, lines: int = 8) -> str:
        """The end of its log."""
        return "\n".join(
            self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
        )


def _decoded(line: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.MsgspecError:
        return {}
