"""Requests are complete, and wrong arguments are refused before one is sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
import msgspec
import pytest
from msgspec import Raw

from leaseq_http import AsyncClient, Client, Submission, calls
from support.http_clients import Script, scripted

Kind = type[AsyncClient | Client]


@dataclass
class Order:
    """A payload."""

    order_id: int


def test_payload_is_encoded_when_the_submission_is_made() -> None:
    payload = {"n": [1]}
    submission = Submission("add", payload)
    payload["n"].append(2)
    assert submission.body == b'{"type":"add","payload":{"n":[1]}}'
    assert Submission("add", Order(7)).body == b'{"type":"add","payload":{"order_id":7}}'
    assert Submission("add", None).body == b'{"type":"add","payload":null}'


def test_item_of_a_batch_has_its_key() -> None:
    item = Submission("add", Raw(b"[1.50]"), idempotency_key='a"b', queue="q").item
    assert b'"payload":[1.50]' in item
    assert msgspec.json.decode(item) == {
        "type": "add",
        "payload": [1.5],
        "queue": "q",
        "idempotency_key": 'a"b',
    }


@pytest.mark.parametrize(
    ("key", "header"),
    [("order-7", '"order-7"'), ('a "b"', r'"a \"b\""'), ("a\\b", r'"a\\b"'), ("a,b", '"a,b"')],
)
def test_key_is_sent_as_a_quoted_string(key: str, header: str) -> None:
    assert Submission("add", {}, idempotency_key=key).key_header == header


@pytest.mark.parametrize("key", ["", "k" * 256, "é", "a\r\nb", "a\0"])
def test_malformed_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="an idempotency key is 1 to 255"):
        Submission("add", {}, idempotency_key=key)


@pytest.mark.parametrize(
    "payload",
    [float("nan"), {"a": [float("inf")]}, (1, float("-inf")), Raw(b'{"a":'), Raw(b"1 2")],
    ids=["nan", "inf", "tuple", "cut", "two"],
)
def test_payload_that_json_cannot_hold_is_refused(payload: Any) -> None:
    with pytest.raises(ValueError, match=r"JSON|truncated"):
        Submission("add", payload)


def test_payload_of_another_type_and_unknown_option_are_refused() -> None:
    with pytest.raises(TypeError, match="unsupported"):
        Submission("add", object())
    wrong: Any = {"delay": 5}
    with pytest.raises(
        TypeError, match=r"no option 'delay': the options are concurrency_key, debounce"
    ):
        Submission("add", {}, **wrong)
    with pytest.raises(ValueError, match="run_at needs a time zone"):
        Submission("add", {}, run_at=datetime(2026, 1, 1))  # noqa: DTZ001 - naive on purpose


@pytest.mark.parametrize("task_id", ["", ".", ".."])
def test_id_that_would_lead_elsewhere_is_refused(task_id: str) -> None:
    with pytest.raises(ValueError, match="is no task_id"):
        calls.show(task_id)


def test_id_and_query_are_quoted() -> None:
    assert calls.show("../x?wait=9").path == "/api/tasks/..%2Fx%3Fwait%3D9"
    assert calls.list_tasks(idempotency_key="a&b=c d").path == (
        "/api/tasks?idempotency_key=a%26b%3Dc%20d&limit=50"
    )
    assert calls.list_workers(closed=True).path == "/api/workers?closed=true&limit=50"
    assert calls.show("x", wait=0.5).path == "/api/tasks/x?wait=0.500"


async def test_key_and_tenant_are_sent_and_a_prefix_of_the_address_is_kept(kind: Kind) -> None:
    script = Script(httpx.Response(200, json={"queues": [], "next_cursor": None}))
    http = (
        httpx.AsyncClient(transport=script)
        if kind is AsyncClient
        else httpx.Client(transport=script)
    )
    make: Any = kind
    client = make("https://proxy.example/queue/", api_key="lq_1_x", tenant="acme", http=http)
    async with scripted(kind, script) as leaseq:
        leaseq.client = client
        assert await leaseq.list_queues() == []
    (request,) = script.requests
    assert str(request.url) == "https://proxy.example/queue/api/queues?limit=50"
    assert request.headers["authorization"] == "Bearer lq_1_x"
    assert request.headers["leaseq-tenant"] == "acme"
    assert request.headers["user-agent"].startswith("leaseq-http/")
    assert "lq_" not in repr(client)


@pytest.mark.parametrize(
    "base_url",
    ["leaseq.example", "ftp://a", "http://", "http://u:p@a", "http://a?x=1", "http://a#b"],
)
def test_address_that_is_none_of_http_is_refused(base_url: str) -> None:
    with pytest.raises(ValueError, match="base_url must"):
        Client(base_url)


@pytest.mark.parametrize("secret", ["", "lq_é", "lq_\r\nX: y", "lq a"])
def test_malformed_secret_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(ValueError, match="api_key must be printable ASCII") as raised:
        Client("http://a", api_key=secret)
    assert "lq" not in str(raised.value)
