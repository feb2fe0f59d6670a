"""The duties run concurrently through failures, and end when stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import msgspec
import pytest
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from leaseq.config import Config
from leaseq.embedded import ValkeyServer
from leaseq.errors import ServerUnreachable
from leaseq.model import State
from leaseq.observability.telemetry import Event, recorded, subscribe
from leaseq.operations.open_engine import open_engine
from leaseq_chaos.pace import Pace
from leaseq_reaper.duty_runner import (
    Duty,
    IntervalTrigger,
    PassRunner,
    repair_after_clock_change,
    run_duties,
)
from leaseq_reaper.sidecar import CLOSE_SECONDS, run
from support.processes import PATIENCE
from support.proxy import ProxyTo
from support.reaper import Stage, named, names
from support.servers import free_port


class Heard:
    """Waits for events."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._more = asyncio.Event()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self._more.set()

    async def until(
        self, done: Callable[[list[Event]], bool], *, seconds: float = PATIENCE
    ) -> None:
        async with asyncio.timeout(seconds):
            while not done(self.events):
                self._more.clear()
                await self._more.wait()


@pytest.fixture
def heard() -> Any:
    listener = Heard()
    unsubscribe = subscribe(listener)
    yield listener
    unsubscribe()


@asynccontextmanager
async def running(config: Config, *, count: int = 1) -> AsyncIterator[asyncio.Event]:
    """Reapers at work; they end with the block."""
    stop = asyncio.Event()
    tasks = [asyncio.create_task(run(config, stop)) for _ in range(count)]
    try:
        yield stop
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def test_a_lost_host_is_noticed_within_a_lease_and_two_seconds(
    config: Config, stage: Stage, heard: Heard, pace: Pace
) -> None:
    async with running(config, count=2):
        await heard.until(lambda events: names(events).count("reaper.started") == 2)
        (task_id,) = await stage.submit()
        worker_id = await stage.worker()
        await stage.take(worker_id)
        for _ in range(5):
            await stage.alive(worker_id)
            await asyncio.sleep(0.2)
        died = monotonic()
        await heard.until(lambda events: "attempt.reaped" in names(events))
        assert monotonic() - died < (config.lease_seconds + 2) * pace.slowness
    assert (await stage.task(task_id)).state is State.PENDING
    assert len(await stage.losses()) == 1
    assert names(heard.events).count("loop.failed") == 0


async def test_all_duties_are_done_again_and_again(
    config: Config, stage: Stage, heard: Heard
) -> None:
    async with running(config):
        await heard.until(lambda events: "reaper.started" in names(events))
        stranded = await stage.submit(push=False)
        await heard.until(lambda events: "task.redispatched" in names(events))
        await stage.submit(delay_seconds=0.3, push=False, quiet=False)
        await heard.until(lambda events: "task.promoted" in names(events))
        again = await stage.submit(push=False)
        await heard.until(lambda events: names(events).count("task.redispatched") == 2)
    assert set(stranded + again) <= set(await stage.lane())


async def test_redis_outage_is_logged_once_and_survived(
    config: Config, own_valkey: ValkeyServer, stage: Stage, heard: Heard
) -> None:
    config = msgspec.structs.replace(config, redis_url=own_valkey.url)
    await stage.worker()  # whose lease the reaper watches
    async with open_engine(config) as engine, running(config):
        await heard.until(lambda events: "reaper.started" in names(events))
        own_valkey.kill()
        (task_id,) = await stage.submit(push=False)

        def failing(events: list[Event]) -> bool:
            return {fields["loop"] for fields in named(events, "loop.failed")} == {
                "reap",
                "reconcile",
                "refill",
            }

        await heard.until(failing)
        await asyncio.sleep(10 * config.reap_interval_seconds)
        assert names(heard.events).count("loop.failed") == 3
        own_valkey.start()
        await heard.until(
            lambda events: {"task.redispatched", "reaper.quieted"} <= set(names(events))
        )
        assert await engine.stores.lists.waiting("default", among={task_id}) == {task_id}


async def test_reaper_waits_for_servers_that_are_away(config: Config, heard: Heard) -> None:
    url = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    async with running(msgspec.structs.replace(config, postgres_url=url)):
        await heard.until(lambda events: "loop.failed" in names(events))
    assert "reaper.started" not in names(heard.events)


async def test_a_frozen_redis_does_not_hold_up_the_end(
    config: Config, own_valkey: ValkeyServer, heard: Heard, pace: Pace
) -> None:
    config = msgspec.structs.replace(config, redis_url=own_valkey.url)
    async with running(config) as stop:
        await heard.until(lambda events: "reaper.started" in names(events))
        os.kill(own_valkey.pid or 0, signal.SIGSTOP)
        await asyncio.sleep(3 * config.reconcile_interval_seconds)
        began = monotonic()
        stop.set()
    assert monotonic() - began < 1.5 * pace.slowness
    assert names(heard.events)[-1] == "reaper.stopped"


async def test_a_frozen_postgres_does_not_hold_up_the_end(
    config: Config, proxy_to: ProxyTo, heard: Heard, pace: Pace
) -> None:
    proxy = await proxy_to(str(config.postgres_url))
    async with running(msgspec.structs.replace(config, postgres_url=proxy.url)) as stop:
        await heard.until(lambda events: "reaper.started" in names(events))
        await asyncio.sleep(3 * config.reconcile_interval_seconds)
        proxy.freeze()
        await asyncio.sleep(3 * config.reconcile_interval_seconds)
        began = monotonic()
        stop.set()
    assert monotonic() - began < 2.5 * pace.slowness


async def test_the_process_ends_soon_after_sigterm(config: Config, stage: Stage) -> None:
    env = os.environ | {
        "LEASEQ_POSTGRES_URL": str(config.postgres_url),
        "LEASEQ_REDIS_URL": str(config.redis_url),
        "LEASEQ_LOG_FORMAT": "json",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "leaseq", "reaper", env=env, stderr=asyncio.subprocess.PIPE
    )
    try:
        assert process.stderr is not None
        event = "server.doubted"  # tests connect as the superuser of their server
        while event == "server.doubted":
            event = msgspec.json.decode(await process.stderr.readline())["event"]
        assert event == "reaper.started"
        began = monotonic()
        process.send_signal(signal.SIGTERM)
        said = await process.stderr.read()
        assert await process.wait() == 0
        assert monotonic() - began < 10 + 3 * CLOSE_SECONDS, (
            "it hung; on an idle machine this takes half a second"
        )
        assert [msgspec.json.decode(text)["event"] for text in said.splitlines()] == [
            "reaper.stopped"
        ]
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_trouble_is_logged_once_until_it_is_over() -> None:
    troubles: list[Exception | None] = [
        ServerUnreachable("a"),
        ValueError("b"),
        None,
        ServerUnreachable("c"),
    ]

    async def run_once() -> None:
        if (trouble := troubles.pop(0)) is not None:
            raise trouble

    passes, duty = PassRunner(), Duty("reap", 1.0, run_once)
    with recorded() as events:
        while troubles:
            await passes.start(duty)
    assert [fields["error"] for fields in named(events, "loop.failed")] == ["a", "c"]


async def test_a_pass_is_one_task() -> None:
    """The executor that comes with APScheduler makes two, and an idle fleet begins ten passes a
    second."""
    stop, tasks = asyncio.Event(), 0

    async def run_once() -> None:
        nonlocal tasks
        tasks = len(asyncio.all_tasks())
        stop.set()

    before = len(asyncio.all_tasks())
    await run_duties([Duty("reap", 0.01, run_once)], stop)
    assert tasks == before + 1


async def test_a_pass_that_does_not_end_in_time_is_cancelled() -> None:
    cancelled = asyncio.Event()

    async def never() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    passes = PassRunner()
    pass_ = passes.start(Duty("reap", 1.0, never))
    await asyncio.sleep(0)
    await passes.stop()
    assert pass_.cancelled()
    assert cancelled.is_set()


def test_missed_times_are_not_made_up_for_after_a_clock_was_set_forward() -> None:
    then, now = datetime(1970, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
    trigger = IntervalTrigger(0.1)
    assert timedelta(0) < trigger.get_next_fire_time(then, now) - now <= timedelta(seconds=0.11)
    assert trigger.get_next_fire_time(None, now) - now <= timedelta(seconds=0.1)


def test_a_duty_that_finds_nothing_to_do_comes_later() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    slack = 1.0
    trigger = IntervalTrigger(10.0, lambda: slack)
    assert trigger.get_next_fire_time(now, now) - now <= timedelta(seconds=11)
    slack = 5.0
    assert trigger.get_next_fire_time(now, now) - now >= timedelta(seconds=45)


async def test_duties_come_back_after_a_clock_was_set_back() -> None:
    ran = asyncio.Event()

    async def run_once(_: Duty) -> None:
        ran.set()

    duty = Duty("reap", 0.5, lambda: asyncio.sleep(0))
    scheduler = AsyncIOScheduler(timezone=UTC)
    an_hour_ahead = datetime.now(UTC) + timedelta(hours=1)
    scheduler.add_job(
        run_once, IntervalTrigger(0.5), args=[duty], id="reap", next_run_time=an_hour_ahead
    )
    scheduler.start()
    try:
        repair_after_clock_change(scheduler, [duty])
        async with asyncio.timeout(60):
            await ran.wait()
    finally:
        scheduler.shutdown(wait=False)
        await asyncio.sleep(0)
