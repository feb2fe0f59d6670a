"""`leaseq dev` runs, repairs and reloads everything, and cleans up."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import httpx
import msgspec
import pytest
from msgspec.structs import replace

from leaseq.model import State
from support.client import Client
from support.dev_command import APP, Starter, elsewhere, every_pid, working_directory
from support.processes import send


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
