"""Lists use separate connections, so they cannot starve submissions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median

import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.connections.postgres_connection import Connection
from leaseq.ledger.statements import STATEMENTS
from leaseq.operations import lists
from leaseq_chaos.pace import Pace
from support.api import Api, problem
from support.worker import until

CLIENTS = 24
TASKS = 60_000
# A list that takes a while, in place of one over a million tasks.
SLOW_SECONDS = 0.4
SLOW = f"select null::text as cursor, null::text as task_id from pg_sleep({SLOW_SECONDS}) where %(cursor)s::uuid is null"
LISTS = (
    "/api/tasks?type=unheard.of",
    "/api/tasks?state=FAILED&limit=200",
    "/api/tasks?queue=unheard.of",
)
LEAST_SUBMISSIONS = 10
FILL = """
insert into leaseq.tasks (id, tenant, queue, type, state, payload, max_attempts, timeout_seconds, run_at, finished_at, result)
select gen_random_uuid(), 'default', 'default', 'add', 'SUCCESS', '{}', 5, 60, now(), now(), '1' from generate_series(1, %s)
"""


@pytest.fixture
def config(config: Config) -> Config:
    """On a busy machine a list may take seconds."""
    return replace(config, statement_timeout_seconds=20)


@asynccontextmanager
async def listing(api: Api, *paths: str) -> AsyncIterator[list[int]]:
    """So many clients that do nothing but list; the statuses of their answers."""
    statuses: list[int] = []

    async def client(number: int) -> None:
        while True:
            answer = await api.client.get(paths[number % len(paths)])
            statuses.append(answer.status_code)
            if answer.status_code == 503:
                assert answer.headers["Retry-After"] == "1"
                # The latter is a list that its own time-out has ended, on a busy machine.
                assert answer.json()["code"] in ("lists_busy", "server_unreachable")

    running = [asyncio.create_task(client(number)) for number in range(CLIENTS)]
    try:
        yield statuses
    finally:
        for task in running:
            task.cancel()
        ended = await asyncio.gather(*running, return_exceptions=True)
        assert [error for error in ended if not isinstance(error, asyncio.CancelledError)] == []


async def submission(api: Api) -> float:
    """One submission; its seconds."""
    began = time.monotonic()
    await api.submitted()
    return time.monotonic() - began


async def test_lists_that_take_long_delay_no_submission(
    api: Api, pace: Pace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "WAIT_SECONDS", SLOW_SECONDS)
    await api.submitted()
    for name in ("list_tasks", "list_dead_letters"):
        monkeypatch.setitem(STATEMENTS, name, SLOW)
    async with listing(api, "/api/tasks") as statuses:
        took, ready = list[float](), list[int]()
        while len(statuses) < 2 * lists.SHARE or len(took) < LEAST_SUBMISSIONS:
            took.append(await submission(api))
            ready.append((await api.client.get("/health/ready")).status_code)
        # One answer may be slow on a busy machine. If they waited for lists, each would be.
        assert median(took) < SLOW_SECONDS * pace.slowness
        assert ready.count(200) > len(ready) / 2
        await until(lambda: {200, 503} <= set(statuses), seconds=30 * pace.slowness)


async def test_submissions_stay_fast_beside_many_clients_that_list(
    api: Api, plain: Connection, pace: Pace
) -> None:
    await plain.execute(FILL.encode(), [TASKS])
    await plain.execute("analyze leaseq.tasks")
    await api.submitted()
    async with listing(api, *LISTS) as statuses:
        while len(statuses) < CLIENTS:
            await submission(api)
        took = [await submission(api) for _ in range(2 * LEAST_SUBMISSIONS)]
        assert median(took) < 1.0 * pace.slowness
    assert set(statuses) <= {200, 503}


async def test_a_list_is_ended_by_its_own_time_out(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("list_tasks", "list_dead_letters"):
        monkeypatch.setitem(STATEMENTS, name, SLOW.replace(str(SLOW_SECONDS), "60"))
    began = time.monotonic()
    problem(await api.client.get("/api/tasks"), "server_unreachable")
    assert time.monotonic() - began < 50
