"""Operators see pauses with their reasons, ages, held tasks and task types."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pytest

from leaseq.codec import made_at
from leaseq.dispatch.dispatcher import Dispatcher
from leaseq.dispatch.worker_holdings import MOST_SHOWN
from leaseq.errors import ServerUnreachable
from leaseq.ledger.session import Connection
from leaseq.ledger.task_types import TaskType, TypeLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import Lane
from leaseq_api import operate
from support.api import Api, problem
from support.dispatch import KEYS, ids
from support.keys import bearer, issue
from support.ledger import open_worker

NOT_PAUSED = dict.fromkeys(("paused_by", "paused_reason", "paused_at"))
PAUSE = "/api/queues/mail/pause"


async def queue_of(api: Api, **headers: str) -> dict[str, Any]:
    answer = await api.client.get("/api/queues", headers=headers)
    (queue,) = answer.json()["queues"]
    found: dict[str, Any] = queue
    return found


async def test_a_pause_says_who_and_why_until_the_queue_is_resumed(api: Api) -> None:
    answer = await api.client.post(PAUSE, json={"reason": "the bank is away"})
    shown = answer.json()
    assert (shown["paused_by"], shown["paused_reason"]) == ("open API", "the bank is away")
    assert datetime.fromisoformat(shown["paused_at"]).tzinfo is not None
    assert shown.items() <= (await queue_of(api)).items()
    again = (await api.client.post(PAUSE)).json()
    assert (again["paused"], again["paused_reason"]) == (True, None)
    await api.client.post("/api/queues/mail/resume")
    assert NOT_PAUSED.items() <= (await queue_of(api)).items()
    operations = (await api.get("/api/operations"))["operations"]
    assert [each["detail"] for each in operations if each["action"] == "pause"] == [
        None,
        {"reason": "the bank is away"},
    ]


async def test_a_queue_that_an_older_process_resumed_says_nothing(
    api: Api, plain: Connection
) -> None:
    await api.client.post(PAUSE, json={"reason": "old"})
    await plain.execute("update leaseq.queues set paused = false")
    assert NOT_PAUSED.items() <= (await queue_of(api)).items()


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b'{"reason": ""}', "reason_invalid"),
        (b'{"reason": "a\\nb"}', "reason_invalid"),
        (b'{"reason": "a\\u0000"}', "reason_invalid"),
        (b'{"reason": "' + b"a" * 501 + b'"}', "reason_invalid"),
        (b'{"reason": 1}', "reason_invalid"),
        (b'{"why": "a"}', "reason_invalid"),
        (b"[]", "reason_invalid"),
        (b"{", "json_invalid"),
    ],
)
async def test_a_reason_that_is_not_valid_pauses_nothing(api: Api, raw: bytes, code: str) -> None:
    headers = {"Content-Type": "application/json"}
    problem(await api.client.post(PAUSE, content=raw, headers=headers), code)
    problem(
        await api.client.post(PAUSE, content=raw, headers={"Content-Type": "text/plain"}),
        "media_type_unsupported",
    )
    assert (await api.get("/api/queues"))["queues"] == []
    assert (await api.client.post(PAUSE, json={"reason": None})).status_code == 200
    assert (await api.client.post(PAUSE, json={})).status_code == 200


async def test_a_key_of_a_tenant_sees_no_numbers_and_no_names_of_others(
    guarded: Api, worker_ledger: WorkerLedger
) -> None:
    whole = bearer((await issue(guarded, "read", "operate")).text)
    bound = bearer((await issue(guarded, "read", tenant="acme")).text)
    answer = await guarded.client.post(PAUSE, json={"reason": "why"}, headers=whole)
    assert answer.json()["paused_by"] == "test"
    worker_id = await open_worker(worker_ledger, "mail")
    await hold(guarded, worker_id, "mail", ids(2))
    seen, hidden = await queue_of(guarded, **whole), await queue_of(guarded, **bound)
    assert (seen["paused_by"], hidden["paused_by"]) == ("test", None)
    assert (seen["paused_reason"], hidden["paused_reason"]) == ("why", "why")
    assert seen["depths"]["waiting"] == 0
    assert hidden["depths"] is None
    for headers, count in ((whole, 2), (bound, None), (whole | {"Leaseq-Tenant": "acme"}, None)):
        (worker,) = (await guarded.client.get("/api/workers", headers=headers)).json()["workers"]
        assert worker["lease_left_seconds"] > 0
        assert worker["held_count"] == count
        assert (worker["held_task_ids"] is None) == (count is None)


async def hold(api: Api, worker_id: str, queue: str, task_ids: list[str]) -> None:
    """Begin a lease of a worker, and put deliveries into its list."""
    stores = api.service.engine.stores
    await stores.leases.open(queue, worker_id=worker_id, lease_seconds=60.0, token="t")
    if task_ids:
        await stores.lists._client.rpush(KEYS.processing(queue, worker_id), *task_ids)


async def test_workers_with_the_lease_left_and_the_tasks_they_hold(
    api: Api, worker_ledger: WorkerLedger
) -> None:
    busy, silent = await open_worker(worker_ledger, "a", "b"), await open_worker(worker_ledger)
    held = ids(MOST_SHOWN + 5)
    await hold(api, busy, "a", held[:3])
    await hold(api, busy, "b", held[3:])
    client = api.service.engine.stores.lists._client
    await client.zadd(KEYS.leases("b"), {busy: 1.0})
    found = {each["worker_id"]: each for each in (await api.get("/api/workers"))["workers"]}
    assert found[busy]["held_count"] == len(held)
    assert found[busy]["held_task_ids"] == held[:MOST_SHOWN]
    assert found[busy]["lease_left_seconds"] < 0
    assert (found[silent]["lease_left_seconds"], found[silent]["held_count"]) == (None, 0)


@pytest.mark.parametrize("hangs", [True, False])
async def test_workers_are_listed_while_redis_is_away(
    api: Api, worker_ledger: WorkerLedger, monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    async def away(*_: Any) -> Any:
        if hangs:
            await asyncio.Event().wait()
        raise ServerUnreachable("away")

    monkeypatch.setattr(operate, "DEPTHS_SECONDS", 0.1)
    monkeypatch.setattr(api.service.engine.stores.leases, "list_leases_of", away)
    await open_worker(worker_ledger)
    (worker,) = (await api.get("/api/workers"))["workers"]
    assert [worker[name] for name in ("lease_left_seconds", "held_count", "held_task_ids")] == [
        None
    ] * 3


async def test_the_oldest_is_the_oldest_of_those_that_are_next_in_a_lane(api: Api) -> None:
    stores = api.service.engine.stores
    await stores.queues.register_queues(["busy", "empty", "odd"])
    dispatcher = Dispatcher(stores.lists._client, KEYS, window=10)
    first, second, third = ids(3)
    await dispatcher.push("busy", [second, third])
    await dispatcher.push("busy", [first], lane=Lane.LOW)
    await stores.lists._client.rpush(KEYS.ready("odd", Lane.NORMAL), "no delivery")
    queues = {each["name"]: each for each in (await api.get("/api/queues"))["queues"]}
    assert datetime.fromisoformat(queues["busy"]["depths"]["oldest_at"]) == made_at(first)
    assert queues["empty"]["depths"]["oldest_at"] is None
    assert queues["odd"]["depths"]["oldest_at"] is None


async def test_types_are_listed_by_name_with_their_schema(
    api: Api, type_ledger: TypeLedger
) -> None:
    schema = b'{"type":"object","required":["cents"]}'
    names = ["charge", "mail", "zip"]
    await type_ledger.register_types(
        [TaskType(name, "billing", b"{}", 3, 30.0, payload_schema=schema) for name in names]
    )
    first = await api.get("/api/types?limit=2")
    assert [each["type"] for each in first["types"]] == names[:2]
    assert first["types"][0]["payload_schema"] == {"type": "object", "required": ["cents"]}
    assert (first["types"][0]["queue"], first["types"][0]["max_attempts"]) == ("billing", 3)
    rest = await api.get(f"/api/types?limit=2&cursor={first['next_cursor']}")
    assert ([each["type"] for each in rest["types"]], rest["next_cursor"]) == (["zip"], None)
    for query in ("limit=0", "limit=201", "cursor=a%20b", "page=1"):
        problem(await api.client.get(f"/api/types?{query}"), "parameter_invalid")
