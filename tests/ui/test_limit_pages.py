"""The pages of limits: their lines and tasks, and the form that changes one."""

from __future__ import annotations

import re
from uuid import uuid4

import httpx
import pytest

from leaseq.ledger.operation_log import OperationFilter
from support.api import Api
from support.dashboard import fill_rules
from support.keys import headers_of

SITE = {"Sec-Fetch-Site": "same-origin"}


async def post(
    api: Api, path: str, headers: dict[str, str] | None = None, **fields: str
) -> httpx.Response:
    data = {"operation_id": str(uuid4())} | {
        f"field.{name}" if name.endswith("concurrency") else name: value
        for name, value in fields.items()
    }
    return await api.client.post(f"/ui{path}", data=data, headers=(headers or {}) | SITE)


async def test_a_limit_shows_its_lines_and_its_tasks(api: Api) -> None:
    await fill_rules(api)
    listed = (await api.client.get("/ui/limits")).text
    assert 'href="/ui/limits/stripe"' in listed
    page = (await api.client.get("/ui/limits/stripe")).text
    assert page.count('<tr id="key-default-') == 2
    # two with a permit; those that wait are the second of acme and the one of the schedule
    assert page.count('<tr id="task-') == 4
    assert page.count("PENDING") == 2
    of_one = (await api.client.get("/ui/limits/stripe?key=acme")).text
    assert of_one.count('<tr id="task-') == 2
    assert len(re.findall(r'href="/ui/tasks/[0-9a-f-]{36}"', of_one)) == 2


async def test_a_task_that_waits_for_a_limit_says_so_on_every_page(api: Api) -> None:
    await fill_rules(api)
    link = (
        'waits for a permit of <a href="/ui/limits/stripe?tenant=default&amp;key=acme">stripe</a>'
    )
    listed = (await api.client.get("/ui/tasks?state=SCHEDULED&queue=billing")).text
    assert link in listed
    tasks = (await api.client.get("/api/tasks?state=SCHEDULED&queue=billing")).json()["tasks"]
    waits = [each["task_id"] for each in tasks if each["waiting_for"].get("key") == "acme"]
    assert link in (await api.client.get(f"/ui/tasks/{waits[0]}")).text
    queue = (await api.client.get("/ui/queues/billing")).text
    row = queue.split('<tr id="limit-stripe">')[1].split("</tr>")[0]
    assert 'href="/ui/limits/stripe"' in row
    assert ">2</span>" in row


async def test_a_limit_is_made_changed_refused_and_deleted_by_forms(api: Api) -> None:
    made = await post(api, "/new-limit", name="mail", concurrency="2")
    assert made.headers["location"] == "/ui/limits/mail?done=put"
    operation_id = str(uuid4())
    for _ in range(2):
        changed = await post(
            api, "/limits/mail/change", operation_id=operation_id, key_concurrency="7"
        )
        assert changed.status_code == 303
    page = (await api.client.get("/ui/limits/mail?done=put")).text
    assert "mail was saved" in page
    assert 'name="field.key_concurrency" type="text" inputmode="decimal" value="7"' in page
    refusals: tuple[tuple[dict[str, str], str], ...] = (
        ({"concurrency": "0"}, "&gt;= 1"),
        ({"concurrency": "many"}, "Expected `int"),
        ({}, "Nothing was stored"),
    )
    for fields, sentence in refusals:
        refused = await post(api, "/limits/mail/change", None, **fields)
        assert refused.status_code == 422
        assert sentence in refused.text
    assert (await post(api, "/limits/mail/delete")).status_code == 303
    assert (await api.client.get("/ui/limits/mail")).status_code == 404
    found = await api.service.engine.list_operations(OperationFilter(), tenant=None)
    assert [each.action for each in found.operations][::-1] == ["put_limit"] * 2 + ["delete_limit"]


async def test_a_key_of_a_tenant_sees_its_own_lines_and_changes_nothing(guarded: Api) -> None:
    bound = await headers_of(guarded, ["read", "operate", "submit"], tenant="acme")
    owner = await headers_of(guarded, ["read", "operate", "submit"])
    guarded.client.headers.update(owner)
    await fill_rules(guarded)
    own = {"type": "pay", "payload": {"customer": "mine"}, "queue": "billing"}
    assert (await guarded.client.post("/api/tasks", json=own, headers=bound)).status_code == 202
    page = (await guarded.client.get("/ui/limits/stripe", headers=bound)).text
    assert "mine" in page
    assert "default" not in page.split("Longest lines")[1].split("</section>")[0]
    assert page.count('<tr id="task-') == 1
    assert "<button" not in page.split("<h2")[-1]
    for path in ("/limits/stripe/change", "/limits/stripe/delete", "/new-limit"):
        assert (await post(guarded, path, bound)).status_code == 403
    assert (await guarded.client.get("/ui/new-limit", headers=bound)).status_code == 403


@pytest.mark.parametrize(
    ("text", "path"), [("stripe", "/ui/limits/stripe"), ("hourly", "/ui/schedules/hourly")]
)
async def test_go_to_finds_a_limit_and_a_schedule(api: Api, text: str, path: str) -> None:
    await fill_rules(api)
    answer = await api.client.get("/ui/goto", params={"q": text})
    assert answer.headers["location"] == path
