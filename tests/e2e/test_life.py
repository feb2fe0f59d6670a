"""The life of tasks whose workers were killed and frozen."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.model import Outcome, State
from leaseq.operations.life.facts import LifeFacts
from leaseq.operations.life.history import task_history
from leaseq.operations.life.lanes import LifeLane, life_of
from leaseq.operations.life.picture import draw_life
from support.client import Client
from support.processes import Services

LEASE = 2.0


@pytest.fixture
def config(config: Config) -> Config:
    return replace(config, lease_seconds=LEASE, heartbeat_seconds=0.4)


def lane(facts: LifeFacts, name: str) -> LifeLane:
    (found,) = [each for each in life_of(facts).lanes if each.name == name]
    return found


async def test_a_killed_and_a_frozen_worker_leave_a_gap_and_a_refused_ending(
    services: Services, client: Client, eventually: Callable[..., Any]
) -> None:
    await services.reaper()
    killed = await services.worker()
    task_id = await client.submit("hold", seconds=0.5)
    await killed.hear("attempt.started")
    killed.signal(signal.SIGKILL, children=True)
    frozen = await services.worker()
    await frozen.hear("attempt.started", attempt=2)
    frozen.signal(signal.SIGSTOP, children=True)
    await services.worker()
    task = await client.ended(task_id)
    assert (task.state, task.attempt) == (State.SUCCESS, 3)
    frozen.signal(signal.SIGCONT, children=True)
    await frozen.hear("attempt.fenced", task_id=task_id, attempt=2)

    async def told() -> LifeFacts | None:
        facts = await client.engine.read_life(task_id, tenant="default")
        return facts if facts.refusals else None

    facts: LifeFacts = await eventually(told)
    attempts = {attempt.attempt: attempt for attempt in facts.attempts}
    assert [attempt.outcome for attempt in facts.attempts] == [Outcome.LOST, Outcome.LOST]
    for number in (1, 2):
        attempt = attempts[number]
        running, silent = lane(facts, f"attempt {number}").bars
        assert (running.kind, silent.kind) == ("running", "silent")
        assert running.began == attempt.started_at
        heard = facts.workers[attempt.worker_id].last_seen  # perhaps before the attempt began
        assert running.ended == silent.began == max(heard, attempt.started_at)
        assert silent.ended == attempt.finished_at
        assert (silent.ended - silent.began).total_seconds() >= LEASE / 2
    (refused,) = lane(facts, "refused").marks
    assert refused.at > attempts[2].finished_at
    lines = {line.when: line.text for line in task_history(facts.task, facts.attempts, facts)}
    assert "an ending of attempt 2" in lines[refused.at]
    assert "was last seen, in attempt 1" in lines[lane(facts, "attempt 1").bars[1].began]
    assert draw_life(life_of(facts)).count("url(#life-hatch)") == 2
