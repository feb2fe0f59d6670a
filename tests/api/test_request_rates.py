"""A limit on the requests of a key is exact, and shared by all processes."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack, suppress
from time import monotonic

from msgspec.structs import replace

from leaseq.api_keys import RequestLimit
from leaseq.config import Config
from leaseq.connections.postgres_connection import Connection
from leaseq.observability.telemetry import recorded
from leaseq.operations.open_engine import open_engine
from leaseq_api.quotas.request_rates import PAUSE_SECONDS, RequestRates
from leaseq_api.refused import Refused
from support.api import Api, problem
from support.keys import bearer, headers_of, issue, open_guarded_api

SUBMITTERS = 1_000
KEY = "exactness-ab"
_LOOK = "extract(epoch from looked_at)::float8, tokens + granted"
LOOKED = f"select {_LOOK} from leaseq.rate_buckets where key_id = %(id)s"
# A full bucket loses the tokens of the time until the first request comes.
EMPTY = (
    "update leaseq.rate_buckets set tokens = 0, granted = 0, looked_at = clock_timestamp()"
    f" where key_id = %(id)s returning {_LOOK}"
)


async def limited(api: Api, rate: float, burst: int) -> tuple[dict[str, str], str]:
    """The header and the id of a new key with a limit."""
    issued = await issue(api, "submit", "read", "operate", tenant="acme")
    await api.service.engine.access.limit_key(issued.key.id, RequestLimit(rate, burst))
    return bearer(issued.text), issued.key.id


async def test_past_the_burst_a_request_is_refused_with_the_time_to_wait(guarded: Api) -> None:
    headers, key_id = await limited(guarded, 0.05, 3)
    with recorded() as events:
        for left in (2, 1, 0):
            answer = await guarded.client.get("/api/tasks", headers=headers)
            assert answer.status_code == 200
            assert answer.headers["RateLimit-Policy"] == '"requests";q=3;w=60'
            assert re.fullmatch(f'"requests";r={left};t=[0-9]+', answer.headers["RateLimit"])
        for _ in range(3):
            answer = await guarded.client.get("/api/tasks", headers=headers)
            problem(answer, "rate_limited")
            assert 1 <= int(answer.headers["Retry-After"]) <= 20
            assert answer.headers["RateLimit"].startswith('"requests";r=0;t=')
    assert [e.fields for e in events if e.name == "quota.exceeded"] == [
        {"policy": "requests", "key_id": key_id}
    ]
    # Others, and probes, go on.
    other = await headers_of(guarded, ["read"], tenant="acme")
    answer = await guarded.client.get("/api/tasks", headers=other)
    assert answer.status_code == 200
    assert "RateLimit" not in answer.headers
    assert (await guarded.client.get("/health/live", headers=headers)).status_code == 200


async def test_limits_of_a_key_and_of_its_tenant_are_one_list(guarded: Api) -> None:
    headers, _ = await limited(guarded, 0.05, 3)
    await guarded.service.engine.access.limit_tenant("acme", {"unfinished": 1})
    await guarded.service.quotas.look()
    for status in (202, 429):
        answer = await guarded.client.post(
            "/api/tasks", json={"type": "add", "payload": 1}, headers=headers
        )
        assert answer.status_code == status
        (policy,) = answer.headers.get_list("RateLimit-Policy")
        assert policy == '"requests";q=3;w=60, "unfinished";q=1;qu="tasks"'
        (left,) = answer.headers.get_list("RateLimit")
        assert re.fullmatch('"requests";r=[0-9];t=[0-9]+, "unfinished";r=0', left)
        assert len(answer.headers.get_list("Retry-After")) == (status == 429)


async def test_a_refused_request_costs_no_statement(guarded: Api, plain: Connection) -> None:
    headers, key_id = await limited(guarded, 0.01, 1)
    assert (await guarded.client.get("/api/tasks", headers=headers)).status_code == 200
    looked = "select looked_at from leaseq.rate_buckets where key_id = %(id)s"
    before = await (await plain.execute(looked, {"id": key_id})).fetchone()
    for _ in range(20):
        problem(await guarded.client.get("/api/tasks", headers=headers), "rate_limited")
    assert await (await plain.execute(looked, {"id": key_id})).fetchone() == before


async def test_a_replay_counts_as_a_request(guarded: Api) -> None:
    headers, _ = await limited(guarded, 0.01, 2)
    for replayed in (None, "true"):
        answer = await guarded.client.post(
            "/api/tasks",
            json={"type": "add", "payload": 1},
            headers=headers | {"Idempotency-Key": "k"},
        )
        assert answer.headers.get("Idempotent-Replayed") == replayed
    problem(await guarded.client.get("/api/tasks", headers=headers), "rate_limited")


async def test_the_limit_holds_while_redis_is_away(config: Config) -> None:
    away = replace(config, redis_url="redis://127.0.0.1:1")
    async with open_guarded_api(away) as api:
        headers, _ = await limited(api, 0.01, 1)
        body = {"type": "add", "payload": 1}
        answer = await api.client.post("/api/tasks", json=body, headers=headers)
        assert answer.status_code == 202
        problem(await api.client.post("/api/tasks", json=body, headers=headers), "rate_limited")


async def test_a_new_limit_counts_in_every_process_within_five_seconds(config: Config) -> None:
    async with open_guarded_api(config) as one, open_guarded_api(config) as two:
        issued = await issue(one, "read")
        headers = bearer(issued.text)
        assert (await two.client.get("/api/tasks", headers=headers)).status_code == 200
        await one.service.engine.access.limit_key(issued.key.id, RequestLimit(0.01, 1))
        began = monotonic()
        while (await two.client.get("/api/tasks", headers=headers)).status_code == 200:
            assert monotonic() - began < 5
            await asyncio.sleep(0.05)


async def test_a_rotated_key_keeps_its_limit(guarded: Api) -> None:
    access = guarded.service.engine.access
    issued = await access.create_key(
        *("shop",), scopes=["read"], tenant=None, expires_seconds=None, limit=RequestLimit(5, 9)
    )
    assert (issued.key.rate, issued.key.burst) == (5, 9)
    rotated = await access.rotate_key(issued.key.id, overlap_seconds=0)
    assert (rotated.key.rate, rotated.key.burst) == (5, 9)


async def test_a_limit_over_http(guarded: Api) -> None:
    admin = await headers_of(guarded, ["admin", "submit", "read"])
    body = {"name": "shop", "scopes": ["read"], "tenant": None, "rate": 7}
    created = await guarded.client.post("/api/keys", json=body, headers=admin)
    key = created.json()["key"]
    assert (key["rate"], key["burst"]) == (7, 7)
    path = f"/api/keys/{key['id']}"
    for wrong in (
        {"rate": 100, "burst": 1},
        {"rate": 0},
        {"rate": None, "burst": 1},
        {"burst": 1},
    ):
        problem(await guarded.client.patch(path, json=wrong, headers=admin), "access_invalid")
    removed = await guarded.client.patch(path, json={"rate": None}, headers=admin)
    assert (removed.json()["rate"], removed.json()["burst"]) == (None, None)
    unknown = await guarded.client.patch("/api/keys/" + "a" * 12, json={"rate": 1}, headers=admin)
    problem(unknown, "api_key_not_found")


async def test_1000_submitters_at_two_processes_get_the_limit_to_one_percent(
    config: Config, plain: Connection
) -> None:
    """As many pass as the bucket had tokens, by the clock of Postgres: not one more."""
    # The bucket never becomes full: it would lose the tokens that it has no room for.
    rate, burst, seconds = 400.0, 40_000, 4.0
    limit = RequestLimit(rate, burst)
    passed: list[int] = []

    async def submit(rates: RequestRates, until: float) -> None:
        while monotonic() < until:
            try:
                await rates.admit(KEY, limit)
            except Refused:
                await asyncio.sleep(0.2)
            else:
                passed.append(1)

    async with AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(open_engine(config)) for _ in range(2)]
        processes = [RequestRates(engine.quotas) for engine in engines]
        await processes[0].admit(KEY, limit)
        began, _ = await _one(plain, EMPTY)
        until = monotonic() + seconds
        await asyncio.gather(*(submit(processes[n % 2], until) for n in range(SUBMITTERS)))
        await asyncio.sleep(PAUSE_SECONDS)
        with suppress(Refused):
            await processes[0].admit(KEY, limit)
        ended, left = await _one(plain, LOOKED)
    most = rate * (ended - began)
    print(f"\n{len(passed)} passed, of {most:.1f} tokens, and {left:.1f} are left")
    assert len(passed) <= most
    assert len(passed) + left >= 0.99 * most


async def _one(plain: Connection, query: str) -> tuple[float, float]:
    row = await (await plain.execute(query, {"id": KEY})).fetchone()
    assert row is not None
    return row[0], row[1]
