"""A real `leaseq dev`, its lines, and every process that it started."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leaseq.config import Config
from leaseq.embedded.processes import alive, wait_until_gone
from support.processes import PATIENCE, environment, send
from support.servers import free_port

APP = """
import asyncio

from leaseq import Leaseq

app = Leaseq()


@app.task
async def version() -> int:
    return 1


@app.task
async def nap(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "napped"
"""


class Dev:
    """A running `leaseq dev`, what it says, and every process that it started."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.port = port
        self.lines: list[str] = []
        self.pids: set[int] = set()
        self._news = asyncio.Condition()
        self.reading = asyncio.create_task(self._read())

    async def say(self, part: str, *, count: int = 1) -> str:
        """Wait until lines with these words have come; the last of them."""
        found: list[str] = []

        def enough() -> bool:
            found[:] = [line for line in self.lines if part in line]
            return len(found) >= count

        try:
            async with asyncio.timeout(PATIENCE), self._news:
                await self._news.wait_for(enough)
        except TimeoutError:
            raise AssertionError(
                f"{part!r} was not said {count} times:\n" + "\n".join(self.lines)
            ) from None
        self.pids |= descendants(self.process.pid)
        return found[-1]

    def part(self, name: str) -> int:
        """The pid of a part."""
        found = [pid for pid in children(self.process.pid) if name in command_line(pid)]
        assert len(found) == 1, (name, found)
        return found[0]

    async def ended(self) -> int:
        async with asyncio.timeout(PATIENCE):
            code = await self.process.wait()
            await self.reading
        return code

    async def all_gone(self) -> None:
        """Every process that was ever seen has ended."""
        for pid in self.pids:
            await asyncio.to_thread(wait_until_gone, pid, seconds=PATIENCE)

    async def destroy(self) -> None:
        if self.process.returncode is None:
            self.pids |= descendants(self.process.pid)
            send(self.process.pid, signal.SIGKILL)
        for pid in self.pids:
            if alive(pid):
                send(pid, signal.SIGKILL)
        await self.process.wait()
        await asyncio.wait_for(self.reading, PATIENCE)

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            async with self._news:
                self.lines.append(line.decode().rstrip())
                self._news.notify_all()


class Starter:
    """Starts `leaseq dev` on an app of its own, in a folder of its own."""

    def __init__(self, config: Config, folder: Path) -> None:
        self.config = config
        self.folder = folder
        self.started: list[Dev] = []

    async def dev(
        self,
        *args: str,
        app: str = "shop:app",
        port: int | None = None,
        python: Path | str = sys.executable,
        **env: str,
    ) -> Dev:
        port = port or free_port()
        process = await asyncio.create_subprocess_exec(
            python,
            "-m",
            "leaseq",
            "dev",
            app,
            "--port",
            str(port),
            *args,
            env=environment(self.config)
            | {"LEASEQ_LOG_FORMAT": "auto", "LEASEQ_LOG_LEVEL": "info"}
            | env,
            cwd=self.folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        self.started.append(Dev(process, port))
        return self.started[-1]


@pytest.fixture
async def starter(config: Config, tmp_path: Path) -> AsyncIterator[Starter]:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "shop.py").write_text(APP, encoding="utf-8")
    made = Starter(config, folder)
    yield made
    for dev in made.started:
        await dev.destroy()


def elsewhere(data_dir: Path) -> set[int]:
    """The processes of an embedded Postgres whose files had to lie in another place."""
    note = data_dir / "postgres" / "elsewhere"
    home = note.read_text(encoding="utf-8").strip() if note.exists() else None
    return {
        pid for pid in every_pid() if home is not None and working_directory(pid).startswith(home)
    }


def every_pid() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def working_directory(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return ""


def children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8")
    except OSError:
        return []
    return [int(child) for child in text.split()]


def descendants(pid: int) -> set[int]:
    found = set(children(pid))
    return found | {below for child in found for below in descendants(child)}


def is_stopped(pid: int) -> bool:
    """Whether a signal has stopped it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2][:1] == "T"
    except OSError:
        return False


def command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0")
    except OSError:
        return []


__all__ = [
    "APP",
    "Dev",
    "Starter",
    "children",
    "command_line",
    "elsewhere",
    "every_pid",
    "is_stopped",
    "starter",
    "working_directory",
]
