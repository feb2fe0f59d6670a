"""Both clients with API keys: refusals have their codes, tenants are kept apart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from leaseq.api_keys import RequestLimit
from leaseq.codec import new_task_id
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq_http import (
    AsyncClient,
    Client,
    Forbidden,
    RequestRefused,
    ResultInvalid,
    Submission,
    TaskNotFound,
    TooManyRequests,
    Unauthorized,
)
from support.client import Client as Stores
from support.http_clients import Either
from support.ledger import claim_task, open_worker, succeeded
from support.processes import Services

Kind = type[AsyncClient | Client]


@pytest.fixture
async def guarded(services: Services, client: Stores) -> str:
    """The address of an API process that asks for keys. It starts only if there is one."""
    await issued(client, "read")
    services.config = replace(services.config, api_auth="keys")
    api = await services.start("api", "--port", "0")
    (started,) = await api.hear("api.started")
    return f"http://127.0.0.1:{started['port']}"


@asynccontextmanager
async def opened(
    kind: Kind, address: str, *, key: str | None = None, tenant: str | None = None, **more: Any
) -> AsyncIterator[Either]:
    if kind is AsyncClient:
        async with AsyncClient(address, api_key=key, tenant=tenant, **more) as client:
            yield Either(client)
    else:
        with Client(address, api_key=key, tenant=tenant, **more) as blocking:
            yield Either(blocking)


async def issued(stores: Stores, *scopes: str, tenant: str | None = None) -> str:
    """The text of a new key."""
    access = stores.engine.access
    if tenant is not None:
        await access.create_tenant(tenant)
    created = await access.create_key("test", scopes=scopes, tenant=tenant, expires_seconds=None)
    return created.text


async def test_requests_without_a_valid_key_are_unauthorized(kind: Kind, guarded: str) -> None:
    for key, code in ((None, "key_missing"), ("lq_nonsense", "key_invalid")):
        async with opened(kind, guarded, key=key) as leaseq:
            with pytest.raises(Unauthorized) as raised:
                await leaseq.submit("charge", {})
        assert (raised.value.code, raised.value.status) == (code, 401)
        assert key is None or key not in str(raised.value)


async def test_large_body_without_a_valid_key_is_unauthorized(kind: Kind, guarded: str) -> None:
    """The service refuses it while the client sends."""
    items = [Submission("add", "x" * 6_000) for _ in range(1_000)]
    async with opened(kind, guarded, key="lq_nonsense") as leaseq:
        with pytest.raises(Unauthorized) as raised:
            await leaseq.submit_many(items)
        assert raised.value.code == "key_invalid"
        with pytest.raises(Unauthorized):
            await leaseq.submit("add", "x" * 900_000)


async def test_request_beyond_the_limit_of_a_key_says_when_to_come_again(
    kind: Kind, guarded: str, client: Stores
) -> None:
    created = await client.engine.access.create_key(
        *("test",), scopes=["read"], tenant=None, expires_seconds=None, limit=RequestLimit(0.05, 1)
    )
    async with opened(kind, guarded, key=created.text, retry_seconds=0) as leaseq:
        with pytest.raises(TaskNotFound):
            await leaseq.find(new_task_id())
        with pytest.raises(TooManyRequests) as raised:
            await leaseq.find(new_task_id())
    assert (raised.value.code, raised.value.status) == ("rate_limited", 429)
    assert raised.value.retry_after is not None
    assert 1 <= raised.value.retry_after <= 20


async def test_missing_scope_is_forbidden_and_contents_are_left_out(
    kind: Kind,
    guarded: str,
    client: Stores,
    ledger: TaskLedger,
    worker_ledger: WorkerLedger,
) -> None:
    async with opened(kind, guarded, key=await issued(client, "submit", "read")) as leaseq:
        submitted = await leaseq.submit("charge", {"n": 1})
        with pytest.raises(Forbidden) as raised:
            await leaseq.cancel(submitted.task_id)
        assert raised.value.code == "scope_missing"
        claim = await claim_task(ledger, submitted.task_id, await open_worker(worker_ledger))
        await ledger.settle([succeeded(claim, b"[1]")])
        task = await leaseq.wait(submitted.task_id)
        assert (task.state, task.payload, task.result) == ("SUCCESS", UNSET, UNSET)
        with pytest.raises(ResultInvalid, match="a key needs the scope `payloads`"):
            await leaseq.result(submitted.task_id)


async def test_tenants_are_kept_apart(kind: Kind, guarded: str, client: Stores) -> None:
    scopes = ("submit", "read", "operate")
    ours, theirs = [await issued(client, *scopes, tenant=name) for name in ("acme", "bmart")]
    async with (
        opened(kind, guarded, key=ours) as acme,
        opened(kind, guarded, key=theirs) as bmart,
        opened(kind, guarded, key=await issued(client, *scopes), tenant="acme") as for_acme,
        opened(kind, guarded, key=ours, tenant="bmart") as intruder,
        opened(kind, guarded, key=await issued(client, *scopes), tenant="nobody") as lost,
    ):
        submitted = await acme.submit("charge", {}, idempotency_key="k")
        assert (await acme.find(submitted.task_id)).tenant == "acme"
        assert (await for_acme.submit("charge", {}, idempotency_key="k")).replayed
        other = await bmart.submit("charge", {}, idempotency_key="k")
        assert (other.task_id != submitted.task_id, other.replayed) == (True, False)
        with pytest.raises(TaskNotFound):
            await bmart.cancel(submitted.task_id)
        assert [task.task_id for task in await bmart.list_tasks()] == [other.task_id]
        with pytest.raises(Forbidden, match="tenant_forbidden"):
            await intruder.find(other.task_id)
        with pytest.raises(RequestRefused, match="tenant_unknown"):
            await lost.submit("charge", {})
