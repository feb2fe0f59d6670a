"""Can an operator see and steer the fleet, and a load balancer the service?"""

from __future__ import annotations

from fix_api import Api, problem
from fix_ledger import open_worker

from leaseq.ledger.fleet import Fleet
from leaseq.ledger.session import Connection


async def test_queues_and_what_waits_in_them(api: Api) -> None:
    assert await api.get("/api/queues") == {"queues": []}
    for priority in ("high", "normal", "normal", "low"):
        await api.submitted({"type": "add", "payload": 1, "queue": "busy", "priority": priority})
    await api.service.engine.pusher.aclose()
    (queue,) = (await api.get("/api/queues"))["queues"]
    assert (queue["name"], queue["paused"]) == ("busy", False)
    depths = queue["depths"]
    assert depths["low"] == depths["high"] == 1
    assert depths["suspect"] == depths["parked"] == 0
    assert depths["waiting"] == sum(depths[lane] for lane in ("high", "normal", "low", "suspect"))


async def test_pause_and_resume(api: Api) -> None:
    answer = await api.client.post("/api/queues/mail/pause")
    assert (answer.status_code, answer.json()) == (200, {"name": "mail", "paused": True})
    assert (await api.get("/api/queues"))["queues"][0]["paused"] is True
    assert await api.submitted({"type": "add", "payload": 1, "queue": "mail"})
    answer = await api.client.post("/api/queues/mail/resume")
    assert (answer.status_code, answer.json()) == (200, {"name": "mail", "paused": False})


async def test_workers_and_those_that_are_gone(api: Api, fleet: Fleet) -> None:
    assert await api.get("/api/workers") == {"workers": []}
    gone, here = await open_worker(fleet), await open_worker(fleet)
    await fleet.close_worker(gone, reason="drained")
    (worker,) = (await api.get("/api/workers"))["workers"]
    assert (worker["worker_id"], worker["host"], worker["pid"], worker["queues"]) == (here, "here", 1, ["default"])
    assert worker["closed_at"] is None
    everyone = (await api.get("/api/workers?closed=true"))["workers"]
    assert {w["worker_id"]: w["close_reason"] for w in everyone} == {gone: "drained", here: None}
    assert len((await api.get("/api/workers?closed=true&limit=1"))["workers"]) == 1


async def test_health(api: Api) -> None:
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
