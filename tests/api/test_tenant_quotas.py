"""Quotas of tenants: unfinished tasks and bytes of payloads."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.connections.postgres_connection import Connection
from leaseq.errors import ServerUnreachable
from leaseq.ledger.session import Session
from leaseq.observability.telemetry import recorded
from leaseq_api.quotas.applied_quotas import FRESH_SECONDS
from leaseq_chaos.pace import Pace
from support.api import Api, problem
from support.keys import headers_of, open_guarded_api
from support.ledger import submission
from support.quotas import Tenant
from support.worker import until

LISTED = "select count(*) from leaseq.unfinished_tasks"


async def other_of(tenant: Tenant, api: Api) -> Tenant:
    """The same tenant at another process, which knows its quotas."""
    await api.service.quotas.look()
    return Tenant(api, tenant.headers, tenant.name)


async def one(plain: Connection, query: str) -> Any:
    row = await (await plain.execute(query)).fetchone()
    assert row is not None
    return row[0]


async def test_past_the_limit_a_submission_is_refused_with_the_time_to_wait(acme: Tenant) -> None:
    await acme.limit(unfinished=2)
    with recorded() as events:
        for left in (1, 0):
            answer = await acme.submit()
            assert answer.status_code == 202
            assert answer.headers["RateLimit-Policy"] == '"unfinished";q=2;qu="tasks"'
            assert answer.headers["RateLimit"] == f'"unfinished";r={left}'
        for _ in range(2):
            answer = await acme.submit()
            problem(answer, "unfinished_limited")
            assert 1 <= int(answer.headers["Retry-After"]) <= 5
            assert answer.headers["RateLimit"] == '"unfinished";r=0'
    told = [e.fields for e in events if e.name == "quota.exceeded"]
    assert told == [{"policy": "unfinished", "tenant": "acme"}]
    other = await headers_of(acme.api, ["submit"], tenant="other")
    answer = await acme.api.client.post(
        "/api/tasks", json={"type": "add", "payload": 1}, headers=other
    )
    assert answer.status_code == 202
    assert "RateLimit" not in answer.headers


async def test_a_replay_is_answered_at_the_limit(acme: Tenant) -> None:
    await acme.limit(unfinished=1)
    task_id = await acme.accepted("first")
    problem(await acme.submit("second"), "unfinished_limited")
    for _ in range(2):
        again = await acme.submit("first")
        assert (again.status_code, again.json()["task_id"]) == (202, task_id)
        assert again.headers["Idempotent-Replayed"] == "true"
    # Another content under the key is refused as ever.
    problem(await acme.submit("first", payload=2), "idempotency_key_reused")
    assert acme.used() == 1


async def test_replays_and_refusals_take_no_room(acme: Tenant) -> None:
    await acme.limit(unfinished=3, payload_bytes_per_day=100)
    await acme.accepted("first")
    for _ in range(5):
        await acme.accepted("first")
        problem(await acme.submit(type="\0"), "submission_invalid")
    assert (acme.used(), acme.bytes_used()) == (1, 1)
    await acme.accepted("second")
    await acme.accepted()
    problem(await acme.submit(), "unfinished_limited")


async def test_room_comes_back_within_five_seconds_of_the_end(acme: Tenant, pace: Pace) -> None:
    """Through the loops of the process, with tasks in front that wait for a long time."""
    await acme.limit(unfinished=30)
    for _ in range(25):
        await acme.accepted(delay_seconds=3600)
    ending = [await acme.accepted() for _ in range(5)]
    problem(await acme.submit(), "unfinished_limited")
    for task_id in ending:
        await acme.cancel(task_id)
    ended = monotonic()
    await until(lambda: acme.used() == 25)
    assert monotonic() - ended < 5 * pace.slowness
    await acme.accepted()


async def test_a_queue_has_a_limit_of_its_own(acme: Tenant) -> None:
    await acme.limit(unfinished=4, unfinished_per_queue=2)
    for _ in range(2):
        answer = await acme.submit(queue="mail")
        assert answer.status_code == 202
    assert answer.headers["RateLimit"] == '"unfinished";r=2, "unfinished-per-queue";r=0'
    problem(await acme.submit(queue="mail"), "unfinished_limited")
    await acme.accepted(queue="other")
    await acme.accepted(queue="third")
    refused = problem(await acme.submit(queue="fourth"), "unfinished_limited")
    assert "4 unfinished tasks" in refused["detail"]


async def test_items_of_a_batch_beyond_the_limit_fail_alone(acme: Tenant) -> None:
    await acme.limit(unfinished=3)
    old = await acme.accepted("old")
    items = [
        {"type": "add", "payload": number, "idempotency_key": key}
        for number, key in enumerate(["a", "a", "b", "c", "d", "old"])
    ]
    items[1]["payload"], items[5]["payload"] = 0, 1
    answer = await acme.api.client.post("/api/tasks/batch", json=items, headers=acme.headers)
    found = answer.json()["items"]
    assert [each["status"] for each in found] == [202, 202, 202, 429, 429, 202]
    assert [each.get("replayed") for each in found] == [False, True, False, None, None, True]
    assert {each["problem"]["code"] for each in found if "problem" in each} == {
        "unfinished_limited"
    }
    assert found[5]["task"]["task_id"] == old
    assert acme.used() == 3
    # Replays in front take no room of what comes behind them.
    await acme.limit(unfinished=4)
    items = [items[0], items[2], items[5], {"type": "add", "payload": 9}, items[3]]
    answer = await acme.api.client.post("/api/tasks/batch", json=items, headers=acme.headers)
    assert [each["status"] for each in answer.json()["items"]] == [202, 202, 202, 202, 429]


async def test_bytes_of_a_day_are_shared_by_all_processes(
    config: Config, plain: Connection
) -> None:
    async with open_guarded_api(config) as first, open_guarded_api(config) as second:
        headers = await headers_of(first, ["submit", "read", "operate"], tenant="acme")
        one_process = Tenant(first, headers, "acme")
        await one_process.limit(payload_bytes_per_day=100)
        another = await other_of(one_process, second)
        await one_process.accepted(payload="x" * 58)  # and two quotes
        await another.accepted(payload="x" * 8)
        await until(lambda: one_process.bytes_used() == another.bytes_used() == 70)
        answer = await another.submit(payload="x" * 30)
        refused = problem(answer, "payload_bytes_limited")
        assert "30 are left" in refused["detail"]
        midnight = datetime.now(UTC).date() + timedelta(days=1)
        left = datetime.combine(midnight, datetime.min.time(), UTC) - datetime.now(UTC)
        assert abs(int(answer.headers["Retry-After"]) - left.total_seconds()) < 60
        policy = '"payload-bytes";q=100;qu="content-bytes";w=86400'
        assert answer.headers["RateLimit-Policy"] == policy
        assert answer.headers["RateLimit"].startswith('"payload-bytes";r=30;t=')
        await another.accepted(payload="x" * 28)
    # The last bytes are written at the end of the process.
    assert await one(plain, "select sum(bytes) from leaseq.payload_bytes") == 100


async def test_bytes_begin_again_with_the_day(acme: Tenant, plain: Connection) -> None:
    await acme.limit(payload_bytes_per_day=10)
    old = "insert into leaseq.payload_bytes values (current_date - 9, 'acme', gen_random_uuid(), 9)"
    await plain.execute(old)
    await acme.accepted(payload="x" * 8)
    problem(await acme.submit(), "payload_bytes_limited")
    standing = acme.api.service.quotas.of("acme")
    assert standing is not None
    now = asyncio.get_running_loop().time()
    tomorrow = now + standing.seconds_left(now) + 1
    assert standing.payload_bytes(tomorrow) == 0
    assert standing.seconds_left(tomorrow) > 86_000
    await acme.api.service.quotas.write_bytes()
    assert await one(plain, "select count(*) from leaseq.payload_bytes") == 1


async def test_a_limit_of_zero_refuses_everything(acme: Tenant) -> None:
    await acme.limit(unfinished=0)
    problem(await acme.submit(), "unfinished_limited")
    await acme.limit(unfinished=None, payload_bytes_per_day=0)
    problem(await acme.submit(), "payload_bytes_limited")
    await acme.limit(payload_bytes_per_day=None)
    answer = await acme.submit()
    assert answer.status_code == 202
    assert "RateLimit" not in answer.headers


async def test_the_list_is_removed_with_the_limit(acme: Tenant, plain: Connection) -> None:
    await acme.limit(unfinished=100)
    for number in range(5):
        await acme.accepted(queue=f"q{number % 2}")
    assert await one(plain, LISTED) == 5
    await acme.limit(unfinished=None)

    async def is_empty() -> bool:
        return bool(await one(plain, LISTED) == 0)

    await until(is_empty)


async def test_a_redriven_task_counts_again(acme: Tenant, plain: Connection) -> None:
    await acme.limit(unfinished=1)
    task_id = await acme.accepted()
    await acme.cancel(task_id)
    await until(lambda: acme.used() == 0)
    answer = await acme.api.client.post(f"/api/tasks/{task_id}/redrive", headers=acme.headers)
    assert answer.status_code == 202
    await until(lambda: acme.used() == 1)
    problem(await acme.submit(), "unfinished_limited")


async def test_tasks_without_a_quota_are_not_listed(acme: Tenant, plain: Connection) -> None:
    await acme.limit(unfinished=10)
    other = await headers_of(acme.api, ["submit"], tenant="other")
    task = {"type": "add", "payload": 1}
    answers = await asyncio.gather(
        *(
            acme.api.client.post("/api/tasks", json=task, headers=headers)
            for headers in (other, acme.headers, other)
        )
    )
    assert [answer.status_code for answer in answers] == [202] * 3
    assert await one(plain, LISTED) == 1
    assert await one(plain, "select count(*) from leaseq.tasks") == 3


async def test_tasks_from_before_the_limit_do_not_count(acme: Tenant, plain: Connection) -> None:
    old = [await acme.accepted("old"), await acme.accepted()]
    await acme.limit(unfinished=1)
    await acme.accepted()
    problem(await acme.submit(), "unfinished_limited")
    await acme.accepted("old")  # a replay
    for task_id in old:
        await acme.cancel(task_id)
    problem(await acme.submit(), "unfinished_limited")
    assert await one(plain, LISTED) == 1


async def test_a_client_that_goes_away_gives_no_room_back(acme: Tenant) -> None:
    """Its task is recorded, or may be."""
    await acme.limit(unfinished=1, payload_bytes_per_day=10)
    quotas = acme.api.service.quotas
    standing = quotas.of("acme")
    assert standing is not None
    tasks = acme.api.service.engine.for_tenant("acme")
    submitting = asyncio.create_task(
        quotas.submit(standing, tasks, submission(tenant="acme", payload=b"12345"))
    )
    await asyncio.sleep(0)  # it is on its way
    submitting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await submitting
    assert (acme.used(), acme.bytes_used()) == (1, 5)
    problem(await acme.submit(), "unfinished_limited")


async def test_submissions_at_the_same_time_do_not_share_the_room(acme: Tenant) -> None:
    await acme.limit(unfinished=20)
    answers = await asyncio.gather(*(acme.submit() for _ in range(50)))
    assert sorted(answer.status_code for answer in answers) == [202] * 20 + [429] * 30


async def test_two_processes_exceed_a_limit_by_seconds_at_most(config: Config) -> None:
    """Each knows what the other has accepted after its next look."""
    async with open_guarded_api(config) as first, open_guarded_api(config) as second:
        headers = await headers_of(first, ["submit", "read", "operate"], tenant="acme")
        one_process = Tenant(first, headers, "acme")
        await one_process.limit(unfinished=100)
        another = await other_of(one_process, second)
        accepted: list[float] = []

        async def submit(client: Tenant) -> None:
            began = monotonic()
            if (await client.submit()).status_code == 202:
                accepted.append(began)

        async def submit_steadily(client: Tenant) -> None:
            until_then = monotonic() + 4
            while monotonic() < until_then:
                await submit(client)

        await asyncio.gather(submit_steadily(one_process), submit_steadily(another))
        beyond = sorted(accepted)[100:]
        print(f"\n{len(accepted)} accepted, {len(beyond)} beyond the limit")
        assert len(accepted) >= 100
        # The last one came within 5 seconds of the first one that was too much.
        assert not beyond or beyond[-1] - beyond[0] < FRESH_SECONDS
        await until(lambda: one_process.used() == another.used() == len(accepted))
        problem(await one_process.submit(), "unfinished_limited")
        problem(await another.submit(), "unfinished_limited")


async def test_the_quota_holds_and_frees_while_redis_is_away(config: Config) -> None:
    async with open_guarded_api(replace(config, redis_url="redis://127.0.0.1:1")) as api:
        headers = await headers_of(api, ["submit", "read", "operate"], tenant="acme")
        acme = Tenant(api, headers, "acme")
        await acme.limit(unfinished=1, payload_bytes_per_day=3)
        task_id = await acme.accepted()
        problem(await acme.submit(), "unfinished_limited")
        await acme.cancel(task_id)
        await until(lambda: acme.used() == 0)
        await acme.accepted(payload=22)
        await acme.limit(unfinished=2)
        problem(await acme.submit(), "payload_bytes_limited")


async def test_a_locked_row_delays_no_submission(acme: Tenant, plain: Connection) -> None:
    """Other tasks are freed, too, while a transaction holds one row and the sums of the day."""
    await acme.limit(unfinished=3, payload_bytes_per_day=1000)
    held, ended = await acme.accepted(), await acme.accepted()
    await acme.api.service.quotas.write_bytes()
    async with plain.transaction():
        await plain.execute("select from leaseq.payload_bytes for update")
        await plain.execute("select from leaseq.unfinished_counts for update")
        lock = "select from leaseq.unfinished_tasks where task_id = %s for update"
        await plain.execute(lock, [held])
        await plain.execute("select from leaseq.tenants for update")
        await acme.cancel(held)
        await acme.cancel(ended)
        await until(lambda: acme.used() == 1)
        await acme.accepted()
    await until(lambda: acme.used() == 1)


async def test_a_quota_costs_no_statement_in_a_submission(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only at a limit one is sent, and only for a submission with a key."""
    sent: list[str] = []
    fetch = Session.fetch
    of_submissions = {"submit_plain", "submit_tasks", "submit_counted", "find_keys"}

    async def count(self: Session, name: str, *args: Any, **rest: Any) -> Any:
        if name in of_submissions:
            sent.append(name)
        return await fetch(self, name, *args, **rest)

    monkeypatch.setattr(Session, "fetch", count)
    await acme.limit(unfinished=3, unfinished_per_queue=3, payload_bytes_per_day=1000)
    await acme.accepted()
    await acme.accepted("first")
    assert sent == ["submit_counted"] * 2
    await acme.accepted("first")
    assert sent == ["submit_counted"] * 3 + ["find_keys"]
    await acme.accepted()
    problem(await acme.submit(), "unfinished_limited")
    problem(await acme.submit("second"), "unfinished_limited")
    assert sent[4:] == ["submit_counted", "find_keys"]
    sent.clear()
    other = await headers_of(acme.api, ["submit"], tenant="other")
    for key in ({}, {"Idempotency-Key": "first"}):
        task = {"type": "add", "payload": 1}
        answer = await acme.api.client.post("/api/tasks", json=task, headers=other | key)
        assert answer.status_code == 202
    assert sent[-2:] == ["submit_plain", "submit_tasks"]
    assert "submit_counted" not in sent


async def test_a_use_that_is_not_known_any_more_refuses(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postgres counts too slowly, or not at all."""
    await acme.limit(unfinished=5)
    quotas = acme.api.service.quotas

    async def count_never() -> dict[tuple[str, str], int]:
        raise ServerUnreachable("Postgres cannot do this now")

    monkeypatch.setattr(quotas._quotas, "count_unfinished", count_never)
    standing = quotas.of("acme")
    assert standing is not None
    assert (await acme.submit()).status_code == 202
    standing.stale_at = asyncio.get_running_loop().time()
    problem(await acme.submit(), "server_unreachable")
