"""Services, one worker, and the tasks that run."""

from __future__ import annotations

import pytest

from leaseq.config import Config
from leaseq.dispatch.worker_holdings import Holding
from leaseq.errors import ServerUnreachable
from leaseq.ledger.fleet import FleetLedger
from leaseq.ledger.session import Connection, Session
from leaseq.ledger.tasks import TaskLedger
from leaseq.model import Priority
from leaseq.operations.running import first_ids
from support.api import Api, problem
from support.ledger import open_worker, submit
from support.running import occupied


async def test_the_longest_running_task_comes_first(config: Config, api: Api) -> None:
    async with occupied(config, api, count=2):
        found = await api.get("/api/running")
    first, second = found["tasks"]
    assert (found["redis"], found["held"], found["more"]) == ("up", 2, False)
    assert first["started_at"] < second["started_at"]
    assert first["progress"] == "begun"
    assert first["host"] == "here"
    assert first["run_seconds"] >= second["run_seconds"] >= 0
    assert first["lease_left_seconds"] > 0
    assert first["usual_p95_seconds"] is None
    assert first["unusual"] is False


async def test_a_run_of_three_times_the_usual_p95_is_unusual(
    config: Config, api: Api, plain: Connection
) -> None:
    api.service.usual_runs._last = {("default", "hold"): 1.0}
    api.service.usual_runs._read_at = float("inf")
    async with occupied(config, api):
        await plain.execute(
            "update leaseq.tasks set started_at = started_at - interval '4 seconds'"
        )
        (task,) = (await api.get("/api/running"))["tasks"]
    assert task["unusual"]
    assert task["usual_p95_seconds"] == 1.0


async def test_what_runs_is_not_known_without_redis(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> None:
        raise ServerUnreachable("Redis does not answer")

    await open_worker(api.service.engine.stores.workers)
    monkeypatch.setattr(api.service.engine.stores.holdings, "_read_leases", away)
    found = await api.get("/api/running")
    assert (found["redis"], found["held"], found["tasks"]) == ("away", None, None)


def test_each_worker_is_looked_at_before_the_second_task_of_any() -> None:
    held = {
        "a": Holding(task_ids=["a1", "a2", "a3"]),
        "b": Holding(task_ids=["b1"]),
    }
    assert first_ids(held) == ["a1", "b1", "a2", "a3"]


async def test_a_worker_shows_the_types_that_it_runs(config: Config, api: Api) -> None:
    async with occupied(config, api):
        worker_id = (await api.get("/api/workers"))["workers"][0]["worker_id"]
        found = await api.get(f"/api/workers/{worker_id}")
    assert found["worker_id"] == worker_id
    assert found["held_count"] == 1
    assert [each["type"] for each in found["types"]] == ["hold"]
    assert len(found["types"][0]["version"]) == 12


@pytest.mark.parametrize("name", ["none", "%00", "x" * 300])
async def test_an_unknown_worker_is_not_found(api: Api, name: str) -> None:
    problem(await api.client.get(f"/api/workers/{name}"), "not_found")


async def test_services_are_listed_with_their_own_description(api: Api) -> None:
    services = api.service.engine.stores.services
    await services.announce(
        "r1", "reaper", process=("here", 7, "1"), beat_seconds=10.0, detail={"failing": ["refill"]}
    )
    (found,) = (await api.get("/api/services"))["services"]
    assert (found["role"], found["alive"], found["ended_at"]) == ("reaper", True, None)
    assert found["detail"] == {"failing": ["refill"]}
    await services.end("r1")
    (found,) = (await api.get("/api/services"))["services"]
    assert not found["alive"]


@pytest.mark.parametrize("priority", list(Priority))
async def test_a_task_of_any_priority_can_be_overdue(
    session: Session, ledger: TaskLedger, plain: Connection, priority: Priority
) -> None:
    await submit(ledger, priority=priority, delay_seconds=60.0)
    await plain.execute("update leaseq.scheduled set run_at = now() - interval '9 seconds'")
    (queue,) = (await FleetLedger(session).read(limit=10, lease_seconds=10.0)).queues
    assert (queue.overdue_seconds or 0) >= 9
