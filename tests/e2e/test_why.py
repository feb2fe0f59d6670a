"""Every way of asking explains situations that really happen in the same words."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import redis.asyncio
from msgspec.structs import replace

from leaseq import Leaseq
from leaseq.config import Config
from leaseq.embedded import PostgresServer, ValkeyServer
from leaseq.ledger.operation_log import Actor
from leaseq.operations.open_engine import open_engine
from support.askers import Askers, start_api
from support.client import EFFECTS, Client
from support.processes import Service, Services
from support.servers import at, prepare

OPERATOR = Actor(name="ada", key_id=None, tenant=None)


@pytest.fixture
def config(config: Config) -> Config:
    """Workers count as silent after half a minute, so that a slow machine makes none of them so. A
    task that was handed back twice stays so while it is asked about."""
    return replace(
        config,
        lease_seconds=60.0,
        heartbeat_seconds=2.0,
        hand_back_base_seconds=600.0,
        hand_back_cap_seconds=600.0,
    )


@asynccontextmanager
async def asking(config: Config, services: Services) -> AsyncIterator[Askers]:
    """All ways to ask, through one API process."""
    api = await start_api(services)
    async with Leaseq(config) as app:
        yield Askers(config, api, app)


@contextmanager
def frozen(worker: Service) -> Iterator[None]:
    """Stop a supervisor and all its processes within the block."""
    worker.signal(signal.SIGSTOP, children=True)
    try:
        yield
    finally:
        worker.signal(signal.SIGCONT, children=True)


@pytest.mark.slow("a dozen processes of the command line")
async def test_a_deployment_in_which_nothing_runs(
    config: Config, services: Services, client: Client
) -> None:
    async with asking(config, services) as askers:
        due = await client.submit("note", options={"delay_seconds": 0.01})
        answer = await askers.until(due, "due_no_reaper")
        assert (answer.code, answer.why.next) == (1, "nothing, until a reaper is started")
        assert "services no reaper has announced itself" in answer.evidence

        delayed = await client.submit("note", options={"delay_seconds": 3600.0})
        answer = await askers.until(delayed, "delayed")
        assert answer.code == 0
        assert answer.why.next_at == (await client.find(delayed)).run_at

        waits = await client.submit("note", options={"queue": "mail"})
        answer = await askers.until(waits, "queue_unserved")
        assert answer.code == 1
        assert answer.why.sentence.endswith("no worker serves queue mail: no worker is open.")

        operator = client.engine.as_operator(OPERATOR)
        await operator.pause("mail", reason="deploy")
        answer = await askers.until(waits, "queue_paused")
        assert answer.code == 1
        assert "queue mail was paused by ada at " in answer.why.sentence
        assert answer.why.sentence.endswith(": deploy.")
        await operator.resume("mail")

        await operator.cancel(waits)
        answer = await askers.until(waits, "cancelled")
        assert (answer.code, answer.why.needs_person) == (1, False)
        assert answer.why.sentence == "It was cancelled by ada before it ran."


async def test_a_reaper_that_stops_or_is_killed_becomes_a_fact(
    config: Config, services: Services, client: Client
) -> None:
    async with asking(config, services) as askers:
        delayed = await client.submit("note", options={"delay_seconds": 3600.0})
        reaper = await services.reaper()
        await askers.until_fact(delayed, "services 1 reaper, last seen")
        reaper.signal(signal.SIGTERM)
        await reaper.ended()
        await askers.until_fact(delayed, "services no reaper: the last one")
        answer = await askers.ask(delayed)
        assert f"pid {reaper.pid}) stopped at" in answer.evidence

        killed = await services.reaper()
        await askers.until_fact(delayed, "services 1 reaper, last seen")
        killed.signal(signal.SIGKILL)
        await killed.ended()
        await client.rows(  # half a minute later
            "update leaseq.services set last_seen = last_seen - interval '31 s'"
        )
        answer = await askers.ask(delayed)
        assert f"pid {killed.pid}) was last seen at" in answer.evidence
        await client.rows("update leaseq.scheduled set run_at = now()")
        await client.rows("update leaseq.tasks set run_at = now()")
        assert (await askers.until(delayed, "due_no_reaper")).code == 1


@pytest.mark.slow("a dozen processes of the command line")
async def test_a_worker_whose_only_slot_is_taken(
    config: Config, services: Services, client: Client
) -> None:
    narrow = replace(config, dispatch_window=10)
    services.config = narrow
    async with asking(narrow, services) as askers:
        worker = await services.worker("--concurrency", "1", "--queues", "default")
        holder = await client.submit("doze", seconds=600)
        await worker.hear("attempt.started", task_id=holder)
        answer = await askers.until(holder, "running")
        assert (answer.code, answer.why.next) == (0, "its end, or its time-out")

        waits = await client.submit("note")
        answer = await askers.until(waits, "in_lane")
        assert answer.code == 0
        assert "lane normal of queue default" in answer.why.sentence
        assert "dispatch in lane normal, 0 before it" in answer.evidence

        misspelt = await client.submit("noet")
        answer = await askers.until(misspelt, "type_unknown")
        assert answer.code == 1
        assert "check the name: workers know note" in answer.why.actions

        async with open_engine(narrow, name="leaseq test window") as engine:
            for _ in range(12):
                behind = await Client(engine, narrow).submit("note")
        answer = await askers.until(behind, "backlogged")
        assert answer.code == 1, "no reaper refills the lane"
        assert answer.why.next == "nothing, until a reaper is started"

        assert config.redis_url is not None
        async with redis.asyncio.Redis.from_url(config.redis_url) as wiper:
            await wiper.flushall()
        answer = await askers.until(waits, "undelivered")
        assert (answer.code, answer.why.next) == (1, "nothing, until a reaper is started")
        await services.reaper()
        assert (await askers.until(waits, "in_lane")).code == 0

        # A worker that does not see the request for a moment.
        with frozen(worker):
            await client.engine.as_operator(OPERATOR).cancel(holder)
            answer = await askers.until(holder, "cancel_asked")
        assert answer.code == 0
        assert "which was asked by ada at" in answer.why.sentence


@pytest.mark.slow("a dozen processes of the command line")
async def test_a_task_that_waits_for_its_next_attempt(
    config: Config, services: Services, client: Client
) -> None:
    async with asking(config, services) as askers:
        await services.reaper()
        worker = await services.worker()
        task_id = await client.submit("later", delay=3600.0)
        await worker.hear("attempt.settled", task_id=task_id)
        answer = await askers.until(task_id, "backing_off")
        assert answer.code == 0
        assert answer.why.sentence.endswith(": attempt 1 did not succeed: Retry: not yet.")
        assert answer.why.next_at == (await client.find(task_id)).run_at

        unknown = await client.submit("noet")
        await worker.hear("attempt.settled", task_id=unknown)
        answer = await askers.until(unknown, "handed_back")
        assert answer.code == 1
        done = await client.submit("nap", seconds=0)
        await client.ended(done)
        assert (await askers.until(done, "succeeded")).code == 0
        refused = await client.submit("refuse", reason="no cards left")
        await client.ended(refused)
        answer = await askers.until(refused, "failed")
        assert answer.code == 1
        assert "its handler gave up, and no retry can change that" in answer.why.sentence
        assert "no cards left" in answer.why.sentence


async def test_a_frozen_worker(config: Config, services: Services, client: Client) -> None:
    brief = replace(config, lease_seconds=8.0)
    services.config = brief
    async with asking(brief, services) as askers:
        worker = await services.worker()
        task_id = await client.submit("nap", seconds=600)
        await worker.hear("attempt.started", task_id=task_id)
        with frozen(worker):
            answer = await askers.until(task_id, "worker_silent")
            assert answer.code == 1
            assert answer.why.next == "nothing, until the worker goes on, or a reaper is started"
            waits = await client.submit("nap", seconds=0)
            assert (await askers.until(waits, "servers_silent")).code == 1
            # The reaper takes the task back, and no other worker is there.
            await services.reaper()
            answer = await askers.until(task_id, "queue_unserved")
            assert f"supervisor {worker.pid}) served it last" in answer.evidence


async def test_redis_away(
    config: Config, own_postgres: PostgresServer, own_valkey: ValkeyServer
) -> None:
    await prepare(own_postgres.url)
    own = replace(at(config, own_postgres.url), redis_url=own_valkey.url)
    services = Services(own)
    try:
        async with open_engine(own, name="leaseq test client") as engine:
            client = Client(engine, own)
            await client.rows(EFFECTS)
            async with asking(own, services) as askers:
                await services.worker()
                own_valkey.kill()
                task_id = await client.submit("note")
                answer = await askers.until(task_id, "dispatch_away")
                assert (answer.code, answer.why.next) == (1, "nothing, until Redis answers again")
                await services.reaper()
                own_valkey.start()
                await client.ended(task_id)
                assert (await askers.until(task_id, "succeeded")).code == 0
    finally:
        await services.destroy()
