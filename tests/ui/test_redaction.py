"""Pages without the values that are masked, and the form that shows them."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from leaseq import Leaseq
from leaseq.codec import new_task_id
from leaseq.config import Config
from leaseq.ledger.session import Connection
from leaseq.ledger.task_types import TaskType, TypeLedger
from leaseq.ledger.tasks import TaskLedger
from leaseq.model import Disposition, Ending, Outcome, Settlement, State, TaskError
from leaseq.payloads.shapes import shape_of
from leaseq.safe_text.redaction import Redacted, Rules, redact
from leaseq_api.ui import redactor
from support.api import Api, open_api
from support.failures import count
from support.keys import headers_of
from support.ledger import claim_task
from support.worker import working

PASSWORD, NUMBER, EMAIL = 'hun"ter<2>', "4111111111111111", "ada@example.org"
# As they may turn up in pages, raw or escaped.
MARKS = ("hun", "ter<2>", "ter&lt;2", "41111111", "ada@", "ada%40")
PAYLOAD = {
    "customer": [{"email": EMAIL, "name": "Ada"}],
    "card": {"number": NUMBER},
    "login": {"Password": PASSWORD},
    "cents": 5,
}
POINTERS = b'["/card/number", "/customer/*/email"]'
FINGERPRINT = "0123456789ab"


class Charge(msgspec.Struct):
    customer: list[dict[str, str]]
    card: dict[str, str]
    login: dict[str, str]
    cents: int


@pytest.fixture
async def masking(config: Config, type_ledger: TypeLedger) -> AsyncIterator[Api]:
    """An application with a type that masks values."""
    source = TaskType("charge", "default", shape_of(Charge), redact=POINTERS)
    await type_ledger.register_types([source])
    async with open_api(config) as opened:
        yield opened


async def charge(api: Api, ledger: TaskLedger, worker: str, then: State, delay: float = 0) -> str:
    """A task whose attempt failed, with the values in its message and its traceback."""
    task_id = await api.submitted({"type": "charge", "payload": PAYLOAD})
    claim = await claim_task(ledger, task_id, worker)
    told = f"{PASSWORD} and {NUMBER} of {EMAIL}"
    trace = f'Traceback:\n  File "/app/shop.py", line 1, in pay\n    {PAYLOAD!r}\nGone: {told}\n'
    error = TaskError("error", told, "Gone", trace, fingerprint=FINGERPRINT, frame="shop:pay")
    ending = Ending(Outcome.ERRORED, error=error)
    disposition = Disposition(then, delay=delay, retries=1, error=error)
    assert await ledger.settle([Settlement(claim, ending, disposition)])
    return task_id


async def post(api: Api, path: str, **headers: str) -> httpx.Response:
    """Send a form without fields."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    return await api.client.post(path, headers=form | headers)


async def page(api: Api, path: str, **headers: str) -> str:
    answer = await api.client.get(path, headers=headers)
    assert answer.status_code == 200, (path, answer.text)
    return answer.text


async def test_no_page_shows_a_masked_value(masking: Api, ledger: TaskLedger, worker: str) -> None:
    failed = await charge(masking, ledger, worker, State.FAILED)
    due = await charge(masking, ledger, worker, State.SCHEDULED, delay=60.0)
    await count(masking.service.engine.stores.failures)
    running = await masking.submitted({"type": "charge", "payload": PAYLOAD})
    claim = await claim_task(ledger, running, worker)
    assert await ledger.set_progress(claim, b'{"token": "hun-progress"}')
    for path in (
        "/ui",
        "/ui/tasks",
        "/ui/tasks?state=FAILED",
        f"/ui/tasks/{failed}",
        f"/ui/tasks/{failed}?part=contents",
        f"/ui/tasks/{failed}?part=attempts",
        f"/ui/tasks/{failed}/compare?a=1&b={due}/1",
        f"/ui/tasks/{failed}/replay",
        f"/ui/tasks/{failed}/download/payload",
        f"/ui/tasks/{failed}/download/error",
        f"/ui/tasks/{failed}/redrive",
        f"/ui/tasks/{due}",
        f"/ui/tasks/{running}",
        "/ui/due",
        "/ui/running",
        "/ui/failures",
        f"/ui/failures/charge/{FINGERPRINT}",
    ):
        text = await page(masking, path)
        found = [mark for mark in MARKS if mark in text]
        assert not found, (path, found)
    text = await page(masking, f"/ui/tasks/{failed}")
    assert "3 values are masked" in text
    assert "\u2039redacted, 16 characters\u203a" in html.unescape(text)
    assert "\u2039redacted\u203a" in text
    assert "Ada" in text


async def test_programs_get_the_values(masking: Api, ledger: TaskLedger, worker: str) -> None:
    task_id = await charge(masking, ledger, worker, State.FAILED)
    task = await masking.get(f"/api/tasks/{task_id}")
    assert task["payload"] == PAYLOAD
    assert PASSWORD in task["error"]["message"]


async def test_values_are_shown_by_a_form_and_each_look_is_recorded(
    masking: Api, ledger: TaskLedger, worker: str, plain: Connection
) -> None:
    task_id = await charge(masking, ledger, worker, State.FAILED)
    for _ in range(2):
        answer = await post(masking, f"/ui/tasks/{task_id}/reveal")
        assert answer.status_code == 200, answer.text
        text = html.unescape(answer.text)
        assert all(value in text for value in (NUMBER, EMAIL, f"Gone: {PASSWORD}"))
        assert "ter<2>" not in answer.text
    taken = await post(masking, f"/ui/tasks/{task_id}/reveal/payload")
    assert msgspec.json.decode(taken.content) == PAYLOAD
    columns = "action, target, outcome, detail ->> 'part'"
    rows = await plain.execute(f"select {columns} from leaseq.operations order by id")
    shown = ("reveal", task_id, "done")
    assert await rows.fetchall() == [(*shown, None), (*shown, None), (*shown, "payload")]
    unknown = await post(masking, f"/ui/tasks/{new_task_id()}/reveal")
    assert unknown.status_code == 404
    foreign = await post(masking, f"/ui/tasks/{task_id}/reveal", **{"Sec-Fetch-Site": "cross-site"})
    assert foreign.status_code == 403
    assert (await masking.client.get(f"/ui/tasks/{task_id}/reveal")).status_code in (404, 405)


async def test_values_need_the_scope_payloads(guarded: Api) -> None:
    owner = await headers_of(guarded, ["submit", "read", "payloads"], tenant="acme")
    body = {"type": "t", "payload": {"password": "hunter2-hunter2"}}
    task_id = (await guarded.client.post("/api/tasks", json=body, headers=owner)).json()["task_id"]
    statuses = {}
    for scopes in (["read"], ["read", "operate"], ["read", "payloads"]):
        headers = await headers_of(guarded, scopes, tenant="acme")
        answer = await post(guarded, f"/ui/tasks/{task_id}/reveal", **headers)
        statuses[scopes[-1]] = answer.status_code
        shows = "Show the values" in await page(guarded, f"/ui/tasks/{task_id}", **headers)
        assert shows == (answer.status_code == 200)
    assert statuses == {"read": 403, "operate": 403, "payloads": 200}
    other = await headers_of(guarded, ["read", "payloads"], tenant="other")
    answer = await post(guarded, f"/ui/tasks/{task_id}/reveal", **other)
    assert answer.status_code == 404


async def test_a_replay_keeps_the_values_that_it_does_not_show(
    masking: Api, ledger: TaskLedger, worker: str
) -> None:
    task_id = await charge(masking, ledger, worker, State.FAILED)
    address = f"/ui/tasks/{task_id}/replay"
    text = html.unescape(await page(masking, address))
    shown = text[text.index("<textarea") :].split(">\n", 1)[1].split("</textarea>")[0]
    form: dict[str, Any] = {"queue": "default", "priority": "normal", "run_at": ""}
    other = shown.replace('"cents": 5', '"cents": 6')
    for key, payload, expected in (("a", shown, PAYLOAD), ("b", other, PAYLOAD | {"cents": 6})):
        form |= {"payload": payload, "key": key}
        answer = await masking.client.post(address, data=form)
        assert answer.status_code == 303, answer.text
        new = await masking.get(answer.headers["location"].replace("/ui/", "/api/"))
        assert new["payload"] == expected
    moved = shown.replace('"Ada"', re.findall(r'"\u2039redacted 1[^"]*"', shown)[0])
    answer = await masking.client.post(address, data=form | {"payload": moved, "key": "c"})
    assert answer.status_code == 422
    assert "a mask stands for no value here" in answer.text
    assert "ada@" not in answer.text


async def test_large_contents_hide_the_whole_error_of_a_list(
    masking: Api, ledger: TaskLedger, worker: str
) -> None:
    large = PAYLOAD | {"customer": [{"name": "x" * 100_000}]}
    task_id = await masking.submitted({"type": "charge", "payload": large})
    claim = await claim_task(ledger, task_id, worker)
    error = TaskError("error", "no value at all", "Gone", "")
    ending, then = Ending(Outcome.ERRORED, error=error), Disposition(State.FAILED, error=error)
    assert await ledger.settle([Settlement(claim, ending, then)])
    text = await page(masking, "/ui/tasks")
    assert "no value at all" not in text
    assert "no value at all" in await page(masking, f"/ui/tasks/{task_id}")


async def test_a_worker_registers_the_places_of_its_handlers(api: Api, config: Config) -> None:
    app = Leaseq(config)

    @app.task(redact=["/card/number", "/customers/*/email"])
    async def charge(card: dict[str, str], customers: list[dict[str, str]]) -> None: ...

    @app.task
    async def plain(x: int) -> None: ...

    async with working(config, app, registers=True):
        await api.service.types.refresh()
    assert api.service.types.redacted_in("charge") == (
        ("card", "number"),
        ("customers", "*", "email"),
    )
    assert api.service.types.redacted_in("plain") == ()


async def test_a_large_document_is_masked_once_for_a_live_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[int] = []

    def counted(raw: bytes, rules: Rules) -> Redacted:
        calls.append(len(raw))
        return redact(raw, rules)

    monkeypatch.setattr(redactor, "redact", counted)
    monkeypatch.setattr(redactor, "KEPT_SECONDS", 0.0)
    recent, rules = redactor.Recent(), Rules(frozenset({"token"}))
    large = msgspec.json.encode({"token": "t" * 20_000})
    found = {recent.redact(large, rules).raw for _ in range(4)}
    assert found == {'{"token":"\u2039redacted, 20000 characters\u203a"}'.encode()}
    assert recent.redact(large, Rules()).raw == large
    assert len(calls) == 2
    for _ in range(3):
        await asyncio.sleep(0)  # the loop forgets them
    assert recent.kept == 0
    recent.redact(large, rules)
    assert len(calls) == 3


def test_a_type_without_places_keeps_its_version() -> None:
    without = TaskType("charge", "default", shape_of(Charge))
    assert without.version == TaskType("charge", "default", shape_of(Charge), redact=None).version
    assert without.version != TaskType("charge", "default", shape_of(Charge), redact=b"[]").version


async def test_rules_of_every_live_version_count(config: Config, type_ledger: TypeLedger) -> None:
    async with open_api(config) as api:
        types = api.service.types
        shape = shape_of(Charge)
        await type_ledger.register_types([TaskType("charge", "default", shape, redact=b'["/a"]')])
        await types.refresh()
        assert types.redacted_in("charge") == (("a",),)
        await type_ledger.register_types([TaskType("odd", "default", shape, redact=b'["a"]')])
        await types.refresh()
        assert types.redacted_in("odd") == (("*",),)
