"""The trace context of an HTTP client reaches its tasks."""

from __future__ import annotations

import json
from collections.abc import Iterator

import msgspec
import pytest

from leaseq import Leaseq
from leaseq.config import Config
from leaseq_api.batch.route import NDJSON
from support.api import Api, open_api
from support.client import Client
from support.spans import Spans, address_of, collecting, links_of
from support.worker import until, working

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
OTHER = f"00-{TRACE}-{'1' * 16}-01"
CALLER = (int(TRACE, 16), int(SPAN, 16))


@pytest.fixture
def spans() -> Iterator[Spans]:
    with collecting() as collected:
        yield collected


async def context_of(client: Client, task_id: str) -> dict[str, str]:
    [(headers,)] = await client.rows(
        "select headers::text from leaseq.tasks where id = %s", task_id
    )
    return {} if headers is None else msgspec.json.decode(headers, type=dict[str, str])


async def test_a_service_without_a_provider_stores_it(api: Api, client: Client) -> None:
    task_id = await api.submitted(traceparent=PARENT, tracestate="a=1")
    assert await context_of(client, task_id) == {"traceparent": PARENT, "tracestate": "a=1"}
    assert await context_of(client, await api.submitted(traceparent="00-1")) == {}
    assert await context_of(client, await api.submitted(tracestate="a=1")) == {}


async def test_another_context_is_no_other_submission(api: Api, client: Client) -> None:
    first = await api.submit(traceparent=PARENT, idempotency_key="order-1")
    again = await api.submit(traceparent=OTHER, tracestate="a=1", idempotency_key="order-1")
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json()["task_id"] == first.json()["task_id"]
    assert await context_of(client, first.json()["task_id"]) == {"traceparent": PARENT}


@pytest.mark.parametrize("kind", ["application/json", NDJSON.decode()])
async def test_all_items_of_a_batch_have_it(api: Api, client: Client, kind: str) -> None:
    items = [json.dumps({"type": "add", "payload": {"n": n}}) for n in range(2)]
    raw = "\n".join(items) if kind == NDJSON.decode() else f"[{','.join(items)}]"
    headers = {"Content-Type": kind, "traceparent": PARENT}
    answer = await api.client.post("/api/tasks/batch", content=raw, headers=headers)
    tasks = [item["task"]["task_id"] for item in answer.json()["items"]]
    assert [await context_of(client, task) for task in tasks] == [{"traceparent": PARENT}] * 2


async def test_a_worker_links_to_the_client(config: Config, api: Api, spans: Spans) -> None:
    app = Leaseq(config)

    @app.task(name="add")
    async def add(n: int) -> None: ...

    async with working(config, app):
        await api.submitted(traceparent=PARENT)
        await until(lambda: bool(spans.named("run default")))
    # The service was opened before there was a provider.
    assert links_of(spans.one("run default")) == [CALLER]


async def test_a_service_with_a_provider_makes_a_child(config: Config, spans: Spans) -> None:
    app = Leaseq(config)

    @app.task(name="add")
    async def add(n: int) -> None: ...

    async with open_api(config) as api, working(config, app):
        await api.submitted(traceparent=PARENT)
        await until(lambda: bool(spans.named("run default")))
    submit = spans.one("submit default")
    assert submit.parent is not None
    assert (submit.parent.trace_id, submit.parent.span_id) == CALLER
    assert links_of(spans.one("run default")) == [address_of(submit)]


async def test_the_document_names_the_headers_where_a_task_is_submitted(api: Api) -> None:
    document = await api.get("/schema/openapi.json")
    named = {
        operation["operationId"]
        for item in document["paths"].values()
        for operation in item.values()
        if {"traceparent", "tracestate"}
        <= {each["name"] for each in operation.get("parameters", ())}
    }
    assert named == {"submit", "submit_batch", "replay"}
