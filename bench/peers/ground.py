"""Fresh servers and an empty effect log for one play of one contender.

The servers are those of leaseq's own benchmark (append-only file, `fsync` and `synchronous_commit`
on), reached over TCP on the loopback interface, because not every contender can use a unix socket.
Invariants: only what a contender needs is started, and nothing of it is left; no LEASEQ_* variable
of the caller reaches a contender.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import TypeVar

import msgspec

from bench.peers.contenders import Contender
from bench.peers.crew import Crew
from bench.peers.environments import Environment
from bench.peers.sides.effects import RECORD, Effect, unpack
from bench.processes import ROOT, BenchFailed
from leaseq.embedded import PostgresServer, ValkeyServer, remove_servers

T = TypeVar("T")

SHARED_MEMORY = Path("/dev/shm")
SCRIPT_SECONDS = 300.0
POLL_SECONDS = 0.01


class Submitted(msgspec.Struct, frozen=True):
    """The report of a script about its submissions, by the monotonic clock."""

    count: int
    began_ns: int
    ended_ns: int

    @property
    def rate(self) -> float:
        return self.count / max(self.ended_ns - self.began_ns, 1) * 1e9


class Ground:
    """Servers, log of effects and worker processes of one contender, for one measurement."""

    def __init__(
        self, contender: Contender, directory: Path, *, env: dict[str, str], servers: dict[str, int]
    ) -> None:
        self.contender = contender
        self.servers = servers
        self._env = env
        self._effects = Path(env["BENCH_EFFECTS"])
        self._environment = Environment(contender.environment)
        self.crew = Crew(directory, env)

    async def prepare(self) -> None:
        """Tables, and what else has to be there before the first task."""
        await self._script("prepare")

    async def submit(self, mode: str, count: int, **options: object) -> Submitted:
        """Submit tasks, in a process of their own. `options`: of the script's command line."""
        flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        said = await self._script("submit", "--mode", mode, "--count", str(count), *flags)
        return msgspec.json.decode(said.splitlines()[-1], type=Submitted)

    def start_worker(self, place: int) -> None:
        """Start a worker. One that replaces a killed worker takes its place."""
        contender = self.contender
        command = contender.worker or ("python", "-m", contender.module, "work")
        if self._env["BENCH_RELIABLE"] == "1":
            command += contender.reliable_options
        program, *arguments = (part.format(slots=self._env["BENCH_SLOTS"]) for part in command)
        self.crew.start(place, [self._environment.program(program), *arguments])

    def start_companion(self) -> None:
        """Start what has to run once beside the workers, if there is anything."""
        if self.contender.companion:
            program, *arguments = self.contender.companion
            self.crew.start_companion([self._environment.program(program), *arguments])

    def count(self) -> int:
        """How many effects are there?"""
        return self._effects.stat().st_size // RECORD.size

    def effects(self) -> list[Effect]:
        return unpack(self._effects.read_bytes())

    async def until(self, count: int, *, seconds: float) -> None:
        """Wait for so many effects. Raises `BenchFailed`, with the last words of a worker."""
        give_up = monotonic() + seconds
        while self.count() < count:
            alive = self.crew.any_alive
            if not alive or monotonic() > give_up:
                end = f"after {seconds:.0f} s" if alive else "no worker is left"
                raise BenchFailed(
                    f"{self.count()} of {count} effects, {end}; last lines of a worker: {self.crew.last_words()}"
                )
            await asyncio.sleep(POLL_SECONDS)

    async def _script(self, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            self._environment.program("python"),
            *("-m", self.contender.module, *arguments),
            cwd=ROOT,
            env=self._env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(SCRIPT_SECONDS):
                out, said = await process.communicate()
        except TimeoutError:
            raise BenchFailed(f"{arguments[0]} took longer than {SCRIPT_SECONDS:.0f} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            lines = said.decode(errors="replace").strip().splitlines() or ["no output"]
            raise BenchFailed(f"{arguments[0]} failed: {lines[-1]}")
        return out.decode()


@asynccontextmanager
async def set_up(
    contender: Contender, *, slots: int, reliable: bool = False, limited: bool = False
) -> AsyncIterator[Ground]:
    """Put up what one measurement of one contender needs, and take it down."""
    async with AsyncExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="leaseq-peers-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        stack.callback(remove_servers, directory)
        effects = _effects_file(directory)
        stack.callback(effects.unlink, missing_ok=True)
        urls, pids = await _to_its_end(asyncio.to_thread(_start_servers, contender, directory))
        env = _environment(contender, urls, reliable=reliable)
        env |= {
            "BENCH_EFFECTS": str(effects),
            "BENCH_READY": str(directory / "ready"),
            "BENCH_SLOTS": str(slots),
            "BENCH_LIMITED": "1" if limited else "0",
            "LEASEQ_DATA_DIR": str(directory),
        }
        ground = Ground(contender, directory, env=env, servers=pids)
        stack.callback(ground.crew.kill_all)
        await ground.prepare()
        yield ground


async def _to_its_end(work: Awaitable[T]) -> T:
    """Wait even for unwanted servers: the teardown must not run beside a setup."""
    future = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise


def _start_servers(contender: Contender, directory: Path) -> tuple[dict[str, str], dict[str, int]]:
    urls, pids = {}, {}
    if "postgres" in contender.stores:
        postgres = PostgresServer(directory / "postgres", port=_free_port())
        postgres.start()
        urls["postgres"], pids["postgres"] = postgres.url, postgres.pid or 0
    if "valkey" in contender.stores:
        valkey = ValkeyServer(directory / "valkey", port=_free_port())
        valkey.start()
        urls["valkey"], pids["valkey"] = valkey.url, valkey.pid or 0
    return urls, pids


def _environment(contender: Contender, urls: dict[str, str], *, reliable: bool) -> dict[str, str]:
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LEASEQ_", "BENCH_", "PYTHON"))
    }
    env |= {
        "PYTHONPATH": str(ROOT),
        "BENCH_CONTENDER": contender.name,
        "BENCH_RELIABLE": "1" if reliable else "0",
    }
    env |= {f"BENCH_{store.upper()}_URL": url for store, url in urls.items()}
    own = contender.env | (contender.reliable_env if reliable else {})
    return env | {name: value.format(**urls) for name, value in own.items()}


def _effects_file(directory: Path) -> Path:
    """In memory, where the machine has a place for it."""
    place = SHARED_MEMORY if SHARED_MEMORY.is_dir() else directory
    handle, name = tempfile.mkstemp(prefix="leaseq-peers-", dir=place)
    os.close(handle)
    return Path(name)


def _free_port() -> int:
    """A port on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
