"""The form that submits a task."""

from __future__ import annotations

from uuid import uuid4

import httpx
import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.model import State
from support.api import Api, open_api
from support.keys import bearer, issue

SITE = {"Sec-Fetch-Site": "same-origin"}


async def submit(api: Api, **fields: str) -> httpx.Response:
    data = {"operation_id": str(uuid4()), "type": "add", "payload": '{"n": 1}'} | fields
    return await api.client.post("/ui/submit", data=data, headers=SITE)


async def test_an_overview_without_work_has_the_form(api: Api) -> None:
    text = (await api.client.get("/ui")).text
    assert 'action="/ui/submit"' in text
    assert "curl -i http://localhost/api/tasks" in text
    await api.submitted({"type": "add", "payload": {"n": 1}})
    await api.service.engine.pusher.aclose()
    api.service.overview.forget()
    assert 'action="/ui/submit"' not in (await api.client.get("/ui")).text


async def test_a_form_is_a_submission(api: Api) -> None:
    operation_id = str(uuid4())
    first = await submit(
        api, operation_id=operation_id, queue="mail", payload='{"big": 12345678901234567890}'
    )
    assert first.status_code == 303
    task_id = first.headers["location"].removeprefix("/ui/tasks/")
    task = await api.service.engine.for_tenant(None).find(task_id)
    assert (task.type, task.queue, task.state) == ("add", "mail", State.PENDING)
    assert task.payload == b'{"big": 12345678901234567890}'
    assert task.idempotency_key == f"ui-{operation_id}"
    again = await submit(
        api, operation_id=operation_id, queue="mail", payload='{"big": 12345678901234567890}'
    )
    assert again.headers["location"] == first.headers["location"]


@pytest.mark.parametrize("payload", ["", "{", '{"a": 1} x', "[1,", '{"a": NaN}', "\\u0000"])
async def test_a_payload_that_is_no_json_is_named_at_its_field(api: Api, payload: str) -> None:
    answer = await submit(api, payload=payload)
    assert answer.status_code == 422
    assert 'aria-describedby="payload-error"' in answer.text
    assert (await api.get("/api/tasks"))["tasks"] == []


async def test_a_key_without_submit_has_no_form(guarded: Api) -> None:
    reader = bearer((await issue(guarded, "read")).text)
    assert 'action="/ui/submit"' not in (await guarded.client.get("/ui", headers=reader)).text
    data = {"operation_id": str(uuid4()), "type": "add", "payload": "{}"}
    answer = await guarded.client.post("/ui/submit", data=data, headers=reader | SITE)
    assert answer.status_code == 403


async def test_a_read_only_dashboard_submits_nothing(config: Config) -> None:
    async with open_api(replace(config, ui_read_only=True)) as shown:
        assert 'action="/ui/submit"' not in (await shown.client.get("/ui")).text
        assert (await submit(shown)).status_code == 403
