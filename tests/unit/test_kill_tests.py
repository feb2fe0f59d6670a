"""The verdict of a kill test, from forged facts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from leaseq.ledger.followed import FollowedTask
from leaseq.model import AttemptRecord, Outcome, State
from leaseq.operations.kill_tests.facts import KillTestFacts
from leaseq.operations.kill_tests.judge import Judgement, judge
from leaseq.operations.kill_tests.protocol import KillTest, Kind, TaskBefore

BEGAN = datetime(2026, 11, 30, 3, 0, tzinfo=UTC)
LEASE = 10.0


def after(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def task(state: State = State.PROCESSING, attempt: int = 1, **fields: Any) -> FollowedTask:
    times = {"started_at": after(-5), "finished_at": None} | fields
    empty = ("cancel_requested_at", "erased_at", "worker_id", "error", "progress", "result")
    return FollowedTask(
        version="1",
        task_id="a",
        tenant="t",
        queue="q",
        type="x",
        state=state,
        attempt=attempt,
        retry_count=0,
        created_at=after(-10),
        run_at=after(-10),
        **times,
        **dict.fromkeys(empty),
    )


def lost(seconds: float, outcome: Outcome = Outcome.LOST) -> AttemptRecord:
    return AttemptRecord(
        task_id="a",
        attempt=1,
        outcome=outcome,
        worker_id="w",
        started_at=after(-5),
        finished_at=after(seconds),
        next_state=State.PENDING,
        error=None,
    )


def judged(
    kind: Kind,
    found: FollowedTask | None,
    *ends: AttemptRecord,
    now: float = 20.0,
    running: bool = True,
    alone: bool = False,
    **fields: Any,
) -> Judgement:
    times = {"began_at": BEGAN, "ended_at": after(0.0)} | fields
    before = [TaskBefore(task_id="a", attempt=1, running=running)]
    test = KillTest(test_id="1", kind=kind, task_id="a", tasks=before, alone=alone, **times)
    tasks = {} if found is None else {"a": found}
    facts = KillTestFacts(now=after(now), tasks=tasks, ends={"a": list(ends)})
    return judge(test, facts, lease_seconds=LEASE)


def test_a_killed_worker_whose_task_ran_again_in_time_kept_the_promise() -> None:
    judgement = judged("kill-worker", task(attempt=2, started_at=after(0.4)), lost(0.3))
    assert judgement.verdict == "kept"
    assert [check.found for check in judgement.checks] == ["after 0.30 s", "after 0.40 s", "0"]


@pytest.mark.parametrize(
    ("found", "ends"),
    [
        (task(attempt=2, started_at=after(1.6)), [lost(1.5)]),  # too late
        (task(attempt=2, started_at=after(1.6)), [lost(0.3)]),  # run again too late
        (task(), []),  # never taken back
        (task(State.SUCCESS, finished_at=after(4)), []),  # ended by a worker that was dead
        (task(State.SUCCESS, finished_at=after(4)), [lost(0.3)]),  # and after it was taken back
    ],
)
def test_a_killed_worker_breaks_the_promise(found: FollowedTask, ends: list[AttemptRecord]) -> None:
    assert judged("kill-worker", found, *ends).verdict == "broken"


def test_without_another_process_a_task_runs_again_with_the_next_one() -> None:
    again = task(attempt=2, started_at=after(3.0))
    assert judged("kill-worker", again, lost(0.3), alone=True).verdict == "kept"
    waits = task(State.PENDING)
    assert judged("kill-worker", waits, lost(0.3), alone=True).verdict == "not finished"


def test_a_test_that_met_no_work_shows_nothing() -> None:
    for at in (-0.5, 0.2):  # before the kill, and a commit that was under way
        ended = task(State.SUCCESS, finished_at=after(at))
        assert judged("kill-worker", ended).verdict == "shows nothing"
    errored = judged("kill-worker", task(State.FAILED), lost(-0.5, Outcome.ERRORED))
    assert errored.verdict == "shows nothing"


def test_a_frozen_worker_has_the_time_of_its_lease() -> None:
    again = task(attempt=2, started_at=after(11.9))
    assert judged("freeze-worker", again, lost(11.8), ended_at=after(15)).verdict == "kept"
    late = task(attempt=2, started_at=after(14))
    assert judged("freeze-worker", late, lost(13.0), ended_at=after(15)).verdict == "broken"
    still = judged("freeze-worker", again, lost(11.8), ended_at=None, now=14)
    assert still.verdict == "not finished"
    # The stale worker has ended a task that was never taken back.
    stale = task(State.SUCCESS, finished_at=after(15.5))
    assert judged("freeze-worker", stale, ended_at=after(15)).verdict == "broken"


def test_a_task_that_is_gone_breaks_the_promise() -> None:
    assert judged("flush-redis", None).verdict == "broken"


def test_a_run_that_was_repeated_breaks_the_promise() -> None:
    again = task(attempt=2, started_at=after(5))
    assert judged("stop-redis", again, lost(4)).verdict == "broken"


def test_a_run_that_goes_on_is_judged_after_a_lease() -> None:
    assert judged("flush-redis", task(), now=5).verdict == "not finished"
    assert judged("flush-redis", task(), now=12.5).verdict == "kept"
    ended = task(State.SUCCESS, finished_at=after(1))
    assert judged("restart-postgres", ended, now=2).verdict == "kept"


def test_waiting_tasks_have_to_run() -> None:
    waits = judged("flush-redis", task(State.PENDING, attempt=1), now=60, running=False)
    assert waits.verdict == "not finished"
    begun = task(attempt=2, started_at=after(3))
    assert judged("flush-redis", begun, running=False).verdict == "kept"


def test_a_fault_that_was_not_carried_out_is_told() -> None:
    judgement = judged("kill-worker", task(), failed="no process is that worker")
    assert judgement.verdict == "not carried out"
    assert judgement.notes == ["no process is that worker"]
