"""Routes for operators, and health checks for load balancers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from leaseq.codec import made_at
from leaseq.config import Config
from leaseq.dispatch.dispatcher import Dispatcher
from leaseq.ledger import queues as queues_module
from leaseq.ledger.session import Connection
from leaseq.ledger.workers import WorkerLedger
from leaseq_api import operate, service
from support.api import Api, open_api, problem
from support.dispatch import KEYS, ids
from support.ledger import open_worker


async def test_queues_and_what_waits_in_them(api: Api) -> None:
    assert await api.get("/api/queues") == {"queues": [], "next_cursor": None}
    for priority in ("high", "normal", "normal", "low"):
        await api.submitted({"type": "add", "payload": 1, "queue": "busy", "priority": priority})
    await api.service.engine.pusher.aclose()
    (queue,) = (await api.get("/api/queues"))["queues"]
    assert (queue["name"], queue["paused"]) == ("busy", False)
    depths = queue["depths"]
    assert depths["low"] == depths["high"] == 1
    assert depths["suspect"] == depths["parked"] == 0
    assert depths["waiting"] == sum(depths[lane] for lane in ("high", "normal", "low", "suspect"))
    assert depths["backlog_since"] is None


async def test_a_queue_of_which_more_waits_in_the_ledger(api: Api) -> None:
    await api.service.engine.stores.queues.register_queues(["busy"])
    dispatcher = Dispatcher(api.service.engine.stores.lists._client, KEYS, window=10)
    pushed = ids(11)
    await dispatcher.push("busy", pushed)
    (queue,) = (await api.get("/api/queues"))["queues"]
    assert queue["depths"]["normal"] == 10
    assert datetime.fromisoformat(queue["depths"]["backlog_since"]) == made_at(pushed[-1])


def counted(act: Callable[..., Any], calls: list[object]) -> Callable[..., Any]:
    """The same, and a note of each call."""

    def acts(*given: Any, **options: Any) -> Any:
        calls.append(given)
        return act(*given, **options)

    return acts


async def test_the_depths_of_many_queues_are_read_together(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One round trip for each of three thousand names took longer than a client is kept waiting: no
    depths were shown at all."""
    monkeypatch.setattr(operate, "DEPTHS_SECONDS", 60.0)
    stores = api.service.engine.stores
    names = [f"made.up.{number:04}" for number in range(250)]
    await stores.queues.register_queues(names)
    dispatcher = Dispatcher(stores.lists._client, KEYS, window=10)
    await dispatcher.push(names[120], ids(11))
    await stores.lists._client.set(KEYS.parked(names[7]), "of another type")
    trips: list[object] = []
    for name in ("execute_command", "pipeline"):
        monkeypatch.setattr(
            stores.lists._client, name, counted(getattr(stores.lists._client, name), trips)
        )
    queues = (await api.get("/api/queues?limit=200"))["queues"]
    assert len(trips) <= 10
    # a key of another type counts as empty, and is removed
    assert queues[7]["depths"]["parked"] == 0
    assert (queues[120]["depths"]["normal"], queues[121]["depths"]["normal"]) == (10, 0)
    assert queues[120]["depths"]["backlog_since"] is not None
    assert queues[121]["depths"]["backlog_since"] is None


async def test_queues_are_listed_in_pages(api: Api) -> None:
    """Clients make up names. A list of all of them would have no bound."""
    names = [f"q{number:02}" for number in range(5)]
    await api.service.engine.stores.queues.register_queues(names)
    cursor = ""
    for expected, more in ((names[:2], names[1]), (names[2:4], names[3]), (names[4:], None)):
        page = await api.get(f"/api/queues?limit=2&cursor={cursor}")
        assert [queue["name"] for queue in page["queues"]] == expected
        assert page["next_cursor"] == more
        cursor = page["next_cursor"]
    for query in ("limit=0", "limit=201", "cursor=a%20b"):
        problem(await api.client.get(f"/api/queues?{query}"), "parameter_invalid")


async def test_a_name_that_is_not_known_cannot_be_paused_beside_very_many(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues_module, "MOST_PAUSED", 1)
    assert (await api.client.post("/api/queues/one/pause")).status_code == 200
    assert (
        "is the name right"
        in problem(await api.client.post("/api/queues/two/pause"), "queue_unknown")["detail"]
    )
    assert [queue["name"] for queue in (await api.get("/api/queues"))["queues"]] == ["one"]


async def test_pause_and_resume(api: Api) -> None:
    answer = await api.client.post("/api/queues/mail/pause")
    assert (answer.status_code, answer.json()["paused"]) == (200, True)
    assert (await api.get("/api/queues"))["queues"][0]["paused"] is True
    assert await api.submitted({"type": "add", "payload": 1, "queue": "mail"})
    answer = await api.client.post("/api/queues/mail/resume")
    closed = dict.fromkeys(("paused_by", "paused_reason", "paused_at"))
    assert (answer.status_code, answer.json()) == (200, {"name": "mail", "paused": False} | closed)


async def test_workers_and_those_that_are_gone(api: Api, worker_ledger: WorkerLedger) -> None:
    assert await api.get("/api/workers") == {"workers": []}
    gone, here = await open_worker(worker_ledger), await open_worker(worker_ledger)
    await worker_ledger.close_worker(gone, reason="drained")
    (worker,) = (await api.get("/api/workers"))["workers"]
    assert (worker["worker_id"], worker["host"], worker["pid"], worker["queues"]) == (
        here,
        "here",
        1,
        ["default"],
    )
    assert worker["closed_at"] is None
    everyone = (await api.get("/api/workers?closed=true"))["workers"]
    assert {w["worker_id"]: w["close_reason"] for w in everyone} == {gone: "drained", here: None}
    assert len((await api.get("/api/workers?closed=true&limit=1"))["workers"]) == 1


async def test_health_with_both_stores_up_is_ready(api: Api) -> None:
    assert await api.get("/health/live") == {"live": True}
    assert await api.get("/health/ready") == {"ready": True, "postgres": "up", "redis": "up"}


async def test_a_schema_of_another_version_is_not_ready(api: Api, plain: Connection) -> None:
    await plain.execute("delete from leaseq.migrations")
    refused = problem(await api.client.get("/health/ready"), "not_ready")
    assert refused["postgres"] == "wrong schema"
    assert await api.get("/health/live") == {"live": True}


async def test_a_service_that_stops_is_not_ready(api: Api) -> None:
    api.service.stopping.set()
    problem(await api.client.get("/health/ready"), "not_ready")


async def test_a_postgres_that_takes_no_writes_is_not_ready(
    config: Config, plain: Connection
) -> None:
    cursor = await plain.execute("select current_database()")
    name = (await cursor.fetchall())[0][0]
    async with open_api(config) as api:
        await plain.execute(
            f"alter database {name} set default_transaction_read_only = on".encode()
        )
        await plain.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'leaseq api'"
        )
        assert (
            problem(await api.client.get("/health/ready"), "not_ready")["postgres"] == "read only"
        )
        problem(await api.submit(), "server_unreachable")


async def test_many_probes_look_at_the_schema_once(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []

    async def counted(conninfo: str) -> None:
        looks.append(conninfo)

    monkeypatch.setattr(service, "require_schema", counted)
    answers = await asyncio.gather(*(api.client.get("/health/ready") for _ in range(50)))
    # a busy machine does not answer all of them in their time
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert len(looks) == 1
