"""A process that restarts after a failover refuses the old primary."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import msgspec
import psycopg
import pytest
import redis.asyncio
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.connections.primary import _timelines
from leaseq.errors import ServerUnreachable
from leaseq.operations.open_engine import open_engine
from leaseq.server_checks.startup import require_usable_servers
from support.ledger import submission
from support.processes import PATIENCE, TESTS, Services, environment
from support.servers import Pair, at, free_port

LEDGER = "leaseq:ledger"


@pytest.fixture
def old(config: Config, pair: Pair) -> Config:
    """The configuration of a process that is given the address of the first primary only."""
    return replace(
        at(config, pair.primary.url), statement_timeout_seconds=3, reconcile_interval_seconds=0.2
    )


@pytest.fixture
def new(old: Config, pair: Pair) -> Config:
    """The configuration of a process that is given the address of the second primary only."""
    return at(old, pair.standby.url)


@pytest.fixture
async def dispatch(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def forget() -> Callable[[], None]:
    """Let this process know no more of timelines than one that starts."""
    return _timelines.clear


@pytest.fixture
async def services(old: Config) -> AsyncIterator[Services]:
    started = Services(old)
    yield started
    await started.destroy()


async def promote(pair: Pair, new: Config) -> None:
    """Promote the standby, and let one process see it: this one, until it closes."""
    pair.standby.promote()
    async with open_engine(new):
        pass


async def check(config: Config) -> dict[str, Any]:
    """The output of `leaseq check` in a separate process."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "leaseq", "check", "--json"),
        env=environment(config),
        cwd=TESTS,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    said, _ = await process.communicate()
    return dict(msgspec.json.decode(said))


@pytest.mark.slow("three programs against a pair of servers")
async def test_a_check_names_the_old_primary(old: Config, new: Config, pair: Pair) -> None:
    async with open_engine(old):
        pass
    assert (await check(old))["ok"]
    await promote(pair, new)
    (finding,) = [finding for finding in (await check(old))["findings"] if finding["fatal"]]
    assert (
        "is an old primary, on timeline 1 where timeline 2 is known: stop that server"
        in finding["message"]
    )
    assert (await check(new))["ok"]


@pytest.mark.slow("a pair of servers for each service")
@pytest.mark.parametrize("service", ["api", "reaper", "worker"])
async def test_a_service_does_not_start_on_the_old_primary(
    old: Config, new: Config, pair: Pair, services: Services, service: str
) -> None:
    await promote(pair, new)
    arguments = {"api": ["--port", str(free_port())], "worker": ["apps.probe:app"], "reaper": []}[
        service
    ]
    started = await services.start(service, *arguments)
    assert await started.ended() == 5
    assert any("is an old primary" in line for line in started.other)


async def test_a_client_does_not_open_on_the_old_primary(
    old: Config, new: Config, pair: Pair, forget: Callable[[], None]
) -> None:
    await promote(pair, new)
    forget()
    with pytest.raises(ServerUnreachable, match="is an old primary"):
        async with open_engine(old):
            pass


async def test_of_two_hosts_a_process_that_starts_takes_the_new_primary(
    old: Config, new: Config, pair: Pair, forget: Callable[[], None]
) -> None:
    await promote(pair, new)
    both = at(old, pair.both(first="primary"))
    forget()
    await require_usable_servers(both)
    forget()
    async with open_engine(both) as engine:
        accepted = (await engine.submit(submission())).task_id
    async with await psycopg.AsyncConnection.connect(pair.standby.url) as conn:
        found = await conn.execute("select count(*) from leaseq.tasks where id = %s", (accepted,))
        assert await found.fetchone() == (1,)


@pytest.mark.slow("a failover while a service runs")
async def test_a_running_process_that_reaches_only_the_old_primary_leaves_it(
    new: Config, pair: Pair, services: Services, eventually: Callable[..., Any]
) -> None:
    port = free_port()
    api = await services.start("api", "--port", str(port))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:

        async def answers(code: int) -> bool:
            try:
                return (await client.get("/health/ready")).status_code == code
            except httpx.HTTPError:
                return False

        await eventually(lambda: answers(200))
        await promote(pair, new)
        (left,) = await api.hear("ledger.left")
        assert "older timeline than 2" in left["reason"]
        await eventually(lambda: answers(503))


async def test_timeline_that_redis_lost_is_written_again(
    new: Config, pair: Pair, dispatch: redis.asyncio.Redis, eventually: Callable[..., Any]
) -> None:
    async def known() -> bool:
        return bool(await dispatch.hget(LEDGER, "timeline") == "2")

    pair.standby.promote()
    async with open_engine(new):
        assert await known()
        await dispatch.flushall()
        await eventually(known)
        await dispatch.hset(LEDGER, "timeline", "nonsense")
        await eventually(known)


@pytest.mark.slow("a failover and back")
async def test_an_operator_who_goes_back_deletes_what_is_known(
    old: Config, new: Config, pair: Pair, dispatch: redis.asyncio.Redis
) -> None:
    """The command is the one of docs/operations.md, after all processes have ended."""
    await promote(pair, new)
    assert not (await check(old))["ok"]
    await dispatch.hdel(LEDGER, "system", "timeline")
    assert (await check(old))["ok"]


async def test_a_timeline_of_another_system_is_no_objection(
    old: Config, dispatch: redis.asyncio.Redis, eventually: Callable[..., Any]
) -> None:
    """The ledger was moved by a dump or by pg_upgrade: its system is a new one, whose timelines
    begin at 1."""
    async with open_engine(old):
        system = await dispatch.hget(LEDGER, "system")
    await dispatch.hset(LEDGER, mapping={"system": "another", "timeline": "7"})
    assert (await check(old))["ok"]
    async with open_engine(old):
        assert await dispatch.hmget(LEDGER, ["system", "timeline"]) == [system, "1"]
