"""Every change by the command line leaves one row, however the process dies."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from leaseq.cli import COMMANDS
from leaseq.failpoints import VARIABLE
from leaseq.ledger.operation_log import OperationFilter, OperationRecord
from leaseq.model import DEFAULT_TENANT, State
from support.cli import Command, Stage
from support.processes import environment

USER = pwd.getpwuid(os.getuid()).pw_name
# A new command is of one of these kinds.
READING = {"check", "list", "operations", "queues", "show", "wait", "workers"}
RUNNING = {"api", "demo", "dev", "migrate", "reaper", "submit", "worker"}
CHANGING = {"cancel", "erase", "free-key", "redrive", "queues pause", "queues resume"}


def recorded(stage: Stage) -> list[OperationRecord]:
    """Every operation, newest first."""
    listing = stage.do(lambda engine: engine.list_operations(OperationFilter(), tenant=None))
    return listing.operations


def state_of(stage: Stage, task_id: str) -> State:
    return stage.do(lambda engine: engine.for_tenant(DEFAULT_TENANT).find(task_id)).state


def test_every_command_is_known_to_read_to_run_or_to_change() -> None:
    names = {name for commands in COMMANDS.values() for name in commands}
    assert names == READING | RUNNING | {name.partition(" ")[0] for name in CHANGING}


@pytest.mark.parametrize("command", sorted(CHANGING))
def test_a_command_that_changes_leaves_one_row(leaseq: Command, stage: Stage, command: str) -> None:
    task_id = stage.submit(idempotency_key="order-1")
    if command in ("erase", "free-key", "redrive"):
        assert leaseq("cancel", task_id).exit_code == 0
    before = len(recorded(stage))
    target = "mail" if command.startswith("queues") else task_id
    assert leaseq(*command.split(), target).exit_code == 0
    latest = recorded(stage)
    assert len(latest) == before + 1
    row, action = latest[0], command.split()[-1].replace("-", "_")
    assert (row.action, row.target, row.outcome) == (action, target, "done")
    assert row.actor.startswith(f"command line ({USER}@")
    assert (row.key_id, row.tenant) == (None, None if target == "mail" else "default")


def test_commands_that_read_leave_no_row(leaseq: Command, stage: Stage) -> None:
    task_id = stage.submit()
    for args in (("list",), ("show", task_id), ("queues",), ("workers",), ("operations",)):
        assert leaseq(*args).exit_code == 0
    assert recorded(stage) == []


def test_operations_lists_filters_and_pages(leaseq: Command, stage: Stage) -> None:
    for number in range(5):
        leaseq("queues", "pause" if number % 2 else "resume", f"q{number}")
    assert leaseq("redrive", stage.submit()).exit_code == 5
    lines = leaseq("operations").stdout.splitlines()
    assert lines[0].split() == ["BEGAN", "ACTION", "TARGET", "OUTCOME", "ACTOR", "KEY", "TENANT"]
    assert "refused: task_conflict" in lines[1]
    assert len(lines) == 7
    assert len(leaseq("operations", "--action", "pause").stdout.splitlines()) == 3
    assert len(leaseq("operations", "--target", "q3").stdout.splitlines()) == 2
    assert len(leaseq("operations", "--tenant", "default").stdout.splitlines()) == 2
    assert leaseq("operations", "--key", "k1").stdout == ""
    page = json_of(leaseq, "--limit", "4")
    rest = json_of(leaseq, "--limit", "4", "--cursor", page["next_cursor"])
    targets = [row["target"] for row in page["operations"] + rest["operations"]]
    assert targets[1:] == ["q4", "q3", "q2", "q1", "q0"]
    assert rest["next_cursor"] is None
    assert leaseq("operations", "--action", "destroy").exit_code == 2


def json_of(leaseq: Command, *args: str) -> Any:
    return msgspec.json.decode(leaseq("operations", "--json", *args).stdout)


@pytest.mark.parametrize(
    ("point", "state"),
    [("operation.recorded", State.PENDING), ("operation.done", State.CANCELLED)],
)
def test_a_process_that_is_killed_leaves_an_unconfirmed_row(
    stage: Stage, tmp_path: Path, point: str, state: State
) -> None:
    """Killed between the row and the change, or between the change and its outcome."""
    task_id = stage.submit()
    (tmp_path / point).write_text("kill")
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "leaseq", "cancel", task_id],
        env=environment(stage.config) | {VARIABLE: str(tmp_path)},
        check=False,
    )
    assert ran.returncode == -signal.SIGKILL
    assert state_of(stage, task_id) is state
    (row,) = recorded(stage)
    assert (row.action, row.target, row.outcome, row.ended_at) == (
        "cancel",
        task_id,
        "unconfirmed",
        None,
    )
