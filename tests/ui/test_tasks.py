"""The pages Tasks, Task, Compare and Replay, without a script."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec.structs import replace

from leaseq.codec import new_task_id
from leaseq.config import Config
from leaseq.ledger.session import Connection
from leaseq.ledger.task_types import TaskType, TypeLedger
from leaseq.ledger.tasks import TaskLedger
from leaseq.model import State
from leaseq.payloads.shapes import shape_of
from leaseq_api.ui.contents import application_frames, compared, shown
from support.api import Api, open_api
from support.failed_tasks import ESCAPED, TRACEBACK, fail
from support.keys import headers_of
from support.ledger import claim_task, succeeded


async def page(
    api: Api, path: str, *, status: int = 200, headers: dict[str, str] | None = None
) -> str:
    answer = await api.client.get(path, headers=headers)
    assert answer.status_code == status, answer.text
    return answer.text


async def post(api: Api, path: str, status: int = 303, **form: Any) -> str:
    answer = await api.client.post(path, data=form)
    assert answer.status_code == status, answer.text
    return answer.headers.get("location") or answer.text


def field(text: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', text)
    assert found is not None, name
    return found[1]


async def test_the_list_filters_and_tells_what_it_has_looked_through(api: Api) -> None:
    ids = [await api.submitted({"type": f"t{n % 2}", "payload": {"n": n}}) for n in range(60)]
    text = await page(api, "/ui/tasks")
    assert text.count('<tr id="task-') == 50
    older = re.search(r'href="([^"]*cursor=[^"]*)"', text)
    assert older is not None
    rest = await page(api, older[1].replace("&amp;", "&"))
    assert rest.count('<tr id="task-') == 10
    assert "These are all that match" in rest
    only = await page(api, "/ui/tasks?type=t1&state=PENDING")
    assert only.count('<tr id="task-') == 30
    assert "No task matches" in await page(api, "/ui/tasks?type=none")
    found = await api.client.get(f"/ui/tasks?id={ids[3].upper()}")
    assert (found.status_code, found.headers["location"]) == (303, f"/ui/tasks/{ids[3]}")


async def test_a_filter_that_is_not_valid_is_told_at_its_field(api: Api) -> None:
    for query, told in (
        ("queue=a%20b", "a name has"),
        ("id=1", "an id looks like"),
        ("state=X", "no such state"),
    ):
        assert told in await page(api, f"/ui/tasks?{query}")


async def test_a_key_is_looked_up(api: Api) -> None:
    task_id = await api.submitted(None, Idempotency_Key="order-1")
    await api.submitted()
    sent = await api.client.get("/ui/tasks?q=key:order-1")
    assert sent.headers["location"] == "/ui/tasks?key=order-1"
    text = await page(api, "/ui/tasks?key=order-1")
    assert text.count('<tr id="task-') == 1
    assert task_id in text


async def test_the_page_of_a_task_shows_all_and_escapes_it(api: Api, failed: str) -> None:
    text = await page(api, f"/ui/tasks/{failed}")
    assert "<img src=x" not in text
    assert ESCAPED in text
    why = await api.get(f"/api/tasks/{failed}/why")
    assert why["sentence"].split(":")[0] in text
    assert "12345678901234567890123" in text
    assert text.count('<li id="attempt-') == 4
    assert text.index('id="attempt-4"') < text.index('id="attempt-1"'), "newest first"
    assert 'class="life"' in text
    assert "/cancel" not in text
    assert f"/ui/tasks/{failed}/redrive?seen=FAILED%2F4" in text
    life = await api.get(f"/api/tasks/{failed}/life")
    for line in life["history"]:
        assert line["when"].replace("T", " ")[:23].rstrip("Z") in text


async def test_a_part_of_the_page_is_fetched_alone(api: Api, failed: str) -> None:
    for part in ("task", "life", "attempts", "contents"):
        text = await page(api, f"/ui/tasks/{failed}?part={part}")
        assert text.startswith(f'<section id="{part}"')


async def test_a_value_is_downloaded_byte_for_byte(api: Api) -> None:
    raw = b'{"type":"t","payload":{"n": 1e3,  "x":"y"}}'
    task_id = (await api.send(raw)).json()["task_id"]
    answer = await api.client.get(f"/ui/tasks/{task_id}/download/payload")
    assert answer.content == b'{"n": 1e3,  "x":"y"}'
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-disposition"].startswith("attachment; ")
    for part in ("result", "tenant", "worker_id"):
        await page(api, f"/ui/tasks/{task_id}/download/{part}", status=404)


async def test_unknown_and_malformed_ids(api: Api) -> None:
    await page(api, f"/ui/tasks/{new_task_id()}", status=404)
    await page(api, "/ui/tasks/1", status=404)


async def test_a_redrive_asks_first_and_is_done_once(
    api: Api, failed: str, plain: Connection
) -> None:
    asked = await page(api, f"/ui/tasks/{failed}/redrive?seen=FAILED/4")
    assert "as attempts 5 to" in asked
    assert "The task has changed" not in asked
    assert asked.index('id="do-not"') < asked.index("Redrive the task")
    assert 'id="do-not" href="/ui/tasks/' in asked
    assert "autofocus" in asked[asked.index('id="do-not"') : asked.index("Redrive the task")]
    form: dict[str, Any] = {
        "seen": field(asked, "seen"),
        "operation_id": field(asked, "operation_id"),
    }
    for _ in range(2):
        assert await post(api, f"/ui/tasks/{failed}/redrive", **form) == f"/ui/tasks/{failed}"
    rows = await (await plain.execute("select action, outcome from leaseq.operations")).fetchall()
    assert rows == [("redrive", "done")]
    other: dict[str, Any] = {"seen": "FAILED/4", "operation_id": new_task_id()}
    told = await post(api, f"/ui/tasks/{failed}/redrive", 409, **other)
    assert "SCHEDULED at attempt 4 now" in told
    assert "<nav" in told
    moved = await page(api, f"/ui/tasks/{failed}/redrive?seen=FAILED/4")
    assert "The task has changed" in moved
    assert "cannot be redriven" in moved


async def test_a_cancellation_asks_first(api: Api) -> None:
    task_id = await api.submitted()
    asked = await page(api, f"/ui/tasks/{task_id}/cancel?seen=PENDING/0")
    form: dict[str, Any] = {
        "seen": field(asked, "seen"),
        "operation_id": field(asked, "operation_id"),
    }
    await post(api, f"/ui/tasks/{task_id}/cancel", **form)
    assert (await api.get(f"/api/tasks/{task_id}"))["state"] == "CANCELLED"
    assert "cancel by open API" in await page(api, f"/ui/tasks/{task_id}")


async def test_a_form_from_another_site_is_refused(api: Api, failed: str) -> None:
    for action in ("cancel", "redrive", "replay"):
        answer = await api.client.post(
            f"/ui/tasks/{failed}/{action}",
            data={"seen": "FAILED/4"},
            headers={"Sec-Fetch-Site": "cross-site"},
        )
        assert answer.status_code == 403
    assert (await api.get(f"/api/tasks/{failed}"))["state"] == "FAILED"


async def test_fields_that_a_form_does_not_have_are_refused(api: Api) -> None:
    task_id = await api.submitted()
    await post(api, f"/ui/tasks/{task_id}/cancel", 400, target="other")
    answer = await api.client.post(
        f"/ui/tasks/{task_id}/cancel",
        content=b"seen=PENDING/0&seen=PENDING/0",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code == 400
    answer = await api.client.post(f"/ui/tasks/{task_id}/cancel", json={"seen": "PENDING/0"})
    assert answer.status_code == 415


class Charge(msgspec.Struct):
    cents: int


async def test_a_replay_shows_an_error_at_its_field_and_two_clicks_make_one_task(
    config: Config, plain: Connection, type_ledger: TypeLedger
) -> None:
    await type_ledger.register_types([TaskType("charge", "bills", shape_of(Charge))])
    async with open_api(config) as api:
        original = await api.submitted({"type": "charge", "payload": {"cents": 5}})
        address = f"/ui/tasks/{original}/replay"
        asked = await page(api, address)
        assert field(asked, "key") == f"replay-{original}-1"
        form: dict[str, Any] = {
            "queue": "bills",
            "priority": "high",
            "run_at": "",
            "key": field(asked, "key"),
        }
        wrong = await post(api, address, 422, payload='{"cents": "many"}', **form)
        assert "at /cents: " in wrong
        assert 'aria-invalid="true"' in wrong
        assert "is-added" in wrong, "the differences from the original"
        assert "valid JSON" in await post(api, address, 422, payload="{", **form)
        later = form | {"run_at": "soon"}
        assert 'id="e-run_at"' in await post(api, address, 422, payload='{"cents": 6}', **later)
        new = {await post(api, address, payload='{"cents": 6}', **form) for _ in range(2)}
        assert len(new) == 1
        count = await (await plain.execute("select count(*) from leaseq.tasks")).fetchone()
        assert count == (2,)
        target = new.pop()
        shown_new = await page(api, target)
        assert f'<dt>replay of</dt><dd><a href="/ui/tasks/{original}">' in shown_new
        assert f'<a href="{target}">' in await page(api, f"/ui/tasks/{original}")
        assert field(await page(api, address), "key") == f"replay-{original}-2"
        task = await api.get(target.replace("/ui/", "/api/"))
        assert (task["payload"], task["priority"]) == ({"cents": 6}, "high")


async def test_attempts_are_compared_without_line_numbers(api: Api, failed: str) -> None:
    same = await page(api, f"/ui/tasks/{failed}/compare?a=2&b=3")
    assert "No difference." in same
    other = await page(api, f"/ui/tasks/{failed}/compare?a=2&b=4")
    assert 'id="differences"' in other
    assert "+ ValueError" in other
    assert "<img src=x" not in other
    await page(api, f"/ui/tasks/{failed}/compare?a=2&b=9", status=404)
    await page(api, f"/ui/tasks/{failed}/compare?a=x", status=400)
    assert "Choose two attempts" in await page(api, f"/ui/tasks/{failed}/compare")


async def test_an_attempt_is_compared_with_one_of_another_task(
    api: Api, failed: str, ledger: TaskLedger, worker: str
) -> None:
    good = await api.submitted({"type": "charge", "payload": {"n": 1}})
    await ledger.settle([succeeded(await claim_task(ledger, good, worker))])
    text = await page(api, f"/ui/tasks/{failed}/compare?a=2&b={good}/1")
    assert "ended in SUCCESS" in text
    assert "different" in text


async def test_a_key_sees_what_its_scopes_allow(
    guarded: Api, ledger: TaskLedger, worker: str
) -> None:
    marker = "marker-of-acme"
    acme = await headers_of(guarded, ["submit", "read", "payloads", "operate"], tenant="acme")
    body = {"type": "charge", "payload": {"text": marker}}
    task_id = (await guarded.client.post("/api/tasks", json=body, headers=acme)).json()["task_id"]
    await fail(ledger, task_id, worker, kind=marker, line=1, then=State.FAILED)
    reader = await headers_of(guarded, ["read"], tenant="acme")
    paths = [
        "/ui/tasks",
        f"/ui/tasks/{task_id}",
        f"/ui/tasks/{task_id}/compare?a=1&b=1",
        f"/ui/tasks/{task_id}?part=contents",
    ]
    for path in paths:
        text = await page(guarded, path, headers=reader)
        assert marker not in text, path
        assert "Redrive" not in text
        assert "Replay" not in text
    assert marker in await page(guarded, f"/ui/tasks/{task_id}", headers=acme)
    for path in ("download/payload", "replay", "redrive", "cancel"):
        await page(guarded, f"/ui/tasks/{task_id}/{path}", status=403, headers=reader)
    for action in ("cancel", "redrive", "replay"):
        answer = await guarded.client.post(f"/ui/tasks/{task_id}/{action}", headers=reader)
        assert answer.status_code == 403
    other = await headers_of(guarded, ["read", "payloads", "operate", "submit"], tenant="other")
    for path in ("", "/compare?a=1&b=1", "/download/payload", "/replay", "/redrive", "/cancel"):
        await page(guarded, f"/ui/tasks/{task_id}{path}", status=404, headers=other)
    form = {"seen": "FAILED/1", "operation_id": new_task_id()}
    address = f"/ui/tasks/{task_id}/redrive"
    answer = await guarded.client.post(address, data=form, headers=other)
    assert answer.status_code == 404


async def test_a_dashboard_that_only_reads_refuses_too(config: Config) -> None:
    async with open_api(replace(config, ui_read_only=True)) as api:
        task_id = await api.submitted()
        text = await page(api, f"/ui/tasks/{task_id}")
        assert "/cancel" not in text
        for action in ("cancel", "redrive", "replay"):
            await page(api, f"/ui/tasks/{task_id}/{action}", status=403)
            await post(api, f"/ui/tasks/{task_id}/{action}", 403)


async def test_a_large_payload_is_cut_on_the_page(api: Api) -> None:
    task_id = await api.submitted({"type": "t", "payload": {"text": "x" * 500_000}})
    assert len(await page(api, f"/ui/tasks/{task_id}")) < 60_000
    assert len(await page(api, "/ui/tasks")) < 30_000


def test_numbers_keep_their_digits() -> None:
    value: Any = shown(b'{"a":12345678901234567890123,"b":1.10}')
    assert '"a": 12345678901234567890123' in value.text
    assert '"b": 1.10' in value.text
    assert shown(b"x" * 20_000).cut  # type: ignore[union-attr]


def test_frames_of_the_application_are_found() -> None:
    lines = TRACEBACK.format(kind="ValueError", line=3, address="0").split("\n")
    assert application_frames(lines) == [lines[3], lines[4]]
    assert compared("a line 1 at 0x7fab12", "a line 2 at 0x7fcd34") == []
    assert [each.sign for each in compared("a\nb", "a\nc")] == [" ", "-", "+"]
