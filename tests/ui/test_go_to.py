"""The box Go to and the health line, which are on every page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec import Struct

from leaseq.ledger.task_types import TaskType, TypeLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.payloads.shapes import shape_of
from leaseq_api.ui.menu import MENU
from support.api import Api
from support.dashboard import shown
from support.keys import headers_of
from support.ledger import open_worker


class Charge(Struct):
    cents: int


async def sent_to(api: Api, text: str, headers: dict[str, str] | None = None) -> str:
    answer = await api.client.get("/ui/goto", params={"q": text}, headers=headers)
    assert answer.status_code == 303
    where: str = answer.headers["location"]
    return where


async def test_a_key_leads_to_its_task(api: Api) -> None:
    task_id = await api.submitted(None, Idempotency_Key="order-1")
    assert await sent_to(api, "key:order-1") == f"/ui/tasks/{task_id}"
    assert await sent_to(api, "key:none") == "/ui/tasks?q=key%3Anone"
    assert await sent_to(api, "key:é") == "/ui/tasks?q=key%3A%C3%A9"


async def test_the_beginning_of_an_id_leads_to_its_task(api: Api) -> None:
    task_id = await api.submitted({"type": "add", "payload": 1})
    for length in (8, 9, 13, 20, 35):
        assert await sent_to(api, task_id[:length].upper()) == f"/ui/tasks/{task_id}"
    assert await sent_to(api, task_id[:7]) == f"/ui/tasks?q={task_id[:7]}"
    assert await sent_to(api, task_id.replace("-", "")[:12]) != f"/ui/tasks/{task_id}"
    assert await sent_to(api, "00000000") == "/ui/tasks?q=00000000"


async def test_several_tasks_that_begin_so_are_listed(api: Api) -> None:
    ids = [await api.submitted({"type": "add", "payload": n}) for n in range(3)]
    begin = ids[0][:6]  # also if the minute has changed between them
    where = await sent_to(api, f"{begin}{ids[0][6:8]}")
    alike = [each for each in ids if each[:8] == ids[0][:8]]
    if len(alike) > 1:
        text = (await api.client.get(where)).text
        assert all(f'id="task-{each}"' in text for each in alike)


async def test_names_lead_to_their_pages_and_other_texts_filter(
    api: Api, worker_ledger: WorkerLedger, type_ledger: TypeLedger
) -> None:
    worker_id = await open_worker(worker_ledger, "mail")
    await type_ledger.register_types([TaskType("charge", "mail", shape_of(Charge))])
    await api.submitted({"type": "charge", "payload": {"cents": 5}, "queue": "mail"})
    assert await sent_to(api, "mail") == "/ui/queues/mail"
    assert await sent_to(api, worker_id) == f"/ui/workers/{worker_id}"
    assert await sent_to(api, "charge") == "/ui/types/charge"
    assert await sent_to(api, "failed") == "/ui/tasks?state=FAILED"
    assert await sent_to(api, "none at all") == "/ui/tasks?q=none+at+all"
    assert await sent_to(api, "") == "/ui"


async def test_a_key_of_one_tenant_finds_its_own_tasks(guarded: Api) -> None:
    acme = await headers_of(guarded, ["read", "submit"], tenant="acme")
    body = {"type": "add", "payload": 1}
    other = await headers_of(guarded, ["submit"]) | {"Idempotency-Key": "order-1"}
    foreign = await guarded.client.post("/api/tasks", json=body, headers=other)
    foreign_id = foreign.json()["task_id"]
    assert await sent_to(guarded, "key:order-1", acme) == "/ui/tasks?q=key%3Aorder-1"
    assert await sent_to(guarded, foreign_id[:13], acme) == f"/ui/tasks?q={foreign_id[:13]}"


@pytest.mark.parametrize("path", ["/ui", "/ui/tasks"])
async def test_each_word_of_the_health_line_leads_to_its_reason(api: Api, path: str) -> None:
    text = (await api.client.get(path)).text
    line = text[text.index('id="health"') : text.index("</ul>", text.index('id="health"'))]
    links = re.findall(r'<a href="([^"]+)">(\w+)', line)
    assert [word for _, word in links] == ["Postgres", "Redis", "reaper", "workers"]
    for address, word in links:
        answer = await api.client.get(address)
        assert answer.status_code == 200
        _, _, anchor = address.partition("#")
        assert f'id="{anchor or "check"}"' in answer.text, word
    assert "No reaper runs" in (await api.client.get("/ui/workers")).text


async def test_a_pasted_id_leads_to_why_from_any_page(api: Api, tmp_path: Path) -> None:
    """Two keys and Enter: `/`, then the paste."""
    task_id = await api.submitted({"type": "add", "payload": 1})
    async with shown(api, tmp_path) as (tab, origin):
        for entry in MENU:
            await tab.visit(f"{origin}{entry.path}")
            await tab.press("/")
            await tab.until("document.activeElement?.id === 'goto'")
            await tab.call("Input.insertText", text=task_id)
            await tab.press("Enter")
            await tab.until(f"location.pathname === '/ui/tasks/{task_id}'")
            await tab.until("document.querySelector('.why-sentence')")
            assert "no worker" in (await tab.text(".why-sentence")).lower()
