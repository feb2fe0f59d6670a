"""Cancel and redrive many tasks from the command line, without an API."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import msgspec

from leaseq.model import DEFAULT_TENANT, State
from leaseq.operations.engine import Engine
from support.bulk import failed, states, waiting
from support.cli import Command, Stage
from support.processes import environment


def of(stage: Stage, ids: list[str]) -> dict[State, int]:
    return stage.do(lambda engine: states(engine, ids))


def prepared(stage: Stage, count: int, *, fails: bool, **said: Any) -> list[str]:
    async def work(engine: Engine) -> list[str]:
        return await (failed if fails else waiting)(engine, count, **said)

    return stage.do(work)


def test_a_redrive_asks_for_the_number_and_does_it(leaseq: Command, stage: Stage) -> None:
    ids = prepared(stage, 12, fails=True, type="send")
    others = prepared(stage, 2, fails=True)
    refused = leaseq("redrive", "--type", "send", stdin=b"yes\n")
    assert refused.exit_code == 2
    assert "12 tasks would be redriven" in refused.stdout
    assert of(stage, ids) == {State.FAILED: 12}
    answer = leaseq(
        *("redrive", "--type", "send", "--rate", "1000", "--reason", "fixed"), stdin=b"12\n"
    )
    assert answer.exit_code == 0, answer.stderr
    assert "redrive done: 12 done, 0 refused, of 12" in answer.stdout
    assert of(stage, ids) == {State.SCHEDULED: 12}
    assert of(stage, others) == {State.FAILED: 2}
    assert leaseq("redrive", "--type", "send").stdout == "no task to redrive\n"
    (row,) = msgspec.json.decode(leaseq("operations", "--json").stdout)["operations"]
    assert (row["kind"], row["outcome"], row["target"]) == ("bulk", "done", "type=send")
    assert row["detail"]["reason"] == "fixed"
    assert row["actor"].startswith("command line (")


def test_a_cancel_by_filter_prints_the_operation(leaseq: Command, stage: Stage) -> None:
    ids = prepared(stage, 5, fails=False, queue="mail")
    answer = leaseq("cancel", "--queue", "mail", "--rate", "1000", "--yes", "--json")
    assert answer.exit_code == 0, answer.stderr
    operation = msgspec.json.decode(answer.stdout)
    assert (operation["state"], operation["done"], operation["tenant"]) == (
        "done",
        5,
        DEFAULT_TENANT,
    )
    assert of(stage, ids) == {State.CANCELLED: 5}
    shown = leaseq("operations", "show", operation["operation_id"])
    assert shown.stdout.startswith(f"{operation['operation_id']} cancel done: 5 done")
    assert leaseq("operations", "stop", operation["operation_id"]).exit_code == 5
    assert leaseq("operations", "show", ids[0]).exit_code == 3


def test_a_cancel_by_label_takes_the_tasks_with_it(leaseq: Command, stage: Stage) -> None:
    ids = prepared(stage, 3, fails=False, labels={"account": "42"})
    other = prepared(stage, 1, fails=False, labels={"account": "43"})
    answer = leaseq("cancel", "--label", "account=42", "--rate", "1000", "--yes")
    assert answer.exit_code == 0, answer.stderr
    assert of(stage, ids) == {State.CANCELLED: 3}
    assert of(stage, other) == {State.PENDING: 1}


def test_what_is_not_clear_is_refused(leaseq: Command, stage: Stage) -> None:
    task_id = stage.submit()
    for line in (
        "cancel",
        "redrive",
        f"cancel {task_id} --queue mail",
        "redrive --error x/y --yes",
        "cancel --queue mail --seen PENDING/0 --yes",
        "redrive --type a --rate 0",
        "cancel --label account --yes",
        "list --error x/y",
        "list --error aa --key k",
    ):
        assert leaseq(*line.split()).exit_code == 2, line
    assert leaseq("operations").stdout == ""


def test_an_interrupted_command_stops_its_operation(leaseq: Command, stage: Stage) -> None:
    ids = prepared(stage, 50, fails=True, type="send")
    command = [sys.executable, "-m", "leaseq", "redrive", "--type", "send", "--rate", "2", "--yes"]
    running = subprocess.Popen(
        command, env=environment(stage.config), stderr=subprocess.PIPE, text=True
    )
    assert running.stderr is not None
    told = next(line for line in running.stderr if "operation" in line and "runs" in line)
    os.kill(running.pid, signal.SIGINT)
    _, _ = running.communicate(timeout=60)
    assert running.returncode == 130
    operation_id = told.split()[2]
    operation = msgspec.json.decode(leaseq("operations", "show", operation_id, "--json").stdout)
    assert operation["state"] == "stopped"
    assert of(stage, ids)[State.FAILED] == 50 - operation["done"]
    stage.do(lambda engine: hurry(engine, operation_id))
    resumed = leaseq("operations", "resume", operation_id, "--watch")
    assert "redrive done: 50 done" in resumed.stdout, resumed.stderr
    assert of(stage, ids) == {State.SCHEDULED: 50}


async def hurry(engine: Engine, operation_id: str) -> None:
    """Let the rest go at a higher rate."""
    async with engine.stores.bulk_operations.transaction() as conn:
        await conn.execute(
            "update leaseq.bulk_operations set rate = 1000 where id = %s", [operation_id]
        )
