"""`leaseq why`: the answer, its exit code, and its JSON."""

from __future__ import annotations

import msgspec
import pytest

from leaseq.cli.commands import why as command
from leaseq.model import State
from leaseq.operations.why.answer import CaseName, Why
from leaseq.operations.why.explain import explain
from support.cli import Command, Stage
from support.why_cases import FORGED

LONG = {"LEASEQ_LEASE_SECONDS": "600"}  # no heartbeat renews the lease of a worker of the stage


def ask(leaseq: Command, *args: str) -> tuple[Why, int]:
    result = leaseq("why", *args, "--json", **LONG)
    return msgspec.json.decode(result.stdout, type=Why), result.exit_code


def test_a_task_that_no_worker_serves_needs_a_person(leaseq: Command, stage: Stage) -> None:
    task_id = stage.submit()
    result = leaseq("why", task_id)
    lines = result.stdout.splitlines()
    assert result.exit_code == 1
    assert lines[0] == "It waits because no worker serves queue default: no worker is open."
    assert lines[1] == "next      nothing, until a worker that serves default is started"
    assert (
        lines[2]
        == "do        start a worker that serves it: `leaseq worker MODULE:APP --queues default`"
    )
    assert "facts     ledger    PENDING, normal priority, not started yet" in result.stdout
    assert "          dispatch  in lane normal, 0 before it, 0 behind it\n" in result.stdout
    found, code = ask(leaseq, task_id)
    assert (found.case, found.sentence, code) == ("queue_unserved", lines[0], 1)
    assert f"{'now':<23} {lines[0]}\n" in leaseq("show", task_id).stdout


def test_a_task_that_goes_on_alone_needs_none(leaseq: Command, stage: Stage) -> None:
    worker = stage.open_worker()
    task_id = stage.submit()
    assert (ask(leaseq, task_id)[0].case, ask(leaseq, task_id)[1]) == ("in_lane", 0)
    stage.pull("default", worker)
    assert ask(leaseq, task_id)[0].case == "taken"
    claim = stage.claim(task_id, worker)
    found, code = ask(leaseq, task_id)
    assert (found.case, code) == ("running", 0)
    assert found.next_at is not None
    stage.succeed(claim)
    found, code = ask(leaseq, task_id)
    assert (found.case, found.state, code) == ("succeeded", State.SUCCESS, 0)


def test_a_dead_letter_and_what_people_did_with_it(leaseq: Command, stage: Stage) -> None:
    task_id = stage.submit()
    stage.fail(stage.claim(task_id, stage.open_worker()), "no cards \x1b[31m left")
    found, code = ask(leaseq, task_id)
    assert (found.case, found.needs_person, code) == ("failed", True, 1)
    assert "ValueError: no cards" in found.sentence
    assert "\x1b" not in leaseq("why", task_id).stdout
    leaseq("redrive", task_id)
    found, code = ask(leaseq, task_id)
    assert (found.case, code) == ("due_no_reaper", 1)
    assert any("redrive by command line" in each.text for each in found.evidence)
    leaseq("cancel", task_id)
    found, code = ask(leaseq, task_id)
    assert (found.case, found.needs_person, code) == ("cancelled", False, 1)
    assert found.sentence.startswith("It was cancelled by command line")
    leaseq("erase", task_id)
    assert ask(leaseq, task_id)[0].actions == []


def test_a_key_remembers_a_task_that_was_pruned(leaseq: Command, stage: Stage) -> None:
    task_id = stage.submit(idempotency_key="order-1")
    other = stage.submit(idempotency_key="order-2")
    stage.succeed(stage.claim(task_id, stage.open_worker()))

    async def prune(engine: object) -> object:
        return await engine.stores.maintenance.prune_tasks(  # type: ignore[attr-defined]
            after="00000000-0000-0000-0000-000000000000",
            before="ffffffff-ffff-ffff-ffff-ffffffffffff",
            retention_seconds=0.0,
            limit=10,
        )

    stage.do(prune)
    assert leaseq("why", task_id).exit_code == 3
    assert leaseq("why", task_id, "--key", "order-2").exit_code == 3, "the key of another task"
    assert ask(leaseq, other, "--key", "order-1")[0].case == "in_lane", "a task that exists"
    found, code = ask(leaseq, task_id, "--key", "order-1")
    assert (found.case, found.state, code) == ("pruned", State.SUCCESS, 0)


def test_a_task_of_another_tenant_is_no_task(leaseq: Command, stage: Stage) -> None:
    task_id = stage.submit(tenant="acme")
    assert leaseq("why", task_id).exit_code == 3
    assert leaseq("why", task_id, "--tenant", "acme").exit_code == 1


def test_watch_ends_with_the_task(leaseq: Command, stage: Stage) -> None:
    task_id = stage.submit()
    leaseq("cancel", task_id)
    result = leaseq("why", task_id, "--watch")
    assert result.exit_code == 1
    assert result.stdout.startswith("It was cancelled by command line")


def test_watch_prints_a_new_sentence_and_not_the_same_one_again(
    leaseq: Command, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = stage.submit()
    first = {forged.case: explain(forged.facts) for forged in reversed(FORGED)}
    cases: list[CaseName] = ["in_lane", "in_lane", "taken", "running", "running", "succeeded"]
    looks = iter(first[case] for case in cases)
    monkeypatch.setattr(command, "explain", lambda _: next(looks))
    monkeypatch.setattr(command, "WATCH_SECONDS", 0.0)
    result = leaseq("why", task_id, "--watch")
    shown = [line for line in result.stdout.splitlines() if line.startswith("It ")]
    expected: list[CaseName] = ["in_lane", "taken", "running", "succeeded"]
    assert (result.exit_code, shown) == (0, [first[case].sentence for case in expected])


def test_exit_code_of_every_case() -> None:
    for forged in FORGED:
        found = explain(forged.facts)
        well = not forged.needs_person and found.state not in (State.FAILED, State.CANCELLED)
        assert command.exit_code_of(found) == (0 if well else 1), forged.case
