"""The pages of schedules: what they show to each key, and what their forms do."""

from __future__ import annotations

import asyncio
import re
from html import unescape
from typing import Any
from uuid import uuid4

import httpx
import pytest

from leaseq.ledger.operation_log import OperationFilter
from support.api import Api
from support.dashboard import fill_rules
from support.keys import headers_of

SITE = {"Sec-Fetch-Site": "same-origin"}
DAILY = {"field.type": "report", "field.cron": "0 6 * * *", "field.tz": "Europe/Zurich"}


async def post(
    api: Api, path: str, headers: dict[str, str] | None = None, **fields: str
) -> httpx.Response:
    data = {"operation_id": str(uuid4())} | {
        name.replace("__", "."): value for name, value in fields.items()
    }
    return await api.client.post(f"/ui{path}", data=data, headers=(headers or {}) | SITE)


async def create(api: Api, name: str = "daily", **fields: str) -> httpx.Response:
    data = {"operation_id": str(uuid4()), "name": name} | DAILY | fields
    return await api.client.post("/ui/new-schedule", data=data, headers=SITE)


async def test_a_schedule_is_made_paused_undone_run_and_deleted_by_forms(api: Api) -> None:
    answer = await create(api)
    assert answer.headers["location"] == "/ui/schedules/daily?done=put"
    page = (await api.client.get("/ui/schedules/daily")).text
    assert "At 06:00 every day" in page
    assert page.count("06:00:00 CE") == 5
    paused = await post(api, "/schedules/daily/pause")
    page = (await api.client.get(paused.headers["location"])).text
    assert "daily was paused" in page
    assert "by <strong>open API</strong>" in page
    assert 'action="/ui/schedules/daily/resume"' in page
    assert "paused" in (await api.client.get("/ui/schedules")).text
    await post(api, "/schedules/daily/resume")
    operation_id = str(uuid4())
    runs = [post(api, "/schedules/daily/run", operation_id=operation_id) for _ in range(3)]
    assert {each.status_code for each in await asyncio.gather(*runs)} == {303}
    page = (await api.client.get("/ui/schedules/daily")).text
    assert len(re.findall(r'<tr id="run-', page)) == 1, "a form that is sent twice makes one task"
    assert re.search(r'<a href="/ui/tasks/[0-9a-f-]{36}">.*?PENDING', page, re.DOTALL)
    deleted = await post(api, "/schedules/daily/delete")
    assert deleted.headers["location"] == "/ui/schedules?done=deleted"
    assert (await api.client.get("/ui/schedules/daily")).status_code == 404
    listed = await api.service.engine.list_operations(OperationFilter(), tenant=None)
    assert [each.action for each in listed.operations][::-1] == [
        *("put_schedule", "pause_schedule", "resume_schedule", "run_schedule", "delete_schedule")
    ]


@pytest.mark.parametrize(
    ("fields", "field", "sentence"),
    [
        ({"field.cron": "0 25 * * *"}, "field.cron", "the hour, &#39;25&#39;, is not 0 to 23"),
        ({"field.tz": "Mars/Olympus"}, "field.tz", "is no time zone"),
        ({"field.every_seconds": "soon"}, "field.every_seconds", "Expected `float"),
        ({"field.payload": "{"}, "field.payload", "this is not JSON"),
        ({"field.jitter_seconds": "-1"}, "field.jitter_seconds", "&gt;= 0"),
        ({"field.concurrency_key": "a"}, "field.concurrency_key", "have no limit"),
        ({"name": "no name"}, "name", "1 to 128 characters"),
        ({"name": "taken"}, "name", "there is a schedule taken already"),
    ],
)
async def test_what_the_api_refuses_is_refused_at_its_field(
    api: Api, fields: dict[str, str], field: str, sentence: str
) -> None:
    await create(api, "taken")
    answer = await create(api, **fields)
    assert answer.status_code == 422
    place = re.search(rf'name="{re.escape(field)}".*?</div>', answer.text, re.DOTALL)
    assert place is not None
    assert sentence in place[0]
    assert "Nothing was stored" in answer.text
    listed = await api.service.engine.schedules.list_schedules(tenant=None, limit=9)
    assert [each.name for each in listed] == ["taken"]


async def test_a_change_keeps_what_is_masked_and_what_is_not_changed(api: Api) -> None:
    await fill_rules(api)
    before = (await api.client.get("/api/schedules/daily")).json()
    page = (await api.client.get("/ui/schedules/daily")).text
    form = (await api.client.get("/ui/schedules/daily/change")).text
    assert "hunter2" not in page + form
    fields = {name: _value(form, name) for name in re.findall(r'name="(field\.[a-z_]+)"', form)}
    assert fields["field.concurrency_key"] == "", "the payload has the key"
    data = {"operation_id": str(uuid4())} | fields | {"field.cron": "30 7 * * *"}
    answer = await api.client.post("/ui/schedules/daily/change", data=data, headers=SITE)
    assert answer.status_code == 303, answer.text
    after = (await api.client.get("/api/schedules/daily")).json()
    changed = {name for name in before if before[name] != after[name]}
    assert changed - {"next_times"} == {"cron", "description", "changed_at", "next_at"}
    # A mask at another place is not replaced by the value that it stands for.
    wrong = data | {"field.payload": data["field.payload"].replace("password", "note")}
    wrong["operation_id"] = str(uuid4())
    answer = await api.client.post("/ui/schedules/daily/change", data=wrong, headers=SITE)
    assert answer.status_code == 422
    assert "hunter2" not in answer.text


def _value(form: str, name: str) -> str:
    """The value of a field in a form."""
    field = rf'name="{re.escape(name)}"'
    if found := re.search(rf"<textarea[^>]*{field}[^>]*>(.*?)</textarea>", form, re.DOTALL):
        return unescape(found[1])
    if found := re.search(rf"<select[^>]*{field}[^>]*>(.*?)</select>", form, re.DOTALL):
        chosen = re.search(r"<option selected>([^<]*)", found[1])
        return "" if chosen is None else chosen[1]
    found = re.search(rf'<input[^>]*{field}[^>]* value="([^"]*)"', form)
    assert found is not None
    return unescape(found[1])


async def test_each_key_sees_and_changes_its_own_schedules(guarded: Api) -> None:
    headers: dict[str, Any] = {
        name: await headers_of(guarded, scopes, tenant=tenant)
        for name, scopes, tenant in (
            ("all", ["read", "operate", "submit", "payloads"], None),
            ("acme", ["read", "operate", "submit", "payloads"], "acme"),
            ("reader", ["read"], "acme"),
        )
    }
    body = {"type": "report", "payload": {"n": "unseen"}, "cron": "@daily"}
    for name in ("all", "acme"):
        put = await guarded.client.put(
            f"/api/schedules/of-{name}", json=body, headers=headers[name]
        )
        assert put.status_code == 200

    async def get(path: str, name: str) -> httpx.Response:
        return await guarded.client.get(f"/ui{path}", headers=headers[name])

    assert "of-all" in (whole := (await get("/schedules", "all")).text)
    assert 'href="/ui/schedules/of-acme?tenant=acme"' in whole
    own = (await get("/schedules", "acme")).text
    assert "of-all" not in own
    assert 'href="/ui/schedules/of-acme"' in own
    assert (await get("/schedules/of-all", "acme")).status_code == 404
    assert (await get("/schedules/of-all?tenant=default", "acme")).status_code == 403
    seen = await get("/schedules/of-acme", "reader")
    assert "unseen" not in seen.text
    assert "unseen" in (await get("/schedules/of-acme", "acme")).text
    assert "Pause" not in seen.text
    assert (await get("/schedules/of-acme/change", "reader")).status_code == 403
    refused = await post(guarded, "/schedules/of-acme/pause", headers["reader"])
    assert refused.status_code == 403
    paused = await post(guarded, "/schedules/of-acme/pause?tenant=acme", headers["all"])
    assert paused.headers["location"] == "/ui/schedules/of-acme?tenant=acme&done=paused"
    listed = await guarded.service.engine.list_operations(
        OperationFilter(action="pause_schedule"), tenant="acme"
    )
    assert len(listed.operations) == 1
