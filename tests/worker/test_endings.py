"""Every ending of a handler leads to the right ending of its attempt."""

from __future__ import annotations

import msgspec

from leaseq.model import DEFAULT_TENANT, Outcome, State
from leaseq_chaos.pace import Pace
from support.client import Client
from support.processes import Services


def error_of(raw: bytes | None) -> dict[str, str]:
    assert raw is not None
    error: dict[str, str] = msgspec.json.decode(raw)
    return error


async def test_endings_of_handlers(services: Services, client: Client) -> None:
    await services.reaper()
    worker = await services.worker()
    ids = {
        "note": await client.submit("note", n=7),
        "doze": await client.submit("doze", seconds=0),
        "flaky": await client.submit("flaky", failures=2, options={"max_attempts": 3}),
        "hopeless": await client.submit("flaky", failures=9, options={"max_attempts": 3}),
        "later": await client.submit("later", delay=0.2),
        "refuse": await client.submit("refuse", reason="card declined"),
        "unwritable": await client.submit("unwritable"),
        "misfit": await client.submit("note", n="seven"),
        "commits_itself": await client.submit("commits_itself"),
        "overrun": await client.submit("overrun", options={"timeout_seconds": 0.2, "max_attempts": 1}),
        "overrun_in_a_thread": await client.submit(
            "overrun_in_a_thread", seconds=1, options={"timeout_seconds": 0.2, "max_attempts": 1}
        ),
    }
    tasks = dict(zip(ids, await client.all_ended(list(ids.values())), strict=True))

    assert (tasks["note"].state, tasks["note"].result) == (State.SUCCESS, b"7")
    assert tasks["doze"].result == b'"dozed beside 1"'
    assert (tasks["flaky"].state, tasks["flaky"].attempt, tasks["flaky"].retry_count) == (State.SUCCESS, 3, 2)
    assert await client.effects(ids["flaky"]) == 1, "what a failing attempt wrote was rolled back"
    assert (tasks["hopeless"].state, tasks["hopeless"].attempt) == (State.FAILED, 3)
    assert error_of(tasks["hopeless"].error)["type"] == "ValueError"
    assert await client.effects(ids["hopeless"]) == 0
    assert (tasks["later"].state, tasks["later"].attempt) == (State.SUCCESS, 2)
    assert (tasks["refuse"].state, tasks["refuse"].attempt) == (State.FAILED, 1)
    assert error_of(tasks["refuse"].error) == {"code": "failed", "message": "card declined", "type": "Fail"}
    assert error_of(tasks["unwritable"].error)["code"] == "result_invalid"
    assert tasks["unwritable"].attempt == 1
    assert await client.effects(ids["unwritable"]) == 0, "an unwritable result takes the transaction with it"
    assert error_of(tasks["misfit"].error)["code"] == "payload_invalid"
    assert tasks["misfit"].attempt == 1
    assert error_of(tasks["commits_itself"].error)["code"] == "transaction_ended"
    assert error_of(tasks["overrun"].error)["code"] == "timeout"
    assert [a.outcome for a in await client.attempts(ids["overrun"])] == [Outcome.TIMED_OUT]
    assert error_of(tasks["overrun_in_a_thread"].error)["code"] == "timeout"
    await worker.hear("handler.overran", task_id=ids["overrun_in_a_thread"])
    failed = {task.task_id: error_of(task.error)["code"] for task in tasks.values() if task.state is State.FAILED}
    told = await worker.hear("task.failed", count=len(failed))
    assert {line["task_id"]: line["code"] for line in told} == failed
    assert {line["level"] for line in told} == {"warning"}


async def test_one_line_an_attempt_at_info(services: Services, client: Client) -> None:
    worker = await services.worker(LEASEQ_LOG_LEVEL="info")
    task_id = await client.submit("note", n=1)
    await client.ended(task_id)
    (line,) = await worker.hear("attempt.settled", task_id=task_id)
    assert {"type", "queue", "attempt", "outcome", "state", "seconds", "timestamp"} <= line.keys()
    assert [said["event"] for said in worker.said if said.get("task_id") == task_id] == ["attempt.settled"]


async def test_an_unknown_type_is_handed_back_with_a_delay(services: Services, client: Client) -> None:
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


async def test_idle_worker_pulls_other_priorities_immediately(services: Services, client: Client, pace: Pace) -> None:
    worker = await services.worker()
    warm = await client.submit("nap", seconds=0)
    await client.ended(warm)
    for priority in ("high", "low"):
        task_id = await client.submit("nap", seconds=0, options={"priority": priority})
        task = await client.ended(task_id)
        assert task.started_at is not None
        assert (task.started_at - task.created_at).total_seconds() < 0.5 * pace.slowness
    assert worker.process.returncode is None
