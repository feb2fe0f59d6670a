"""A frozen worker goes on when any of the processes around it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from leaseq.cli.dev import freeze
from leaseq.cli.dev.kill_tests import KillTests
from leaseq.cli.dev.managed_process import ManagedProcess
from leaseq.cli.dev.printer import Printer
from leaseq.config import Config
from leaseq.operations.kill_tests import private_socket
from leaseq.operations.kill_tests.protocol import KillTest
from leaseq_api.kill_tests import KillTests as AskedKillTests
from leaseq_api.refused import Refused
from support.dev_command import children, command_line, is_stopped
from support.kill_tests import Part
from support.processes import send

# A supervisor with one worker process, which is called "w".
PARENT = '(exec -a \'{"worker_id":"w"}\' sleep 600) & echo ready; wait'


@pytest.fixture
async def worker() -> AsyncIterator[Part]:
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", PARENT, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    await process.stdout.readline()
    pids = [process.pid, *children(process.pid)]
    yield Part(process.pid)
    for pid in pids:
        send(pid, signal.SIGKILL)
    await process.wait()


def family(part: Part) -> list[int]:
    assert part.pid is not None
    return [part.pid, *children(part.pid)]


async def test_it_goes_on_when_its_parent_or_its_time_ends(
    worker: Part, eventually: Callable[..., Any]
) -> None:
    async def frozen() -> bool:
        return all(map(is_stopped, family(worker)))

    for seconds, closes in (("600", True), ("0.2", False)):
        freezer = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", freeze.__file__, seconds, str(worker.pid)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert freezer.stdin is not None
        assert freezer.stdout is not None
        assert [int(pid) for pid in (await freezer.stdout.readline()).split()] == family(worker)
        if closes:
            await eventually(frozen)
            send(freezer.pid, signal.SIGTERM)  # as Ctrl-C in a terminal, which is ignored
            freezer.stdin.close()
        assert await freezer.wait() == 0
        assert not any(map(is_stopped, family(worker)))


async def test_it_goes_on_when_the_freezer_is_killed_or_the_parent_stops(
    worker: Part, config: Config, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    path = tmp_path / ("long" * 30) / "dev-1.sock"  # longer than an address may be
    path.parent.mkdir()
    tests = KillTests(config, path, worker=cast(ManagedProcess, worker), printer=Printer(raw=True))
    await tests.open()
    asked = AskedKillTests(path)

    async def frozen() -> bool:
        return all(map(is_stopped, family(worker)))

    for number in ("1", "2"):
        await asked.start(KillTest(test_id=number, kind="freeze-worker", worker_id="w"))
        await eventually(frozen)
        await asked.start(KillTest(test_id=number, kind="freeze-worker", worker_id="w"))
        with pytest.raises(Refused, match="has not ended"):
            await asked.start(KillTest(test_id="3", kind="flush-redis"))
        if number == "1":
            (freezer,) = (
                pid for pid in children(os.getpid()) if freeze.__file__ in command_line(pid)
            )
            send(freezer, signal.SIGKILL)

            async def ended() -> bool:
                return (await asked.find("1")).ended_at is not None

            await eventually(ended)
        else:
            await tests.aclose()
        assert not any(map(is_stopped, family(worker)))
    with pytest.raises(Refused, match="does not answer"):
        await asked.list()


async def test_only_workers_of_its_own_are_killed(
    worker: Part, config: Config, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    path = tmp_path / "dev-1.sock"
    tests = KillTests(config, path, worker=cast(ManagedProcess, worker), printer=Printer(raw=True))
    await tests.open()
    asked = AskedKillTests(path)
    await asked.start(KillTest(test_id="1", kind="kill-worker", worker_id="other"))

    async def failed() -> bool:
        return (await asked.find("1")).failed is not None

    await eventually(failed)
    assert len(family(worker)) == 2
    await asked.start(KillTest(test_id="2", kind="kill-worker", worker_id="w"))

    async def gone() -> bool:
        return len(family(worker)) == 1

    await eventually(gone)
    await tests.aclose()


def test_sockets_of_killed_processes_are_removed(tmp_path: Path) -> None:
    stale, used = tmp_path / "dev-1.sock", tmp_path / "dev-2.sock"
    private_socket.listen(stale).close()
    with private_socket.listen(used):
        private_socket.remove_stale(tmp_path / "dev-*.sock")
        assert not stale.exists()
        assert used.exists()
