"""The page of a queue, and what its buttons do."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import httpx
import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.ledger.operation_log import OperationFilter
from support.api import Api, open_api
from support.keys import bearer, issue

SITE = {"Sec-Fetch-Site": "same-origin"}


async def pause(api: Api, **fields: str) -> httpx.Response:
    data = {"operation_id": str(uuid4())} | fields
    return await api.client.post("/ui/queues/mail/pause", data=data, headers=SITE)


@pytest.fixture
async def mail(api: Api) -> Api:
    """An application with a queue."""
    await api.submitted({"type": "send", "payload": {}, "queue": "mail"})
    return api


async def paused(api: Api) -> bool:
    return any(each.paused for each in await api.service.engine.list_queues())


async def test_a_queue_is_paused_and_resumed_by_forms(mail: Api) -> None:
    answer = await pause(mail, reason="deploy")
    assert answer.status_code == 303
    page = await mail.client.get(answer.headers["location"])
    assert "mail was paused" in page.text
    assert "deploy" in page.text
    assert await paused(mail)
    undone = await mail.client.post(
        "/ui/queues/mail/resume", data={"operation_id": str(uuid4())}, headers=SITE
    )
    assert undone.headers["location"] == "/ui/queues/mail?done=resumed"
    assert not await paused(mail)


async def test_a_form_that_is_sent_twice_acts_once(mail: Api) -> None:
    operation_id = str(uuid4())
    answers = await asyncio.gather(
        *(pause(mail, operation_id=operation_id, reason="deploy") for _ in range(3))
    )
    assert {answer.status_code for answer in answers} == {303}
    listed = await mail.service.engine.list_operations(OperationFilter(action="pause"), tenant=None)
    assert len(listed.operations) == 1


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"operation_id": "1"},
        {"operation_id": str(uuid4()), "more": "x"},
        {"operation_id": str(uuid4()), "reason": "a\nb"},
    ],
)
async def test_a_form_that_is_not_of_its_page_is_refused(mail: Api, data: dict[str, str]) -> None:
    answer = await mail.client.post("/ui/queues/mail/pause", data=data, headers=SITE)
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"].startswith("text/html")
    assert not await paused(mail)


async def test_a_key_without_operate_has_no_button_and_no_right(guarded: Api) -> None:
    await guarded.service.engine.stores.queues.register_queues(["mail"])
    reader = bearer((await issue(guarded, "read")).text)
    page = await guarded.client.get("/ui/queues/mail", headers=reader)
    assert page.status_code == 200
    assert "<button>Pause" not in page.text
    data = {"operation_id": str(uuid4())}
    answer = await guarded.client.post("/ui/queues/mail/pause", data=data, headers=reader | SITE)
    assert answer.status_code == 403


async def test_a_key_of_a_tenant_sees_no_depths_and_pauses_nothing(guarded: Api) -> None:
    await guarded.service.engine.stores.queues.register_queues(["mail"])
    bound = bearer((await issue(guarded, "read", "operate", tenant="acme")).text)
    page = await guarded.client.get("/ui/queues/mail", headers=bound)
    assert "a lane holds the tasks of all tenants" in page.text
    assert "<button>Pause" not in page.text
    data = {"operation_id": str(uuid4())}
    answer = await guarded.client.post("/ui/queues/mail/pause", data=data, headers=bound | SITE)
    assert answer.status_code == 403


async def test_a_read_only_dashboard_changes_nothing(config: Config) -> None:
    async with open_api(replace(config, ui_read_only=True)) as shown:
        await shown.submitted({"type": "send", "payload": {}, "queue": "mail"})
        assert "<button>Pause" not in (await shown.client.get("/ui/queues/mail")).text
        assert (await pause(shown)).status_code == 403
        assert not await paused(shown)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("mail", "/ui/queues/mail"),
        ("0199D5A0-0000-7000-8000-000000000000", "/ui/tasks/0199d5a0-0000-7000-8000-000000000000"),
        ("key:order 1", "/ui/tasks?q=key%3Aorder+1"),
        ("charge", "/ui/tasks?q=charge"),
        ("", "/ui"),
    ],
)
async def test_go_to_finds_the_page(mail: Api, text: str, path: str) -> None:
    answer = await mail.client.get("/ui/goto", params={"q": text})
    assert answer.status_code == 303
    assert answer.headers["location"] == path
