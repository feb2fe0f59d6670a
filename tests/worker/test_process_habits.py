"""Handlers that change their process affect no other attempt."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from leaseq.model import State
from leaseq.supervisor.protocol import EXIT_UNCLOSED
from leaseq.worker.process.leftovers import Leftovers
from support.client import Client
from support.processes import Service, Services, send

ONCE = {"max_attempts": 1}
CHANGES = [
    "closes_standard_output",
    "redirects_its_output",
    "closes_its_descriptors",
    "sets_logging_up",
    "changes_the_process",
    "changes_the_interpreter",
    "changes_the_loop",
    "sets_a_task_factory_of_old",
    "sets_a_task_factory_that_raises",
    "ends_what_the_loop_keeps",
    "sets_threads_that_end",
    "sets_a_pool_that_refuses",
    "resets_signals",
    "exhausts_the_stack",
    "uses_processes",
    "reports_often",
    "reports_from_a_thread_of_its_own",
    "forks_in_a_sub_task",
]


async def habitual(services: Services) -> Service:
    """A worker for tests/apps/habits.py, ready."""
    worker = await services.start("worker", "apps.habits:app", "--processes", "1")
    await worker.hear("worker.opened")
    return worker


async def test_handlers_that_change_their_process(
    services: Services, client: Client, tmp_path: Path
) -> None:
    """The app reads and writes values in its own way, too: no statement of leaseq depends on
    `psycopg.adapters`."""
    # On a busy machine a lease of a second may lapse, and none is the subject here.
    services.config = replace(services.config, lease_seconds=30, loop_stall_seconds=30)
    reaper, worker = await services.reaper(), await habitual(services)
    for what in CHANGES:
        file = tmp_path / what
        beside = await client.submit("steps", file=str(file))
        await worker.hear("attempt.started", task_id=beside)
        task = await client.ended(await client.submit("changes", what=what))
        assert (task.state, task.attempt, task.error) == (State.SUCCESS, 1, None), what
        task = await client.ended(beside)
        assert (task.state, task.attempt, task.error) == (State.SUCCESS, 1, None), what
        copies = [pid for pid in file.read_text().split() if pid != str(worker.children[0])]
        assert len(copies) <= 1, "a copy runs at most what was ready in the same turn of the loop"
        inner = await client.ended(msgspec.json.decode(task.result or b""))
        assert inner.result == b"7", "submitted in the transaction, on the connection of the app"
        if what == "resets_signals":
            for number in (signal.SIGTERM, signal.SIGINT):
                send(worker.children[0], number)
    assert not worker.heard("child.died")
    assert not reaper.heard("worker.reaped")


@pytest.mark.parametrize("what", ["soft", "hard", "depth"])
async def test_limits_of_a_handler_do_not_stay_with_its_neighbours(
    services: Services, client: Client, what: str
) -> None:
    """A hard limit can be raised by root alone: elsewhere the worker is replaced."""
    worker = await habitual(services)
    assert (await client.ended(await client.submit("limits", what=what))).state is State.SUCCESS
    (said,) = await worker.hear("handler.limited")
    assert said["limits"] == ["recursion" if what == "depth" else "RLIMIT_NOFILE"]
    if not said["restored"]:
        await worker.hear("worker.opened", count=2)
    for _ in range(2):
        task = await client.ended(await client.submit("opens_a_file", options=ONCE))
        assert (task.state, task.error) == (State.SUCCESS, None)
    # A worker that can open no file may lack the connection in which it would close itself.
    codes = {line["code"] for line in worker.heard("child.died")}
    assert codes <= (set() if said["restored"] else {EXIT_UNCLOSED}), worker.said[-30:]
    assert not worker.heard("attempt.reaped"), "nothing was lost with it"


async def test_a_process_ends_although_its_streams_are_closed_and_a_thread_goes_on(
    services: Services, client: Client
) -> None:
    worker = await habitual(services)
    await client.submit("prints_and_stays", seconds=600, options=ONCE | {"timeout_seconds": 0.2})
    await worker.hear("handler.overran")
    send(worker.pid, signal.SIGTERM)
    assert await worker.ended() == 0
    assert [said["code"] for said in worker.heard("child.exited")] == [0], "nothing had to kill it"


async def test_a_handler_that_cancels_every_task_of_the_process_has_no_neighbour_charged(
    services: Services, client: Client
) -> None:
    worker = await habitual(services)
    beside = await client.submit("naps", seconds=60, options=ONCE)
    await worker.hear("attempt.started", task_id=beside)
    guilty = await client.submit("cancels_everything")
    for task_id in (beside, guilty):
        await worker.hear("attempt.reaped", task_id=task_id)
        task = await client.find(task_id)
        assert (task.retry_count, task.crash_count, task.loss_count, task.error) == (0, 0, 1, None)


def test_an_alarm_or_a_limit_that_a_handler_leaves_is_found() -> None:
    """An isolation child that the kernel ends for one of them would charge the next task."""
    before = Leftovers(())
    signal.setitimer(signal.ITIMER_REAL, 600)
    try:
        assert before.found() == "timer"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert before.found() is None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    try:
        assert before.found() == "limit"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
