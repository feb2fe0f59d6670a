"""The pages of operations: preview, confirm, follow, stop and resume."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from leaseq.codec import new_task_id
from leaseq.config import Config
from leaseq.model import State
from support.api import Api, open_api
from support.bulk import body_of, failed, started, states, until, until_done, waiting
from support.keys import headers_of

SITE = {"Sec-Fetch-Site": "same-origin"}


def hidden(text: str) -> dict[str, str]:
    """The hidden fields of the form that starts an operation."""
    form = text[text.index('<form method="post" action="/ui/operations"') :]
    return {
        name: unescape(value)
        for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form)
    }


async def previewed(api: Api, query: str) -> dict[str, str]:
    answer = await api.client.get(f"/ui/operations/new?{query}")
    assert answer.status_code == 200, answer.text
    return hidden(answer.text)


async def send(api: Api, fields: dict[str, Any], path: str = "") -> httpx.Response:
    return await api.client.post(f"/ui/operations{path}", data=fields, headers=SITE)


async def test_a_redrive_is_previewed_confirmed_and_followed(api: Api) -> None:
    engine = api.service.engine
    ids = await failed(engine, 12, type="send")
    form = await previewed(api, "action=redrive&type=send&queue=&error=")
    assert (form["count"], form["type"], form["action"]) == ("12", "send", "redrive")
    later = await failed(engine, 2, type="send")
    form |= {"rate": "1000", "reason": "the bank <is> back"}
    wrong = await send(api, form | {"confirmed": "11"})
    assert wrong.status_code == 422
    assert "type 12 to confirm" in wrong.text
    assert await states(engine, ids) == {State.FAILED: 12}
    answers = [await send(api, form | {"confirmed": "12"}) for _ in range(2)]
    (where,) = {answer.headers["location"] for answer in answers}
    assert [answer.status_code for answer in answers] == [303, 303]
    done = await until_done(api, where.rpartition("/")[2])
    assert (done["done"], done["total"]) == (12, 12)
    assert await states(engine, ids) == {State.SCHEDULED: 12}
    assert await states(engine, later) == {State.FAILED: 2}
    page = await api.client.get(where)
    assert "the bank &lt;is&gt; back" in page.text
    assert '<rect x="0" y="0" width="100.0" height="4" class="part">' in page.text
    assert "<form" not in page.text[page.text.index("<main") :]
    part = await api.client.get(f"{where}?part=operation")
    assert part.text.strip().startswith('<section id="operation"')
    listed = await api.client.get("/ui/operations")
    assert f'href="{where}"' in listed.text
    assert len((await api.get("/api/operations"))["operations"]) == 1


async def test_selected_tasks_lead_to_a_preview_of_exactly_these(api: Api) -> None:
    engine = api.service.engine
    ids = await failed(engine, 5, type="send", labels={"account": "4 2&"})
    listed = (await api.client.get("/ui/tasks?state=FAILED&type=send")).text
    assert listed.count('type="checkbox" class="select" name="task"') == 5
    chosen = "&".join(f"task={task_id}" for task_id in ids[:2])
    form = await previewed(api, f"action=redrive&{chosen}")
    assert form["count"] == "2"
    assert "type" not in form
    answer = await send(api, form | {"rate": "1000", "confirmed": "2", "reason": ""})
    assert answer.status_code == 303, answer.text
    await until_done(api, answer.headers["location"].rpartition("/")[2])
    assert await states(engine, ids) == {State.FAILED: 3, State.SCHEDULED: 2}


async def test_all_that_match_a_filter_lead_to_a_preview(api: Api) -> None:
    engine = api.service.engine
    ids = await failed(engine, 3, type="send", labels={"account": "4 2&"})
    listed = (await api.client.get("/ui/tasks?label=account%3D4%202%26")).text
    assert 'aria-label="Remove the label account=4 2&amp; from the filter"' in listed
    assert listed.count('href="/ui/tasks?label=account%3D4%202%26">account=4 2&amp;</a>') == 3
    address = re.search(r'href="/ui/operations/new\?(action=redrive[^"]*)"', listed)
    assert address is not None
    form = await previewed(api, unescape(address[1]))
    assert (form["count"], form["label"]) == ("3", '["account=4 2&"]')
    answer = await send(api, form | {"rate": "1000", "confirmed": "3", "reason": ""})
    await until_done(api, answer.headers["location"].rpartition("/")[2])
    assert await states(engine, ids) == {State.SCHEDULED: 3}
    page = (await api.client.get(answer.headers["location"])).text
    assert "account=4 2&amp;" in page
    task = (await api.client.get(f"/ui/tasks/{ids[0]}")).text
    assert 'href="/ui/tasks?label=account%3D4%202%26"' in task


async def test_a_filter_that_is_not_valid_is_told_where_it_stands(api: Api) -> None:
    for query in ("label=account", "error=a%20b", "error=aa&key=k"):
        text = (await api.client.get(f"/ui/tasks?{query}")).text
        assert 'aria-invalid="true"' in text, query
    assert (await api.client.get("/ui/operations/new?label=x")).status_code == 400
    text = (await api.client.get("/ui/operations/new?action=cancel&task=1")).text
    assert "is not the id of a task" in text


async def test_stop_and_resume_are_forms(api: Api) -> None:
    engine = api.service.engine
    ids = await waiting(engine, 30, queue="mail")
    body = body_of("cancel", rate=5.0, queue="mail")
    operation_id = (await started(api, body))["operation_id"]
    await until(api, operation_id, lambda now: now["done"] > 0)
    page = f"/{operation_id}"
    assert (
        f'action="/ui/operations{page}/stop"'
        in (await api.client.get(f"/ui/operations{page}")).text
    )
    assert (await send(api, {}, f"{page}/stop")).status_code == 303
    stopped = (await api.client.get(f"/ui/operations{page}")).text
    assert "stopped" in stopped
    assert f'action="/ui/operations{page}/resume"' in stopped
    assert (await states(engine, ids))[State.PENDING] > 0
    assert (await send(api, {}, f"{page}/resume")).status_code == 303
    assert (await until_done(api, operation_id))["done"] == 30
    assert (await send(api, {}, f"{page}/stop")).status_code == 409


async def test_what_is_not_valid_changes_nothing(api: Api) -> None:
    ids = await failed(api.service.engine, 1, type="send")
    form = await previewed(api, "action=redrive&type=send") | {"confirmed": "1", "reason": ""}
    for fields, status in (
        ({"rate": "fast"}, 422),
        ({"rate": "0"}, 422),
        ({"rate": "5", "operation_id": new_task_id()[:-1]}, 422),
        ({"rate": "5", "action": "erase"}, 400),
        ({"rate": "5", "colour": "red"}, 400),
    ):
        answer = await send(api, form | fields)
        assert answer.status_code == status, (fields, answer.text)
    query = "action=redrive&type=a%20b"
    assert "must be 1 to 128" in (await api.client.get(f"/ui/operations/new?{query}")).text
    empty = await api.client.get("/ui/operations/new?action=cancel")
    assert "Preview" in empty.text
    assert (await api.client.get(f"/ui/operations/{new_task_id()}")).status_code == 404
    assert await states(api.service.engine, ids) == {State.FAILED: 1}


@pytest.mark.parametrize("path", ["/ui/operations", "/ui/operations/new?action=cancel"])
async def test_a_key_without_the_scope_sees_no_operations(guarded: Api, path: str) -> None:
    reader = await headers_of(guarded, ["read"])
    assert (await guarded.client.get(path, headers=reader)).status_code == 403


async def test_a_dashboard_that_only_shows_has_no_buttons(config: Config) -> None:
    async with open_api(replace(config, ui_read_only=True)) as api:
        await failed(api.service.engine, 1, type="send")
        shown = await api.client.get("/ui/operations/new?action=redrive&type=send")
        assert 'method="post" action="/ui/operations"' not in shown.text
        assert (await send(api, {"action": "redrive"})).status_code == 403
