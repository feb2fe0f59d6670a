"""`leaseq dev` runs, repairs and reloads everything, and cleans up."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec
import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.embedded.processes import alive, wait_until_gone
from leaseq.model import State
from support.client import Client
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
        self, *args: str, app: str = "shop:app", port: int | None = None, **env: str
    ) -> Dev:
        port = port or free_port()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
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


async def test_everything_runs_and_stops_in_order(starter: Starter, client: Client) -> None:
    dev = await starter.dev()
    assert f"http://127.0.0.1:{dev.port}" in await dev.say("ready: ")
    await dev.say("worker.opened")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{dev.port}", timeout=60) as http:
        answer = await http.post("/api/tasks", json={"type": "version", "payload": {}})
    task = await client.ended(answer.json()["task_id"])
    assert (task.state, task.result) == (State.SUCCESS, b"1")
    line = await dev.say("attempt.settled")
    assert " worker " in line
    assert "\x1b" not in line, "no colours in a pipe"
    dev.process.send_signal(signal.SIGINT)
    assert await dev.ended() == 0
    order = [line for line in dev.lines if "supervisor.stopped" in line or "reaper.stopped" in line]
    assert ["worker" in line for line in order] == [True, False], "the worker, then the reaper"
    await dev.all_gone()
    assert len(dev.pids) >= 4, "api, reaper, worker and its child"


@pytest.mark.slow("starts `leaseq dev` and all its parts as programs")
async def test_a_part_that_dies_is_started_again(starter: Starter, client: Client) -> None:
    dev = await starter.dev("--no-reload")
    await dev.say("ready: ")
    await dev.say("worker.opened")
    await dev.say("reaper.started")
    for name in ("api", "worker", "reaper"):
        send(dev.part(name), signal.SIGKILL)
        await dev.say(f"{name} ended with code -9; restarting it")
    await dev.say("worker.opened", count=2)
    await dev.say("reaper.started", count=2)
    assert (await client.ended(await client.submit("version"))).state is State.SUCCESS
    dev.process.send_signal(signal.SIGTERM)
    assert await dev.ended() == 0
    await dev.all_gone()


@pytest.mark.slow("starts `leaseq dev` and all its parts as programs")
async def test_changed_code_is_loaded_and_broken_code_waits_to_be_mended(
    starter: Starter, client: Client
) -> None:
    dev = await starter.dev()
    await dev.say("worker.opened")
    await dev.say("ready: ")
    assert (await client.ended(await client.submit("version"))).result == b"1"
    shop = starter.folder / "shop.py"

    shop.write_text("import nosuch\n" + APP, encoding="utf-8")
    await dev.say("shop.py changed: restarting the worker")
    await dev.say("ModuleNotFoundError: No module named 'nosuch'")
    await dev.say("worker cannot start; waiting for a file to change")

    shop.write_text(APP.replace("return 1", "return 2"), encoding="utf-8")
    await dev.say("worker.opened", count=2)
    assert (await client.ended(await client.submit("version"))).result == b"2"
    dev.process.send_signal(signal.SIGTERM)
    assert await dev.ended() == 0
    await dev.all_gone()


@pytest.mark.slow("starts `leaseq dev` and all its parts as programs")
async def test_a_reload_hands_back_what_runs(starter: Starter, client: Client) -> None:
    dev = await starter.dev(LEASEQ_LOG_LEVEL="debug")
    await dev.say("worker.opened")
    task_id = await client.submit("nap", seconds=60)
    await dev.say("attempt.started")
    (starter.folder / "shop.py").write_text(
        APP.replace("sleep(seconds)", "sleep(0)"), encoding="utf-8"
    )
    task = await client.ended(task_id)
    assert (task.state, task.attempt, task.retry_count) == (State.SUCCESS, 2, 0)


@pytest.mark.slow("starts `leaseq dev` and all its parts as programs")
async def test_a_second_signal_hurries(starter: Starter, client: Client) -> None:
    dev = await starter.dev("--no-reload", LEASEQ_LOG_LEVEL="debug", LEASEQ_GRACE_SECONDS="60")
    await dev.say("worker.opened")
    task_id = await client.submit("nap", seconds=60)
    await dev.say("attempt.started")
    dev.process.send_signal(signal.SIGINT)
    await dev.say("supervisor.draining")
    dev.process.send_signal(signal.SIGINT)
    assert await dev.ended() == 0
    assert (await client.find(task_id)).state is State.PENDING, "it was handed back"
    await dev.all_gone()


@pytest.mark.slow("starts `leaseq dev` and all its parts as programs")
async def test_a_part_that_cannot_start_ends_everything(starter: Starter) -> None:
    (starter.folder / "shop.py").write_text(
        "raise RuntimeError('no shop today')\n", encoding="utf-8"
    )
    dev = await starter.dev()
    await dev.say("RuntimeError: no shop today")
    await dev.say("worker cannot start (see above): stopping everything")
    assert await dev.ended() == 1
    await dev.all_gone()


async def test_port_in_use_is_reported_before_anything_starts(starter: Starter) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        dev = await starter.dev(port=taken.getsockname()[1])
        assert await dev.ended() == 2
    (line,) = dev.lines
    assert line.startswith("leaseq: cannot listen on ")


@pytest.mark.slow("starts `leaseq dev` and all its parts as programs")
async def test_json_lines_are_passed_on_as_they_are(starter: Starter) -> None:
    dev = await starter.dev("--no-reload", LEASEQ_LOG_FORMAT="json")
    await dev.say("worker.opened")
    await dev.say("ready: ")
    dev.process.send_signal(signal.SIGHUP)
    assert await dev.ended() == 0
    events = [msgspec.json.decode(line)["event"] for line in dev.lines]
    assert {"supervisor.started", "reaper.started", "worker.opened", "supervisor.stopped"} <= set(
        events
    )


@pytest.mark.slow("starts `leaseq dev` and all its parts as programs")
async def test_killed_outright_it_leaves_nothing_running(data_dir: Path, starter: Starter) -> None:
    """Its parts see the end of their input, and the last of them stops the embedded servers."""
    starter.config = replace(
        starter.config,
        postgres_url=None,
        handler_postgres_url=None,
        redis_url=None,
        data_dir=data_dir,
    )
    dev = await starter.dev("--no-reload")
    await dev.say("worker.opened")
    await dev.say("ready: ")
    servers = [
        pid
        for pid in every_pid()
        if str(data_dir) in working_directory(pid) or pid in elsewhere(data_dir)
    ]
    assert len(servers) >= 2
    dev.pids |= set(servers)
    dev.process.send_signal(signal.SIGKILL)
    await dev.all_gone()


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


def command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0")
    except OSError:
        return []
