"""The page that chooses a type, and the form of an Overview without work."""

from __future__ import annotations

import re

import msgspec
import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.ledger.task_types import TaskType, TypeLedger
from leaseq.model import State
from leaseq.payloads.shapes import shape_of
from support.api import Api, open_api
from support.keys import bearer, issue

SITE = {"Sec-Fetch-Site": "same-origin"}
SHAPE = shape_of(msgspec.defstruct("add", [("x", int), ("y", int)]))
FORM = 'action="/ui/types/add/submit"'


@pytest.fixture
async def typed(api: Api, type_ledger: TypeLedger) -> Api:
    """An application with two registered types."""
    sources = [TaskType(name, "default", SHAPE, payload_schema=SCHEMA) for name in ("add", "mail")]
    await type_ledger.register_types(sources)
    await api.service.types.refresh()
    return api


SCHEMA = (
    b'{"type": "object", "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}}, '
    b'"required": ["x", "y"]}'
)


async def test_an_overview_without_work_has_the_form_of_the_first_type(typed: Api) -> None:
    text = (await typed.client.get("/ui")).text
    assert FORM in text
    assert 'name="field.x"' in text
    assert "curl -i http://localhost/api/tasks" in text
    key = re.search(rf'{FORM}.*?name="operation_id" value="([^"]+)"', text, re.DOTALL)
    assert key is not None
    data = {"operation_id": key[1], "field.x": "1", "field.y": "2"}
    sent = await typed.client.post("/ui/types/add/submit", data=data, headers=SITE)
    assert sent.status_code == 303, sent.text
    task_id = sent.headers["location"].removeprefix("/ui/tasks/")
    task = await typed.service.engine.for_tenant(None).find(task_id)
    assert (task.type, task.payload, task.state) == ("add", b'{"x":1,"y":2}', State.PENDING)
    await typed.service.engine.pusher.aclose()
    typed.service.overview.forget()
    assert FORM not in (await typed.client.get("/ui")).text


async def test_the_chooser_leads_to_the_form_of_a_type(typed: Api) -> None:
    text = (await typed.client.get("/ui/submit")).text
    assert '<a href="/ui/types/add#submit">add</a>' in text
    assert '<a href="/ui/types/mail#submit">mail</a>' in text
    assert "<form method" not in text[text.index("<main") :]
    answer = await typed.client.get("/ui/submit?type=mail")
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/types/mail#submit")
    assert (await typed.client.post("/ui/submit", data={"type": "add"})).status_code in (404, 405)


async def test_without_a_type_it_says_how_to_start_a_worker(api: Api) -> None:
    for path in ("/ui", "/ui/submit"):
        text = (await api.client.get(path)).text
        assert "No worker has registered a task type yet" in text
        assert FORM not in text


async def test_a_key_without_submit_has_no_form(guarded: Api) -> None:
    reader = bearer((await issue(guarded, "read")).text)
    assert "Submit a task" not in (await guarded.client.get("/ui", headers=reader)).text
    assert (await guarded.client.get("/ui/submit", headers=reader)).status_code == 403


async def test_a_read_only_dashboard_submits_nothing(config: Config) -> None:
    async with open_api(replace(config, ui_read_only=True)) as shown:
        assert "Submit a task" not in (await shown.client.get("/ui")).text
        assert (await shown.client.get("/ui/submit")).status_code == 403
