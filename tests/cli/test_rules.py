"""The commands about limits and schedules, on real stores."""

from __future__ import annotations

import json

from leaseq.ledger.task_types import TaskType
from leaseq.operations.engine import Engine
from leaseq.schedules.read_timing import read_timing
from leaseq.schedules.schedule import Definition
from support.cli import Command, Stage
from support.ledger import submission

APP = "examples.reports_at_six:app"


def test_a_task_that_waits_for_a_limit_says_so(leaseq: Command, stage: Stage) -> None:
    stage.do(
        lambda engine: engine.stores.task_types.register_types(
            [TaskType("pay", "sums", b"{}", limit_name="stripe", limit_key="customer")]
        )
    )
    assert leaseq("limits", "set", "stripe", "--concurrency", "1").exit_code == 0
    leaseq("submit", "pay", '{"customer": "first"}')
    task_id = leaseq("submit", "pay", '{"customer": "acme"}').stdout.strip()
    line = "waits for limit stripe, key acme"
    assert line in leaseq("list").stdout
    assert line in leaseq("show", task_id).stdout


def test_sync_finds_and_deletes_schedules_that_no_app_declares(
    leaseq: Command, stage: Stage
) -> None:
    async def put(engine: Engine) -> None:
        for name, source in (
            ("poll-orders", "code:examples.reports_at_six"),
            ("gone", "code:examples.reports_at_six"),
            ("mine", "api"),
        ):
            timing = read_timing(cron="@daily", every_seconds=None)
            await engine.schedules.put(
                Definition(name=name, timing=timing, submission=submission(), source=source)
            )

    stage.do(put)
    shown = leaseq("schedules", "sync", APP)
    assert shown.stdout == "gone by code:examples.reports_at_six is not declared\n"
    assert "--delete" in shown.stderr
    left = stage.do(lambda engine: engine.schedules.list_schedules(tenant=None, limit=9))
    assert len(left) == 3
    assert leaseq("schedules", "sync", APP, "--delete").stdout.endswith("is deleted\n")
    shown = leaseq("schedules", "sync", APP, "--json")
    assert json.loads(shown.stdout) == {"schedules": [], "deleted": False}
    left = stage.do(lambda engine: engine.schedules.list_schedules(tenant=None, limit=9))
    assert [each.name for each in left] == ["mine", "poll-orders"]
