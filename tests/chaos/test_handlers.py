"""The handlers of the workload behave as named, and record it.

Real workers and a real API: what the clients and handlers note here is what checkers will read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import psycopg
import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.ledger.roles import HANDLER
from leaseq.model import State, Task
from leaseq_chaos.cluster.stores import Postgres
from leaseq_chaos.history import Event, Kind, read_history
from leaseq_chaos.scenario import Scenario
from leaseq_chaos.statements import STATEMENTS
from leaseq_chaos.workload.accounts import prepare
from leaseq_chaos.workload.clients import Clients
from leaseq_chaos.workload.plan import make_plan
from support.client import Client
from support.processes import Service, Services
from support.servers import admin_url

ACCOUNTS, CENTS = 5, 1_000
APP = "leaseq_chaos.handlers:app"


class Direct:
    """Sends statements the way the cluster's Postgres does, to the Postgres of the tests."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def fetch(self, name: str, params: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as conn:
            cursor = await conn.execute(STATEMENTS[name].encode(), params)
            return await cursor.fetchall() if cursor.description else []


@pytest.fixture
def config(config: Config) -> Config:
    return replace(config, loop_stall_seconds=1)


@pytest.fixture
async def accounts(config: Config) -> Direct:
    direct = Direct(admin_url(config))
    await prepare(cast(Postgres, direct), accounts=ACCOUNTS, cents=CENTS)
    async with await psycopg.AsyncConnection.connect(admin_url(config), autocommit=True) as admin:
        for right in (
            "usage on schema chaos",
            "select, insert, update on all tables in schema chaos",
        ):
            await admin.execute(f"grant {right} to {HANDLER}".encode())
    return direct


async def start_worker(services: Services, history: Path, *, children: int = 1) -> Service:
    env = {"LEASEQ_CHAOS_HISTORY": str(history)}
    worker = await services.start("worker", APP, "--processes", str(children), **env)
    await worker.hear("worker.opened", count=children)
    return worker


async def effects(direct: Direct) -> dict[str, list[int]]:
    """The attempts that left a row, by task."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for task, attempt, *_ in await direct.fetch("list_effects"):
        found[str(task)].append(attempt)
    return found


def runs(events: Sequence[Event], task: Task) -> list[tuple[str, int | None]]:
    return [(e.kind.value, e.attempt) for e in events if e.op == "run" and e.task == task.task_id]


async def test_well_behaved_handlers(
    services: Services, client: Client, accounts: Direct, tmp_path: Path
) -> None:
    worker = await start_worker(services, tmp_path / "history")
    await services.reaper()
    ids = [
        await client.submit("transfer", source=1, target=2, cents=100),
        await client.submit("transfer", source=2, target=1, cents=30),
        await client.submit("thread", source=3, target=2, cents=7),
        await client.submit("note", n=1),
        await client.submit("later", n=1),
        await client.submit("slow", seconds=0.1),
        await client.submit("flaky", failures=2),
        await client.submit("plain", n=1),
        await client.submit("refuse"),
        await client.submit("hang", options={"max_attempts": 2, "timeout_seconds": 0.2}),
    ]
    tasks = await client.all_ended(ids)
    ends = [(task.type, task.state) for task in tasks]
    assert ends == [
        ("transfer", State.SUCCESS),
        ("transfer", State.SUCCESS),
        ("thread", State.SUCCESS),
        ("note", State.SUCCESS),
        ("later", State.SUCCESS),
        ("slow", State.SUCCESS),
        ("flaky", State.SUCCESS),
        ("plain", State.SUCCESS),
        ("refuse", State.FAILED),
        ("hang", State.FAILED),
    ]
    flaky, plain, refuse, hang = tasks[6:]
    assert flaky.attempt == 3
    assert await effects(accounts) == {task.task_id: [task.attempt] for task in tasks[:7]}
    assert await accounts.fetch("sum_accounts") == [(ACCOUNTS * CENTS,)]
    balances = await client.rows("select cents from chaos.accounts order by id")
    assert [cents for (cents,) in balances] == [930, 1077, 993, 1000, 1000]

    worker.process.terminate()
    await worker.ended()
    events = read_history(tmp_path / "history")
    assert runs(events, tasks[0]) == [("invoke", 1), ("ok", 1)]
    assert runs(events, tasks[2]) == [("invoke", 1), ("ok", 1)], "in a thread, too"
    assert runs(events, flaky) == [
        ("invoke", 1),
        ("fail", 1),
        ("invoke", 2),
        ("fail", 2),
        ("invoke", 3),
        ("ok", 3),
    ]
    assert runs(events, refuse) == [("invoke", 1), ("fail", 1)]
    assert runs(events, hang) == [("invoke", 1), ("info", 1), ("invoke", 2), ("info", 2)]
    assert [(e.kind, e.task, e.attempt) for e in events if e.op == "effect"] == [
        (Kind.OK, plain.task_id, 1)
    ]
    (pid,) = {e.value["worker_pid"] for e in events if e.op == "run" and e.kind is Kind.INVOKE}
    assert all(e.process.startswith(f"handler-{pid}-") for e in events)
    assert {e.value["type"] for e in events if e.op == "run" and e.kind is Kind.INVOKE} == {
        task.type for task in tasks
    }


@pytest.mark.parametrize("poison", ["segfault", "bomb", "block"])
async def test_poison_ends_as_crashed(
    services: Services, client: Client, accounts: Direct, tmp_path: Path, poison: str
) -> None:
    await start_worker(services, tmp_path / "history")
    await services.reaper()
    payload = {"seconds": 4.0} if poison == "block" else {}
    options = {"idempotency_key": f"poison-{poison}"}
    task = await client.ended(await client.submit(poison, options=options, **payload))
    assert task.state is State.FAILED
    assert task.error is not None
    assert msgspec.json.decode(task.error)["code"] == "crashed"
    events = read_history(tmp_path / "history")
    assert runs(events, task) == [("invoke", attempt) for attempt in range(1, task.attempt + 1)]
    assert len({e.process for e in events}) == task.attempt, "each in a process of its own"


async def test_without_the_variable_there_is_no_history(
    services: Services, client: Client, accounts: Direct
) -> None:
    worker = await services.start("worker", APP)
    await worker.hear("worker.opened")
    task = await client.ended(await client.submit("note", n=1))
    assert task.state is State.SUCCESS
    assert await effects(accounts) == {task.task_id: [1]}


@pytest.mark.slow("four seconds of workload through five processes")
async def test_a_planned_workload_through_two_apis(
    services: Services, client: Client, accounts: Direct, config: Config, tmp_path: Path
) -> None:
    """The whole of it, undisturbed: everything is acknowledged, one key is one task, and all ends
    as its type says."""
    await start_worker(services, tmp_path, children=2)
    await services.reaper()
    urls = [await start_api(services) for _ in range(2)]
    mix = {
        "note": 3.0,
        "transfer": 3.0,
        "plain": 2.0,
        "flaky": 1.0,
        "later": 1.0,
        "thread": 1.0,
        "slow": 0.5,
        "refuse": 0.5,
    }
    scenario = Scenario(name="calm", about="", nemeses={}, mix=mix, tasks_per_second=40, clients=6)
    clients = Clients(urls, history=tmp_path, keys={})
    await clients.start(make_plan(scenario, seed=5, seconds=4, accounts=ACCOUNTS))
    assert await clients.finish(patience=20)
    counts = clients.counts
    events = read_history(tmp_path)
    submits = [e for e in events if e.op == "submit" and e.kind is not Kind.INVOKE]
    unexpected = [
        e for e in submits if e.kind is not Kind.OK and e.value.get("code") not in OTHER_BODY
    ]
    assert not unexpected
    tasks_of: defaultdict[str | None, set[str | None]] = defaultdict(set)
    for event in submits:
        if event.kind is Kind.OK and event.key is not None:
            tasks_of[event.key].add(event.task)
    assert {len(tasks) for tasks in tasks_of.values()} == {1}
    assert counts.replayed > 0
    assert counts.submitted > 100
    ids = sorted({event.task for event in submits if event.task is not None})
    tasks = await client.all_ended(ids)
    assert not [task for task in tasks if task.state is State.FAILED and task.type != "refuse"]
    done = {t.task_id: [t.attempt] for t in tasks if t.state is State.SUCCESS and t.type != "plain"}
    assert await effects(accounts) == done
    assert await accounts.fetch("sum_accounts") == [(ACCOUNTS * CENTS,)]


OTHER_BODY = {"idempotency_key_reused", "idempotency_in_flight"}


async def start_api(services: Services) -> str:
    api = await services.start("api", "--port", "0")
    (said,) = await api.hear("api.started")
    return f"http://127.0.0.1:{said['port']}"
