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
from support.failures import GONE
from support.processes import environment

USER = pwd.getpwuid(os.getuid()).pw_name
# A new command is of one of these kinds.
READING = {
    "check",
    "diary",
    "failures",
    "list",
    "operations",
    "queues",
    "show",
    "stats",
    "top",
    "wait",
    "why",
    "workers",
}
RUNNING = {"api", "demo", "dev", "migrate", "reaper", "submit", "worker"}
# With the rest of its arguments: the id of a task or of a key, or what stands here.
CHANGING: dict[str, list[str]] = {
    "cancel": ["TASK"],
    "erase": ["TASK"],
    "free-key": ["TASK"],
    "redrive": ["TASK"],
    "replay": ["TASK"],
    "failures ack": ["add", GONE.fingerprint],
    "queues pause": ["mail"],
    "queues resume": ["mail"],
    "queues set": ["mail", "--fair"],
    "keys create": ["ci", "--scopes", "read"],
    "keys rotate": ["KEY"],
    "keys revoke": ["KEY"],
    "limits set": ["stripe", "--concurrency", "5"],
    "limits delete": ["stripe"],
    "schedules pause": ["daily"],
    "schedules resume": ["daily"],
    "schedules run": ["daily"],
    "schedules delete": ["daily"],
    "tenants create": ["acme"],
    "tenants limit": ["default", "--unfinished", "5"],
}


# Nouns that are part of the name of an action.
NAMED = ("keys", "limits", "schedules", "tenants")


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
    if command == "failures ack":
        stage.claim_and_fail(task_id)
    if command.startswith("schedules"):
        stage.put_schedule("daily")
    if command == "limits delete":
        assert leaseq("limits", "set", "stripe", "--concurrency", "5").exit_code == 0
    key = msgspec.json.decode(leaseq("keys", "create", "k", "--scopes", "read", "--json").stdout)
    known = {"TASK": task_id, "KEY": key["key"]["id"]}
    before = len(recorded(stage))
    target, *options = [known.get(argument, argument) for argument in CHANGING[command]]
    answer = leaseq(*command.split(), target, *options)
    assert answer.exit_code == 0, answer.stderr
    latest = recorded(stage)
    assert len(latest) == before + 1
    row, (noun, *verbs) = latest[0], command.replace("-", "_").split()
    verb = verbs[0] if verbs else noun
    verb = {"ack": "acknowledge", "set": "put"}.get(verb, verb)
    assert row.action == (f"{verb}_{noun.rstrip('s')}" if noun in NAMED or verb == "put" else verb)
    assert row.outcome == "done"
    assert row.target == target or command in ("keys create", "failures ack")
    assert row.actor.startswith(f"command line ({USER}@")
    assert (row.key_id, row.tenant) == (None, "default" if target in (task_id, "daily") else None)


def test_commands_that_read_leave_no_row(leaseq: Command, stage: Stage) -> None:
    task_id = stage.submit()
    for name in (
        "list",
        f"show {task_id}",
        "queues",
        "stats",
        "workers",
        "operations",
        "schedules",
        "limits",
        "keys",
        "tenants",
    ):
        assert leaseq(*name.split()).exit_code == 0
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
