"""Every ending of a handler leads to the right ending of its attempt."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from apps.probe import app
from leaseq.config import Config
from leaseq.model import DEFAULT_TENANT, Outcome, State
from leaseq.observability.telemetry import WARNING, recorded
from leaseq_chaos.pace import Pace
from support.client import Client
from support.processes import Services
from support.worker import promoting, until, working


def error_of(raw: bytes | None) -> dict[str, str]:
    assert raw is not None
    error: dict[str, str] = msgspec.json.decode(raw)
    return error


@pytest.mark.parametrize(
    ("task_type", "payload", "options", "state", "attempt", "code"),
    [
        ("note", {"n": 7}, {}, State.SUCCESS, 1, None),
        ("doze", {"seconds": 0}, {}, State.SUCCESS, 1, None),
        ("flaky", {"failures": 2}, {"max_attempts": 3}, State.SUCCESS, 3, None),
        ("later", {"delay": 0.2}, {}, State.SUCCESS, 2, None),
        ("flaky", {"failures": 9}, {"max_attempts": 3}, State.FAILED, 3, "error"),
        ("refuse", {"reason": "card declined"}, {}, State.FAILED, 1, "failed"),
        ("unwritable", {}, {}, State.FAILED, 1, "result_invalid"),
        ("note", {"n": "seven"}, {}, State.FAILED, 1, "payload_invalid"),
        ("commits_itself", {}, {}, State.FAILED, 1, "transaction_ended"),
        ("overrun", {}, {"timeout_seconds": 0.2, "max_attempts": 1}, State.FAILED, 1, "timeout"),
        (
            "overrun_in_a_thread",
            {"seconds": 1},
            {"timeout_seconds": 0.2, "max_attempts": 1},
            State.FAILED,
            1,
            "timeout",
        ),
    ],
)
async def test_task_ends_as_its_handler_does(
    config: Config,
    client: Client,
    task_type: str,
    payload: dict[str, Any],
    options: dict[str, Any],
    state: State,
    attempt: int,
    code: str | None,
) -> None:
    with recorded() as events:
        async with promoting(client.engine), working(config, app):
            task = await client.ended(await client.submit(task_type, options=options, **payload))
            await until(
                lambda: [event.name for event in events].count("attempt.settled") == attempt
            )
    failures = [
        (event.level, event.fields["code"]) for event in events if event.name == "task.failed"
    ]
    assert (task.state, task.attempt) == (state, attempt)
    assert failures == ([] if code is None else [(WARNING, code)])
    assert code is None or error_of(task.error)["code"] == code


async def test_results_are_what_handlers_return(config: Config, client: Client) -> None:
    async with working(config, app):
        assert (await client.ended(await client.submit("note", n=7))).result == b"7"
        assert (
            await client.ended(await client.submit("doze", seconds=0))
        ).result == b'"dozed beside 1"'


async def test_failure_of_a_handler_is_stored_with_its_words_and_type(
    config: Config, client: Client
) -> None:
    async with working(config, app):
        task = await client.ended(await client.submit("refuse", reason="card declined"))
    error = error_of(task.error)
    assert len(error.pop("fingerprint")) == 12
    assert error == {
        "code": "failed",
        "message": "card declined",
        "type": "Fail",
        "frame": "apps.probe:refuse",
    }


@pytest.mark.parametrize(
    ("task_type", "payload", "effects"),
    [("flaky", {"failures": 2}, 1), ("flaky", {"failures": 9}, 0), ("unwritable", {}, 0)],
)
async def test_writes_of_an_attempt_that_fails_are_rolled_back(
    config: Config, client: Client, task_type: str, payload: dict[str, Any], effects: int
) -> None:
    async with promoting(client.engine), working(config, app):
        task = await client.ended(
            await client.submit(task_type, options={"max_attempts": 3}, **payload)
        )
    assert await client.effects(task.task_id) == effects


async def test_attempt_that_overran_is_recorded_as_timed_out(
    config: Config, client: Client
) -> None:
    with recorded() as events:
        async with working(config, app):
            options = {"timeout_seconds": 0.2, "max_attempts": 1}
            task = await client.ended(
                await client.submit("overrun_in_a_thread", seconds=1, options=options)
            )
            await until(lambda: any(event.name == "handler.overran" for event in events))
    assert [row.outcome for row in await client.attempts(task.task_id)] == [Outcome.TIMED_OUT]


async def test_one_line_an_attempt_at_info(services: Services, client: Client) -> None:
    worker = await services.worker(LEASEQ_LOG_LEVEL="info")
    task_id = await client.submit("note", n=1)
    await client.ended(task_id)
    (line,) = await worker.hear("attempt.settled", task_id=task_id)
    assert {"type", "queue", "attempt", "outcome", "state", "seconds", "timestamp"} <= line.keys()
    assert [said["event"] for said in worker.said if said.get("task_id") == task_id] == [
        "attempt.settled"
    ]


async def test_an_unknown_type_is_handed_back_with_a_delay(
    services: Services, client: Client
) -> None:
    worker = await services.worker()
    task_id = await client.submit("not_deployed_yet")
    await worker.hear("attempt.settled", task_id=task_id)
    task = await client.find(task_id)
    assert (task.state, task.retry_count) == (State.SCHEDULED, 0)
    assert (task.run_at - task.created_at).total_seconds() >= 0.1
    (attempt,) = await client.attempts(task_id)
    assert (attempt.outcome, error_of(attempt.error)["code"]) == (Outcome.RELEASED, "unknown_type")


async def test_a_task_past_its_expiry_is_not_run(services: Services, client: Client) -> None:
    task = await client.find(await client.submit("note", n=1))
    expired = await client.submit("note", n=1, options={"expires_at": task.created_at})
    await services.worker()
    ended = await client.ended(expired)
    assert (ended.state, error_of(ended.error)["code"]) == (State.CANCELLED, "expired")
    assert await client.effects(expired) == 0


async def test_a_running_task_is_cancelled(services: Services, client: Client) -> None:
    worker = await services.worker()
    task_id = await client.submit("hold", seconds=60)
    await worker.hear("attempt.started", task_id=task_id)
    assert await client.engine.for_tenant(DEFAULT_TENANT).cancel(task_id) is State.PROCESSING
    task = await client.ended(task_id)
    assert task.state is State.CANCELLED
    assert await client.effects(task_id) == 0


async def test_progress_shows_while_the_task_runs(services: Services, client: Client) -> None:
    worker = await services.worker()
    task_id = await client.submit("report_progress")
    await worker.hear("attempt.settled", task_id=task_id)
    assert (await client.find(task_id)).progress == b'{"done":0.5}'


async def test_queues_priorities_and_pause(services: Services, client: Client) -> None:
    await client.engine.pause("side", paused=True)
    worker = await services.worker("--queues", "side", "--concurrency", "1")
    low = await client.submit("aside", n=1, options={"queue": "side", "priority": "low"})
    normal = await client.submit("aside", n=2, options={"queue": "side"})
    high = await client.submit("aside", n=3, options={"queue": "side", "priority": "high"})
    await client.engine.pusher.aclose()
    assert not worker.heard("task.claimed"), "a paused queue starts nothing"
    await client.engine.pause("side", paused=False)
    await client.all_ended([low, normal, high])
    assert [said["task_id"] for said in worker.heard("attempt.started")] == [high, normal, low]


async def test_idle_worker_pulls_other_priorities_immediately(
    services: Services, client: Client, pace: Pace
) -> None:
    worker = await services.worker()
    warm = await client.submit("nap", seconds=0)
    await client.ended(warm)
    for priority in ("high", "low"):
        task_id = await client.submit("nap", seconds=0, options={"priority": priority})
        task = await client.ended(task_id)
        assert task.started_at is not None
        assert (task.started_at - task.created_at).total_seconds() < 0.5 * pace.slowness
    assert worker.process.returncode is None
