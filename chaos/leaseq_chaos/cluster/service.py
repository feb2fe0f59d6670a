"""One service of the cluster: an API, a worker with its children, or a reaper.

A real process, `python -m leaseq ...`, that is started again a moment after it has ended, as an
init system would, unless it is held down. Its output goes to its log with the time of its arrival.
It ends when this process does, however that happens: its standard input is ours.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import Any

import msgspec
import psutil
from msgspec import Struct
from msgspec.structs import replace

from leaseq_chaos.cluster.stores import send
from leaseq_chaos.evidence import Heard
from leaseq_chaos.history import boottime

__all__ = ["Child", "Command", "Service"]

RESTART_SECONDS = 0.3
READY_SECONDS = 60.0
STOP_SECONDS = 20.0
LINE_BYTES = 2**20


class Command(Struct, frozen=True, kw_only=True):
    """How a service is started."""

    name: str
    kind: str  # api, worker, reaper
    arguments: Sequence[str]
    env: Mapping[str, str]
    ready_event: str  # what it says when it can work
    tree: Path | None = None  # another version of the source; None: the installed one


class Child(Struct, frozen=True):
    """A child of a worker that has started and, by its supervisor's log, not ended."""

    pid: int
    worker_id: str  # that of its worker process
    isolated: bool
    at_work: bool = False  # whether it has reported that it takes tasks


class Service:
    """One service, over all its lives."""

    def __init__(self, command: Command, *, logs: Path) -> None:
        self.command = command
        self.extra_env: dict[str, str] = {}  # for the lives to come: a faked clock, say
        self.heard: Counter[str] = Counter()
        self.exits: list[int] = []
        self._logs = logs
        self._children: dict[str, Child] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._said_ready = asyncio.Event()
        self._held = asyncio.Event()
        self._held.set()  # set: it may run
        self._ended = asyncio.Event()
        self._ended.set()
        self._keeping: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self.command.name

    @property
    def kind(self) -> str:
        return self.command.kind

    @property
    def pid(self) -> int | None:
        """The pid of its present life; None between two lives."""
        return (
            None
            if self._process is None or self._process.returncode is not None
            else self._process.pid
        )

    @property
    def alive(self) -> bool:
        return self.pid is not None

    @property
    def children(self) -> list[Child]:
        """The children that live, isolated ones included, in the order of their start."""
        return [child for child in self._children.values() if _lives(child)]

    @property
    def pids(self) -> list[int]:
        """Itself and its children."""
        return [*([] if self.pid is None else [self.pid]), *(child.pid for child in self.children)]

    async def start(self) -> None:
        """Begin its first life."""
        self._keeping = asyncio.create_task(self._keep())
        self._keeping.add_done_callback(_complain)

    async def run_once(self) -> str:
        """Live one life, to its end: a command that is no service. Returns what it wrote to its
        standard output. Raises RuntimeError where it fails."""
        self._process = await self._launch(extra=(), stdout=asyncio.subprocess.PIPE)
        assert self._process.stdout is not None, "piped"
        written, _ = await asyncio.gather(self._process.stdout.read(), self._read(self._process))
        if code := await self._process.wait():
            raise RuntimeError(
                f"leaseq {' '.join(self.command.arguments)} ended with {code}: see its log"
            )
        return written.decode()

    async def ready(self, *, timeout: float = READY_SECONDS) -> None:
        """Wait until its present life (or the next one) can work. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            await self._said_ready.wait()

    def signal(self, number: Signals, *, children: bool = False) -> list[int]:
        """Send a signal to it, and with `children` to them as well; returns the pids that it
        reached."""
        pids = self.pids if children else self.pids[: 1 if self.alive else 0]
        return [pid for pid in pids if send(pid, number)]

    def kill(self, *, children: bool = False) -> list[int]:
        """SIGKILL."""
        return self.signal(SIGKILL, children=children)

    def hold(self) -> None:
        """Do not start it again when it has ended."""
        self._held.clear()

    def release(self) -> None:
        """It may be started again."""
        self._held.set()

    async def ended(self, *, timeout: float = STOP_SECONDS) -> None:
        """Wait until its present life has ended. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            await self._ended.wait()

    async def restart(self, number: Signals = SIGTERM) -> None:
        """End its life, gracefully or not, and wait for the next one to be ready."""
        self.hold()
        try:
            self.signal(number)
            try:
                await self.ended()
            except TimeoutError:
                self.kill(children=True)
                await self.ended()
        finally:
            self.release()
        await self.ready()

    async def destroy(self) -> None:
        """End it permanently, and its children, even frozen ones."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])
        for child in self.children:
            send(child.pid, SIGKILL)
        if self._process is not None and self._process.returncode is None:
            send(self._process.pid, SIGKILL)
            await self._process.wait()

    async def _keep(self) -> None:
        while True:
            await self._held.wait()
            process = self._process = await self._launch()
            self._ended.clear()
            try:
                await self._listen(process)
                self.exits.append(await process.wait())
            finally:
                self._said_ready.clear()
                self._ended.set()
            await asyncio.sleep(RESTART_SECONDS)

    async def _launch(
        self, *, extra: Sequence[str] = ("--until-eof",), stdout: int = asyncio.subprocess.DEVNULL
    ) -> asyncio.subprocess.Process:
        command = self.command
        env = dict(command.env) | self.extra_env
        if command.tree is not None:
            # Not its chaos suite: the app that workers run is that of this one.
            folders = [str(command.tree / part) for part in ("engine", "api", "reaper")]
            env["PYTHONPATH"] = os.pathsep.join([*folders, *filter(None, [env.get("PYTHONPATH")])])
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "leaseq",
            *command.arguments,
            *extra,
            env=env,
            stdin=asyncio.subprocess.PIPE,
            stdout=stdout,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_BYTES,
            start_new_session=True,  # a Ctrl-C in the terminal is for us
        )

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        """Wait until it has ended. Its stderr may live longer, held open by orphaned children; it
        is read to its end."""
        reading = asyncio.create_task(self._read(process))
        waiting = asyncio.create_task(process.wait())
        try:
            await asyncio.wait([waiting])
        except asyncio.CancelledError:
            reading.cancel()
            raise
        finally:
            waiting.cancel()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None, "piped"
        with (self._logs / f"{self.name}.jsonl").open("ab", buffering=0) as log:
            async for line in process.stderr:
                self._hear(line, log)

    def _hear(self, line: bytes, log: Any) -> None:
        try:
            said = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.DecodeError:
            said = {"event": "", "text": line.decode(errors="replace").rstrip()}
        log.write(msgspec.json.encode(Heard(boottime(), self.name, said)) + b"\n")
        event = said.get("event", "")
        self.heard[event] += 1
        if event == self.command.ready_event:
            self._said_ready.set()
        if event == "child.started":
            child = Child(said["pid_of_child"], said["worker_id"], bool(said.get("isolated")))
            self._children[child.worker_id] = child
        if (
            event == "worker.opened"
            and (opened := self._children.get(said["worker_id"])) is not None
        ):
            self._children[opened.worker_id] = replace(opened, at_work=True)
        if event in ("child.died", "child.exited"):
            self._children.pop(said["worker_id"], None)


def _lives(child: Child) -> bool:
    """And it is not another process with a reused number: no supervisor reports the death of its
    orphans."""
    try:
        return child.worker_id in " ".join(psutil.Process(child.pid).cmdline())
    except psutil.Error:
        return False


def _complain(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error
