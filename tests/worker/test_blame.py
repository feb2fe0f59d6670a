"""A crash is charged only to a task that ran alone under a witness."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from leaseq.model import Lane, State
from leaseq.supervisor.child_process import ChildProcess
from leaseq.supervisor.protocol import Channel, ChildSpec, FromSupervisor
from leaseq.worker.process.shared_loop import THREADS
from support.client import Client
from support.ledger import RETENTION, submission
from support.processes import Service, Services, send

ONCE = {"max_attempts": 1}
BRIEF = {"max_attempts": 1, "timeout_seconds": 0.2}


async def rogue(services: Services, *args: str) -> Service:
    """A worker for tests/apps/rogue.py, ready."""
    worker = await services.start("worker", "apps.rogue:app", "--processes", "1", *args)
    await worker.hear("worker.opened")
    return worker


def lives(pid: int) -> bool:
    """Whether there is such a process, and not only a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except OSError:
        return False


async def crashes_and_losses(client: Client, task_id: str) -> tuple[int, int]:
    task = await client.find(task_id)
    return task.crash_count, task.loss_count


async def test_a_thread_that_outlives_its_attempt_and_kills_the_process_is_not_charged_to_a_neighbour(
    services: Services, client: Client
) -> None:
    worker = await rogue(services)
    await client.submit("lingers_and_kills", seconds=2.0, options=BRIEF)
    await worker.hear("handler.overran")
    neighbour = await client.submit("nap", seconds=30)
    await worker.hear("attempt.reaped", task_id=neighbour)
    assert await crashes_and_losses(client, neighbour) == (0, 1)


@pytest.mark.parametrize("how", ["timer", "task", "thread"])
async def test_leftover_of_a_handler_is_not_charged_to_a_neighbour(
    services: Services, client: Client, how: str
) -> None:
    worker = await rogue(services)
    await client.ended(await client.submit("leaves_a_killer", seconds=2.0, how=how))
    neighbour = await client.submit("nap", seconds=30)
    await worker.hear("attempt.reaped", task_id=neighbour)
    assert await crashes_and_losses(client, neighbour) == (0, 1)


async def test_a_worker_that_is_killed_from_outside_charges_no_task(
    services: Services, client: Client
) -> None:
    """An administrator, or the service manager of a container: one task ran, three times, and is
    not at fault."""
    worker = await rogue(services)
    task_id = await client.submit("nap", seconds=60)
    for times in (1, 2):
        await worker.hear("attempt.started", task_id=task_id, count=times)
        send(worker.children[-1], signal.SIGKILL)
        await worker.hear("attempt.reaped", task_id=task_id, count=times)
    assert await crashes_and_losses(client, task_id) == (0, 2)


WAYS_TO_EXIT = {
    "group": "a sub-task of a group",
    "interrupt": "a sub-task of a group",
    "gather": "a gathered sub-task",
    "task": "a sub-task",
    "thread": "a thread",
}


async def test_a_handler_that_asks_the_process_to_exit_ends_its_attempt_and_nothing_else(
    services: Services, client: Client
) -> None:
    worker = await rogue(services)
    neighbour = await client.submit("nap", seconds=3)
    await worker.hear("attempt.started", task_id=neighbour)
    for how, message in WAYS_TO_EXIT.items():
        task = await client.ended(await client.submit("exits", how=how, options=ONCE))
        assert task.error is not None
        error = msgspec.json.decode(task.error)
        assert (task.state, task.attempt, error["code"]) == (State.FAILED, 1, "error"), how
        assert error["message"].endswith(message)
    for how in ("exit", "interrupt"):
        task = await client.ended(await client.submit("exits_in_its_thread", how=how, options=ONCE))
        assert (task.state, task.attempt) == (State.FAILED, 1), how
    for how in ("forgotten", "callback", "timer", "finalizer", "stop"):
        task = await client.ended(await client.submit("exits_aside", how=how, options=ONCE))
        assert (task.state, task.attempt) == (State.SUCCESS, 1), how
    assert (await client.ended(neighbour)).attempt == 1
    assert not worker.heard("child.died")
    assert {said["error"] for said in worker.heard("handler.escaped")} >= {
        "SystemExit: a callback",
        "SystemExit: a timer",
    }


async def test_no_child_is_started_for_suspects_of_a_paused_queue(
    services: Services, client: Client
) -> None:
    services.config = replace(services.config, lease_seconds=1.5, heartbeat_seconds=0.4)
    await client.engine.pause("default", paused=True)
    suspect = submission(type="nap", payload=b'{"seconds":0}')
    await client.engine.stores.tasks.submit([suspect], retention_seconds=RETENTION)
    await client.rows("update leaseq.tasks set loss_count = 2")
    await client.engine.stores.dispatcher.push("default", [suspect.task_id], lane=Lane.SUSPECT)
    worker = await rogue(services)
    await asyncio.sleep(3)  # six looks, and twice as long as an idle child lives
    assert not worker.heard("child.started", isolated=True)
    await client.engine.pause("default", paused=False)
    assert (await client.ended(suspect.task_id)).state is State.SUCCESS


async def test_children_that_find_nothing_to_isolate_come_more_and_more_rarely(
    services: Services, client: Client
) -> None:
    """The ledger has the queue paused, and dispatch has lost the flag, as after a FLUSHALL without
    a reaper."""
    services.config = replace(services.config, lease_seconds=1.0, heartbeat_seconds=0.3)
    suspect = submission(type="nap", payload=b'{"seconds":0}')
    await client.engine.stores.tasks.submit([suspect], retention_seconds=RETENTION)
    await client.rows("update leaseq.tasks set loss_count = 2")
    await client.rows("insert into leaseq.queues (name) values ('default') on conflict do nothing")
    await client.rows("update leaseq.queues set paused = true")
    await client.engine.stores.dispatcher.push("default", [suspect.task_id], lane=Lane.SUSPECT)
    worker = await rogue(services)
    await worker.hear("child.started", isolated=True, count=3, timeout=60)
    times = [
        datetime.fromisoformat(said["timestamp"])
        for said in worker.heard("child.started", isolated=True)
    ]
    waits = [(after - before).total_seconds() for before, after in pairwise(times)]
    assert waits[0] >= 2
    assert waits[1] >= 4


Act = Callable[[ChildProcess], None]


def _nothing(child: ChildProcess) -> None:
    """It is left alone."""


def _leave(child: ChildProcess) -> None:
    child.leaving = True


@pytest.mark.parametrize(
    ("isolated", "act", "code", "charged"),
    [
        (True, _nothing, 139, True),
        (True, _nothing, 0, True),
        (True, _nothing, -signal.SIGSEGV, True),
        (True, _nothing, -signal.SIGKILL, True),
        (True, _nothing, -signal.SIGHUP, False),
        (True, _nothing, -signal.SIGTERM, False),
        (False, _nothing, -signal.SIGSEGV, False),
        (True, _leave, 75, False),
        (True, _leave, 1, False),
        (True, lambda child: child.tell(FromSupervisor(drain=0.0)), -signal.SIGKILL, False),
        (
            True,
            lambda child: child.tell(FromSupervisor(lease_lost="closed")),
            -signal.SIGKILL,
            False,
        ),
        (True, lambda child: child.tell(FromSupervisor(renewed_at=1.0)), -signal.SIGSEGV, True),
    ],
)
async def test_which_ends_of_a_child_are_a_crash_of_what_it_ran(
    isolated: bool, act: Act, code: int, charged: bool
) -> None:
    ours, theirs = socket.socketpair()
    spec = ChildSpec(
        worker_id="w", app="", queues=[], concurrency=1, isolated=isolated, renewed_at=0.0
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    child = ChildProcess(spec, process, await Channel.over(ours))
    act(child)
    assert child.crashed(code) is charged
    theirs.close()
    await child.wait()


async def test_a_child_that_was_stopped_is_excused_when_its_loop_stood_still() -> None:
    ours, theirs = socket.socketpair()
    spec = ChildSpec(worker_id="w", app="", queues=[], concurrency=1, isolated=True, renewed_at=0.0)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import time; time.sleep(60)"
    )
    child = ChildProcess(spec, process, await Channel.over(ours))
    send(process.pid, signal.SIGSTOP)
    await asyncio.sleep(0.2)
    child.kill()
    assert await process.wait() == -signal.SIGKILL
    assert not child.crashed(-signal.SIGKILL)
    theirs.close()
    await child.wait()


async def run_suspect(client: Client, task_type: str, **payload: object) -> None:
    """One task under suspicion, to its success."""
    found = submission(type=task_type, payload=msgspec.json.encode(payload))
    await client.engine.stores.tasks.submit([found], retention_seconds=RETENTION)
    await client.rows("update leaseq.tasks set loss_count = 2 where id = %s", found.task_id)
    await client.engine.stores.dispatcher.push("default", [found.task_id], lane=Lane.SUSPECT)
    assert (await client.ended(found.task_id, timeout=60)).state is State.SUCCESS


async def test_an_isolation_child_is_used_again_where_nothing_was_left_behind(
    services: Services, client: Client
) -> None:
    worker = await rogue(services)
    for task_type in ("nap", "writes", "naps_in_a_thread"):
        await run_suspect(client, task_type, seconds=0)
        await run_suspect(client, task_type, seconds=0)
    assert not worker.heard("handler.remained")
    assert not worker.heard("worker.exhausted")


@pytest.mark.parametrize("how", ["timer", "task", "thread", "bare thread", "process"])
async def test_an_isolation_child_in_which_something_was_left_behind_runs_no_other_task(
    services: Services, client: Client, how: str
) -> None:
    worker = await rogue(services)
    await run_suspect(client, "leaves_a_killer", seconds=60, how=how)
    await worker.hear("worker.exhausted", timeout=60)
    await run_suspect(client, "nap", seconds=0)
    assert len(worker.heard("child.started", isolated=True)) == 2
    assert not worker.heard("child.died")


async def test_a_watchdog_of_the_interpreter_ends_with_the_attempt_that_set_it(
    services: Services, client: Client
) -> None:
    """`faulthandler` ends the process from a thread that Python does not list."""
    worker = await rogue(services)
    await run_suspect(client, "leaves_a_killer", seconds=2, how="watchdog")
    await run_suspect(client, "nap", seconds=3)
    assert len(worker.heard("child.started", isolated=True)) == 1
    assert not worker.heard("child.died")


async def test_a_worker_whose_slots_are_all_held_by_threads_that_overran_is_replaced(
    services: Services, client: Client
) -> None:
    worker = await rogue(services, "--concurrency", "2")
    for _ in range(2):
        await client.submit("lingers", seconds=60, options=BRIEF)
    (said,) = await worker.hear("worker.exhausted")
    assert (said["lingering"], said["concurrency"]) == (2, 2)
    task = await client.ended(await client.submit("nap", seconds=0))
    assert (task.state, task.crash_count, task.loss_count) == (State.SUCCESS, 0, 0)
    assert not worker.heard("child.died")


async def test_a_worker_whose_shared_threads_are_all_held_by_calls_that_overran_is_replaced(
    services: Services, client: Client
) -> None:
    worker = await rogue(services, "--concurrency", "2")
    await client.submit("lingers_in_threads", count=THREADS, seconds=60, options=BRIEF)
    await worker.hear("attempt.settled")
    waiting = await client.submit("asks_a_thread")
    (said,) = await worker.hear("worker.exhausted")
    assert (said["lingering"], said["threads"]) == (0, THREADS)
    task = await client.ended(waiting, timeout=60)
    assert (task.state, task.retry_count, task.crash_count, task.loss_count) == (
        State.SUCCESS,
        0,
        0,
        0,
    )
    assert not worker.heard("child.died")


@pytest.mark.parametrize("end", ["child", "supervisor", "drain"])
async def test_processes_of_handlers_do_not_outlive_their_worker(
    services: Services, client: Client, eventually: Callable[..., Any], end: str
) -> None:
    worker = await rogue(services)
    task_id = await client.submit("starts_processes", seconds=60)

    async def told() -> bytes | None:
        return (await client.find(task_id)).progress

    progress = msgspec.json.decode(await eventually(told))
    pids, detached = progress["pids"], progress["detached"]
    assert len(pids) == 4
    assert all(map(lives, [*pids, detached]))
    match end:
        case "child":
            send(worker.children[0], signal.SIGKILL)
        case "supervisor":
            send(worker.pid, signal.SIGKILL)
        case "drain":
            worker.signal(signal.SIGTERM)
            worker.signal(signal.SIGTERM)

    async def gone() -> bool:
        return not any(map(lives, pids))

    try:
        await eventually(gone)
        assert lives(detached), "a session of its own was asked for"
    finally:
        send(detached, signal.SIGKILL)
