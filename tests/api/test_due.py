"""Tasks that are due soon or overdue, one task type, and the check."""

from __future__ import annotations

import pytest

from leaseq import Leaseq
from leaseq.config import Config
from leaseq.ledger import coming_tasks
from leaseq.ledger.session import Connection
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import Priority
from support.api import Api, problem
from support.ledger import claim_task, errored, open_worker, submit
from support.worker import working


async def test_tasks_are_counted_by_minute_and_listed_as_they_are_due(
    api: Api, plain: Connection
) -> None:
    late = await api.submitted({"type": "send", "payload": 1, "delay_seconds": 90})
    soon = await api.submitted({"type": "send", "payload": 1, "delay_seconds": 10})
    over = await api.submitted({"type": "send", "payload": 1, "delay_seconds": 5})
    await api.submitted({"type": "send", "payload": 1, "delay_seconds": 7200})
    await plain.execute(
        "update leaseq.scheduled set run_at = now() - interval '40 s' where task_id = %s", [over]
    )
    found = await api.get("/api/due")
    assert [task["task_id"] for task in found["tasks"]] == [over, soon, late]
    assert [task["overdue"] for task in found["tasks"]] == [True, False, False]
    assert {task["reason"] for task in found["tasks"]} == {"delayed"}
    assert (found["overdue"], found["counted_until"]) == (1, None)
    assert [minute["count"] for minute in found["minutes"][:3]] == [1, 1, 0]
    assert len(found["minutes"]) == 60


async def test_a_retry_tells_its_error(
    api: Api, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    worker_id = await open_worker(worker_ledger)
    claim = await claim_task(ledger, await submit(ledger), worker_id)
    await ledger.settle([errored(claim, delay=60.0)])
    (task,) = (await api.get("/api/due"))["tasks"]
    assert (task["reason"], task["attempt"]) == ("retry", 1)
    assert task["error"]["code"] == "error"


async def test_minutes_that_were_not_looked_at_are_unknown(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coming_tasks, "MOST_LOOKED_AT", 2)
    for delay in (10, 70, 130, 190):
        await api.submitted({"type": "send", "payload": 1, "delay_seconds": delay})
    found = await api.get("/api/due")
    assert found["counted_until"] is not None
    assert [minute["count"] for minute in found["minutes"][:4]] == [1, None, None, None]


async def test_every_priority_of_a_queue_is_counted(api: Api) -> None:
    for priority in Priority:
        await api.submitted(
            {"type": "send", "payload": 1, "delay_seconds": 10, "priority": priority.name.lower()}
        )
    assert (await api.get("/api/due"))["minutes"][0]["count"] == len(Priority)


async def test_a_type_shows_its_versions_and_the_workers_of_each(config: Config, api: Api) -> None:
    app = Leaseq(config)

    @app.task(name="charge", queue="billing", timeout=5)
    async def charge(cents: int) -> None: ...

    async with working(config, app, registers=True):
        found = await api.get("/api/types/charge")
        assert (found["queue"], found["timeout_seconds"]) == ("billing", 5)
        assert [version["workers"] for version in found["versions"]] == [1]
    for name in ("none", "no%20name"):
        problem(await api.client.get(f"/api/types/{name}"), "not_found")


async def test_the_check_reports_as_the_command_does_and_keeps_passwords(
    config: Config, api: Api
) -> None:
    found = await api.get("/api/check")
    assert set(found["servers"]) >= {"postgres", "redis"}
    assert found["ok"] is not any(finding["fatal"] for finding in found["findings"])
    assert found["config"]["LEASEQ_POSTGRES_URL"].endswith("***")
    assert "LEASEQ_POSTGRES_URL" in found["changed"]


async def test_the_check_is_made_once_for_all_who_ask(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await api.service.check.read()
    assert await api.service.check.read() is first
    api.service.check._read_at = float("-inf")
    assert await api.service.check.read() is not first
