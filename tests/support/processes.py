"""Run real processes of leaseq, read their events, and end all of them.

A `Service` is one process whose stderr (JSON lines, its children's too) becomes a list of events
that tests wait for. All are ended by pid when the test is over, frozen ones included.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
import pytest_asyncio

from leaseq.config import Config
from support.fork_server import Forked, ForkServer

TESTS = Path(__file__).parents[1]
PATIENCE = 180.0  # on a machine that does ten other things, too
FORKS = ForkServer()
Said = dict[str, Any]


def pytest_unconfigure() -> None:
    FORKS.close()


class Service:
    """One running process: `leaseq` with some arguments."""

    def __init__(self, name: str, process: asyncio.subprocess.Process | Forked) -> None:
        self.name = name
        self.process = process
        self.said: list[Said] = []
        self.other: list[str] = []
        self._news = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def children(self) -> list[int]:
        """The pids of the children that it started and that have not ended."""
        started = [line["pid_of_child"] for line in self.said if line["event"] == "child.started"]
        ended = {
            line["pid_of_child"]
            for line in self.said
            if line["event"] in ("child.died", "child.exited")
        }
        return [pid for pid in started if pid not in ended]

    def heard(self, event: str, **fields: Any) -> list[Said]:
        """Every line so far that says this."""
        return [
            line
            for line in self.said
            if line["event"] == event and all(line.get(k) == v for k, v in fields.items())
        ]

    async def hear(
        self, event: str, *, count: int = 1, timeout: float = PATIENCE, **fields: Any
    ) -> list[Said]:
        """Wait until it has logged this `count` times."""
        try:
            async with asyncio.timeout(timeout), self._news:
                await self._news.wait_for(lambda: len(self.heard(event, **fields)) >= count)
        except TimeoutError:
            tail = "\n".join([str(line) for line in self.said[-15:]] + self.other[-15:])
            raise AssertionError(
                f"{self.name} did not say {event} {fields} {count} times; it said last:\n{tail}"
            ) from None
        return self.heard(event, **fields)

    def signal(self, number: signal.Signals, *, children: bool = False) -> None:
        """Send a signal to it, and with `children` to all at once: none has the time to react to
        what happens to another."""
        if children:
            send(self.pid, signal.SIGSTOP)
            for child in psutil.Process(self.pid).children():
                send(child.pid, number)
        send(self.pid, number)

    async def ended(self, *, timeout: float = PATIENCE) -> int:
        """Its exit code."""
        async with asyncio.timeout(timeout):
            code = await self.process.wait()
            await self._reading
        return code

    async def destroy(self) -> None:
        """End it and its children in any state."""
        for pid in self.children:
            send(pid, signal.SIGKILL)
        if self.process.returncode is None:
            send(self.pid, signal.SIGKILL)
        await self.process.wait()
        # A child that was started in the last moment hears that its supervisor is gone; its stderr
        # ends when it does.
        await asyncio.wait_for(self._reading, PATIENCE)

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            try:
                said = msgspec.json.decode(line, type=Said)
            except msgspec.DecodeError:
                self.other.append(line.decode(errors="replace").rstrip())
                continue
            async with self._news:
                self.said.append(said)
                self._news.notify_all()


class Services:
    """Starts services for one configuration."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.directory = TESTS
        self.untold: set[str] = set()  # variables of the environment that are left out
        self.executing = False  # as programs, where a fork would not show the same
        self.running: list[Service] = []

    async def start(self, *args: str, **env: str) -> Service:
        """Start `leaseq ARGS` with the servers and times of the configuration."""
        env = {
            name: value
            for name, value in environment(self.config).items()
            if name not in self.untold
        } | env
        process: asyncio.subprocess.Process | Forked
        if FORKS.can_run(env) and not self.executing:
            process = await FORKS.start(list(args), env=env, cwd=self.directory)
        else:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "leaseq",
                *args,
                env=env,
                cwd=self.directory,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                limit=2**20,
                start_new_session=True,  # a Ctrl-C in the terminal is for the tests
            )
        service = Service(" ".join(args), process)
        self.running.append(service)
        return service

    async def worker(
        self, *args: str, children: int = 1, app: str = "apps.probe:app", **env: str
    ) -> Service:
        """A worker for tests/apps/probe.py or another app, once its children are ready."""
        service = await self.start("worker", app, "--processes", str(children), *args, **env)
        await service.hear("worker.opened", count=children)
        return service

    async def reaper(self, **env: str) -> Service:
        """A reaper, once its passes run."""
        service = await self.start("reaper", **env)
        await service.hear("reaper.started")
        return service

    async def destroy(self) -> None:
        for service in self.running:
            await service.destroy()


def environment(config: Config) -> dict[str, str]:
    """A process environment that says what `config` says, and nothing that the machine says of
    leaseq."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("LEASEQ_")}
    for name in config.__struct_fields__:
        value = getattr(config, name)
        if value is not None:
            env[f"LEASEQ_{name.upper()}"] = (
                str(value).lower() if isinstance(value, bool) else str(value)
            )
    return env | {"LEASEQ_LOG_FORMAT": "json", "LEASEQ_LOG_LEVEL": "debug"}


def send(pid: int, number: signal.Signals) -> None:
    """Signal a process that we started, if it still is."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


@pytest_asyncio.fixture
async def services(config: Config) -> AsyncIterator[Services]:
    """Processes on the stores of `config`."""
    started = Services(config)
    yield started
    await started.destroy()


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Poll an async question until its answer is true: for facts in a store, which no event
    announces."""

    async def ask(
        question: Callable[[], Any], *, timeout: float = PATIENCE, every: float = 0.02
    ) -> Any:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            answer = await question()
            if answer:
                return answer
            if loop.time() > deadline:
                raise AssertionError(f"it never came true; the last answer was {answer!r}")
            await asyncio.sleep(every)

    return ask
