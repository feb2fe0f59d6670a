"""The tasks of killed and frozen workers.

Real worker processes, real signals. Times are read from the ledger: from the kill to the start of
the attempt that replaces the lost one (one machine, one clock).
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.dispatch.deliveries import Release
from leaseq.model import Outcome, State, Task
from leaseq_chaos.pace import Pace
from support.client import Client
from support.processes import Services, send

LEASE = 2.0


@pytest.fixture
def config(config: Config) -> Config:
    return replace(config, lease_seconds=LEASE, heartbeat_seconds=0.4, concurrency=20)


def seconds_since(moment: float, task: Task) -> float:
    assert task.started_at is not None
    return (task.started_at - datetime.fromtimestamp(moment, UTC)).total_seconds()


async def test_a_killed_child_loses_no_time(services: Services, client: Client, pace: Pace) -> None:
    """G5: a killed worker process on a living host: its tasks run again in under one second."""
    worker = await services.worker(children=2)
    ids = await client.submit_many("nap", 12, seconds=60)
    await worker.hear("attempt.started", count=12)
    victim = max(worker.children, key=lambda pid: len(worker.heard("task.claimed", pid=pid)))
    held = {line["task_id"] for line in worker.heard("task.claimed", pid=victim)}
    killed_at = time.time()
    send(victim, signal.SIGKILL)
    (death,) = await worker.hear("child.died")
    assert death["pid_of_child"] == victim
    await worker.hear("attempt.started", count=len(held), attempt=2)
    again = [task for task in await client.running(ids) if task.attempt == 2]
    assert (
        {task.task_id for task in again}
        == held
        == {line["task_id"] for line in worker.heard("attempt.reaped")}
    )
    assert max(seconds_since(killed_at, task) for task in again) < 1.0 * pace.slowness
    assert {task.retry_count for task in again} == {0}, "a crash costs no retry"
    await worker.hear("worker.opened", count=3)


async def test_a_lost_host_is_recovered_within_lease_and_two_seconds(
    services: Services, client: Client, pace: Pace
) -> None:
    """G5: supervisor and children die together, as when the host does: within lease + 2 s."""
    await services.reaper()
    lost = await services.worker()
    ids = await client.submit_many("nap", 10, seconds=60)
    await lost.hear("attempt.started", count=10)
    heir = await services.worker()
    killed_at = time.time()
    lost.signal(signal.SIGKILL, children=True)
    await heir.hear("attempt.started", count=10, attempt=2)
    tasks = await client.running(ids)
    assert len(tasks) == 10
    assert max(seconds_since(killed_at, task) for task in tasks) < (LEASE + 2.0) * pace.slowness


async def test_children_without_a_supervisor_hand_back_at_once(
    services: Services, client: Client
) -> None:
    orphaned = await services.worker()
    ids = await client.submit_many("nap", 5, seconds=30)
    await orphaned.hear("attempt.started", count=5)
    orphaned.signal(signal.SIGKILL)
    await orphaned.hear("worker.closed")
    tasks = [await client.find(task_id) for task_id in ids]
    assert {task.state for task in tasks} == {State.PENDING}
    assert {a.outcome for task_id in ids for a in await client.attempts(task_id)} == {
        Outcome.RELEASED
    }


async def test_a_frozen_worker_changes_nothing_when_it_wakes(
    services: Services, client: Client, eventually: Callable[..., Any]
) -> None:
    """G3, G4: SIGSTOP past the lease, SIGCONT: one committed effect, and the stale settle is
    fenced."""
    await services.reaper()
    frozen = await services.worker()
    task_id = await client.submit("hold", seconds=0.3)
    await frozen.hear("attempt.started")
    frozen.signal(signal.SIGSTOP, children=True)
    await services.worker()
    task = await client.ended(task_id)
    assert (task.state, task.attempt) == (State.SUCCESS, 2)
    frozen.signal(signal.SIGCONT, children=True)
    await frozen.hear("attempt.fenced", task_id=task_id, attempt=1)
    assert len(frozen.heard("attempt.fenced")) == 1
    assert await client.effects(task_id) == 1
    assert (await client.find(task_id)).attempt == 2
    # A new worker takes its place, and works.
    await frozen.hear("worker.opened", count=2)


async def test_worker_frozen_for_less_than_a_lease_is_not_reaped(
    services: Services, client: Client
) -> None:
    reaper = await services.reaper()
    worker = await services.worker()
    task_id = await client.submit("hold", seconds=1.5)
    await worker.hear("attempt.started")
    worker.signal(signal.SIGSTOP, children=True)
    await asyncio.sleep(LEASE * 0.5)  # the length of the freeze is the point
    worker.signal(signal.SIGCONT, children=True)
    task = await client.ended(task_id)
    assert (task.state, task.attempt) == (State.SUCCESS, 1)
    assert not reaper.heard("worker.reaped")


async def test_poison_hurts_only_itself(services: Services, client: Client) -> None:
    """G7: quarantined after a few crashes with the evidence; its neighbours are not blamed."""
    worker = await services.worker()
    neighbours = await client.submit_many("nap", 8, seconds=0.2)
    poison = await client.submit("poison")
    later = await client.submit_many("nap", 8, seconds=0.2)
    ended = await client.ended(poison, timeout=120)
    assert ended.state is State.FAILED
    assert ended.error is not None
    assert b"crashed" in ended.error
    await worker.hear("task.failed", task_id=poison, code="crashed")
    assert ended.crash_count == 3
    assert ended.loss_count <= 2
    tasks = await client.all_ended([*neighbours, *later])
    assert {task.state for task in tasks} == {State.SUCCESS}
    assert {task.crash_count for task in tasks} == {0}
    attempts = await client.attempts(poison)
    assert {a.outcome for a in attempts} <= {Outcome.LOST, Outcome.RELEASED}
    assert len(worker.heard("child.died")) <= 5


async def test_blocked_loop_is_ended_and_logged(services: Services, client: Client) -> None:
    services.config = replace(services.config, loop_stall_seconds=1.0)
    worker = await services.worker()
    task_id = await client.submit("block", seconds=60)
    await worker.hear("child.stalled")
    await worker.hear("attempt.reaped", task_id=task_id)


async def test_a_drain_finishes_what_it_can_and_hands_back_the_rest(
    services: Services, client: Client
) -> None:
    """SIGTERM: no new work; running work finishes within the grace period; the rest is handed back
    without a charge."""
    services.config = replace(services.config, grace_seconds=1.0)
    worker = await services.worker()
    short, long = await client.submit("hold", seconds=0.5), await client.submit("hold", seconds=60)
    await worker.hear("attempt.started", count=2)
    worker.signal(signal.SIGTERM)
    await worker.hear("worker.draining")
    late = await client.submit("note")
    assert await worker.ended() == 0
    assert (await client.find(short)).state is State.SUCCESS
    back = await client.find(long)
    assert (back.state, back.retry_count, back.loss_count, back.crash_count) == (
        State.PENDING,
        0,
        0,
        0,
    )
    assert (await client.find(late)).attempt == 0
    depths = await client.engine.stores.lists.depths("default")
    assert depths.waiting == 2
    again = await services.worker()
    await again.hear("attempt.started", task_id=long)
    assert (await client.ended(late)).state is State.SUCCESS


async def test_a_second_sigterm_hurries(services: Services, client: Client) -> None:
    services.config = replace(services.config, grace_seconds=60)
    worker = await services.worker()
    task_id = await client.submit("hold", seconds=60)
    await worker.hear("attempt.started")
    worker.signal(signal.SIGTERM)
    await worker.hear("supervisor.draining")
    worker.signal(signal.SIGTERM)
    assert await worker.ended(timeout=30) == 0
    assert (await client.find(task_id)).state is State.PENDING


async def test_whom_redis_alone_still_names_is_not_blamed(
    services: Services, client: Client
) -> None:
    """Three ran, Redis lost two of them, the process died: the third was not alone."""
    worker = await services.worker()
    ids = await client.submit_many("nap", 3, seconds=60)
    await worker.hear("attempt.started", count=3)
    await asyncio.sleep(0.6)  # three ticks of the child, which tell the supervisor how many run
    (opened,) = worker.heard("worker.opened")
    forgotten = [Release(task_id) for task_id in ids[:2]]
    await client.engine.stores.dispatcher.release(
        "default", forgotten, worker_id=opened["worker_id"]
    )
    send(worker.children[0], signal.SIGKILL)
    await worker.hear("attempt.reaped", task_id=ids[2])
    task = await client.find(ids[2])
    assert (task.crash_count, task.loss_count) == (0, 1)
