"""A supervisor starts, keeps and ends its children in all conditions."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.model import Lane, State
from leaseq.observability.telemetry import recorded
from leaseq.operations.open_engine import open_engine
from leaseq.supervisor.child_process import ChildProcess
from leaseq.supervisor.fleet_metrics import FleetMetrics
from leaseq.supervisor.heartbeat import Heartbeat
from leaseq.supervisor.supervisor import Supervisor, SupervisorSpec
from support.client import Client
from support.ledger import RETENTION, submission
from support.processes import Services, send
from support.proxy import ProxyTo
from support.servers import at
from support.worker import until


async def test_a_grace_longer_than_every_other_time_is_kept(
    services: Services, client: Client
) -> None:
    """Leases are renewed and loops are watched for as long as a draining child lives."""
    services.config = replace(services.config, grace_seconds=30, loop_stall_seconds=1.0)
    reaper = await services.reaper()
    worker = await services.worker()
    task_id = await client.submit("hold", seconds=4)
    await worker.hear("attempt.started")
    worker.signal(signal.SIGTERM)
    assert await worker.ended() == 0
    task = await client.find(task_id)
    assert (task.state, task.attempt) == (State.SUCCESS, 1)
    assert not reaper.heard("worker.suspected")


async def test_a_supervisor_that_stood_still_blames_no_child(
    services: Services, client: Client
) -> None:
    """A suspended machine: all workers were silent, and no loop was blocked."""
    services.config = replace(
        services.config, lease_seconds=10, heartbeat_seconds=0.5, loop_stall_seconds=1.0
    )
    worker = await services.worker()
    task_id = await client.submit("hold", seconds=3)
    await worker.hear("attempt.started")
    worker.signal(signal.SIGSTOP, children=True)
    await asyncio.sleep(2.5)  # the length of the freeze is the point
    worker.signal(signal.SIGCONT, children=True)
    assert (await worker.hear("supervisor.lagged"))[0]["seconds"] >= 2
    task = await client.ended(task_id)
    assert (task.state, task.attempt) == (State.SUCCESS, 1)
    assert not worker.heard("child.stalled")


async def test_a_blocked_loop_does_not_keep_a_supervisor_from_ending(
    services: Services, client: Client
) -> None:
    services.config = replace(services.config, loop_stall_seconds=1.0)
    worker = await services.worker()
    task_id = await client.submit("block", seconds=60)
    await worker.hear("attempt.started")
    worker.signal(signal.SIGTERM)
    assert await worker.ended(timeout=30) == 0
    assert worker.heard("child.stalled")
    assert (await client.find(task_id)).state is State.PENDING


async def test_a_handler_that_cannot_be_ended_does_not_keep_a_child_from_ending(
    services: Services, client: Client
) -> None:
    services.config = replace(services.config, grace_seconds=0.2)
    worker = await services.worker()
    task_id = await client.submit("shrug", seconds=60)
    await worker.hear("attempt.started")
    worker.signal(signal.SIGTERM)
    assert await worker.ended(timeout=30) == 0
    (exited,) = worker.heard("child.exited")
    assert exited["code"] == 0
    assert (await client.find(task_id)).state is State.PENDING


async def test_a_process_that_a_handler_forked_does_not_hide_the_death_of_its_child(
    services: Services, client: Client, eventually: Callable[..., Any]
) -> None:
    worker = await services.worker()
    task_id = await client.submit("fork", seconds=60)

    async def told() -> bytes | None:
        return (await client.find(task_id)).progress

    left_behind = msgspec.json.decode(await eventually(told))["pid"]
    try:
        send(worker.children[0], signal.SIGKILL)
        await worker.hear("attempt.reaped", task_id=task_id)
        await worker.hear("worker.opened", count=2)
    finally:
        send(left_behind, signal.SIGKILL)


async def test_sigterm_to_a_child_alone_changes_nothing(services: Services, client: Client) -> None:
    """A service manager may signal every process of a group; the supervisor is the one that
    decides."""
    worker = await services.worker()
    task_id = await client.submit("hold", seconds=0.5)
    await worker.hear("attempt.started")
    send(worker.children[0], signal.SIGTERM)
    assert (await client.ended(task_id)).attempt == 1
    assert (await client.ended(await client.submit("note"))).state is State.SUCCESS
    assert not worker.heard("worker.draining")


async def test_an_interrupt_of_the_terminal_drains_once(services: Services, client: Client) -> None:
    """A terminal signals the process group in its foreground, in which the children are not."""
    worker = await services.worker(children=2)
    task_id = await client.submit("hold", seconds=0.5)
    await worker.hear("attempt.started")
    os.killpg(worker.pid, signal.SIGINT)
    assert await worker.ended() == 0
    assert (await client.find(task_id)).attempt == 1
    assert len(worker.heard("supervisor.draining")) == 1
    assert len(worker.heard("worker.draining")) == 2
    assert not worker.heard("child.died")


@pytest.fixture
def config(config: Config) -> Config:
    return replace(config, statement_timeout_seconds=2)


async def behind(config: Config, proxy_to: ProxyTo) -> tuple[Services, Any]:
    """Services that reach Postgres through a proxy."""
    assert config.postgres_url is not None
    proxy = await proxy_to(config.postgres_url)
    return Services(at(config, proxy.url)), proxy


async def test_a_postgres_that_takes_no_new_connection_is_waited_for(
    config: Config, client: Client, proxy_to: ProxyTo
) -> None:
    """A child that cannot start for want of it is no broken app: the supervisor does not give
    up."""
    services, proxy = await behind(config, proxy_to)
    try:
        worker = await services.worker()
        proxy.refusing = True
        send(worker.children[0], signal.SIGKILL)
        await worker.hear("child.died", count=5)
        proxy.refusing = False
        await worker.hear("worker.opened", count=2)
        assert (await client.ended(await client.submit("note"))).state is State.SUCCESS
    finally:
        await services.destroy()


async def test_suspects_are_run_after_postgres_was_away_when_they_came(
    config: Config, client: Client, proxy_to: ProxyTo
) -> None:
    services, proxy = await behind(replace(config, lease_seconds=20), proxy_to)
    try:
        worker = await services.worker()
        proxy.refusing = True
        proxy.cut()
        suspect = submission(type="note", payload=b"{}")
        await client.engine.stores.tasks.submit([suspect], retention_seconds=RETENTION)
        await client.rows("update leaseq.tasks set loss_count = 2")
        await client.engine.stores.dispatcher.push("default", [suspect.task_id], lane=Lane.SUSPECT)
        await worker.hear("loop.failed", loop="isolate")
        proxy.refusing = False
        assert (await client.ended(suspect.task_id)).state is State.SUCCESS
    finally:
        await services.destroy()


async def test_drain_blocked_by_postgres_charges_no_task(
    config: Config, client: Client, proxy_to: ProxyTo
) -> None:
    services, proxy = await behind(replace(config, grace_seconds=0.0, lease_seconds=20), proxy_to)
    try:
        worker = await services.worker()
        task_id = await client.submit("nap", seconds=60)
        await worker.hear("attempt.started")
        proxy.freeze()
        worker.signal(signal.SIGTERM)
        await worker.hear("child.died")
        proxy.thaw()
        assert await worker.ended() == 0
        await worker.hear("worker.reaped")
        task = await client.find(task_id)
        assert (task.state, task.crash_count, task.retry_count) == (State.PENDING, 0, 0)
    finally:
        await services.destroy()


async def test_a_machine_that_starts_no_process_for_a_while_is_waited_for(
    config: Config, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = SupervisorSpec(app="apps.probe:app", queues=["default"], concurrency=1, processes=1)
    stores, recovery = client.engine.stores, client.engine.recovery
    supervisor = Supervisor(config, stores, recovery, spec, FleetMetrics())

    async def refuse(spec: object, config: object) -> ChildProcess:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(ChildProcess, "start", refuse)
    with recorded() as events:
        staffing = asyncio.create_task(supervisor._keep_running())
        await until(lambda: any(event.name == "loop.failed" for event in events))
        supervisor.drain()
        await asyncio.wait_for(staffing, 5)


async def test_a_beat_is_proof_from_the_moment_the_renewal_was_sent(
    config: Config, client: Client, proxy_to: ProxyTo
) -> None:
    """Not from the moment the ledger was asked: while that is frozen, three heartbeats to a lease
    would be too few."""
    assert config.postgres_url is not None
    proxy = await proxy_to(config.postgres_url)
    slow = replace(at(config, proxy.url), lease_seconds=3.0, heartbeat_seconds=1.0)
    async with open_engine(slow, name="leaseq test beat") as engine:
        await client.engine.stores.workers.open_worker(
            "w1", host="here", pid=1, queues=["default"], version="0"
        )
        heartbeat = Heartbeat(slow, engine.stores, ["default"])
        await heartbeat.open("w1")
        proxy.freeze()
        asked = time.clock_gettime(time.CLOCK_BOOTTIME)
        verdict = (await heartbeat.beat(["w1"]))["w1"]
        assert verdict.renewed_at is not None
        assert verdict.renewed_at - asked > 0.9 * slow.heartbeat_seconds
        proxy.thaw()
        await heartbeat.aclose()
