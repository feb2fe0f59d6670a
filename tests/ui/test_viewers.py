"""Many viewers cost the stores what one does."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import httpx
import pytest

from leaseq.config import Config
from leaseq.ledger.session import Session
from leaseq_api import shared_reads
from leaseq_api.ui import shared_parts
from leaseq_api.ui.menu import MENU
from leaseq_api.ui.sampler import MOST_LISTENERS, Listener, Sampler
from leaseq_api.ui.shared_parts import SharedParts
from support.api import Api
from support.dashboard import fill_rules
from support.keys import headers_of

VIEWERS = 200
LIVE = re.compile(r'<[a-z]+[^>]* id="([a-z-]+)"[^>]* data-live="')


class Statements:
    """Counts the statements of every session of this process."""

    def __init__(self) -> None:
        self.count = 0
        self.names = Counter[str]()

    def taken(self) -> int:
        """The number since the last call."""
        count, self.count = self.count, 0
        return count


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Statements:
    counted, fetch = Statements(), Session.fetch

    async def count(session: Session, *given: Any, **named: Any) -> Any:
        counted.count += 1
        counted.names[given[0]] += 1
        return await fetch(session, *given, **named)

    monkeypatch.setattr(Session, "fetch", count)
    return counted


def regions(text: str) -> Iterator[str]:
    """The live regions of a page that have no form of their own, but that of its frame."""
    for name in LIVE.findall(text):
        if name != "health":
            yield name


async def test_a_region_is_made_once_for_all_who_look_at_it(
    failed: str, filled: Api, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_parts, "FRESH_SECONDS", 60.0)
    parts: SharedParts = filled.app.state.shared_parts
    seen = 0
    for path in (*(entry.path for entry in MENU), f"/ui/tasks/{failed}"):
        for name in regions((await filled.client.get(path)).text):
            address = f"{path}?part={name}"
            parts._answers.clear()
            filled.service.overview.forget()
            statements.taken()
            (alone,) = {each.text for each in await _look(filled, address, 1)}
            one = statements.taken()
            parts._answers.clear()
            filled.service.overview.forget()
            texts = {each.text for each in await _look(filled, address, VIEWERS)}
            # A look of another loop of the process may come in between.
            assert statements.taken() <= one + 5, address
            assert len(texts) == 1
            assert len(alone) > 20
            seen += 1
    assert seen >= len(MENU)


async def test_a_limit_and_a_schedule_are_read_once_for_all_who_look(
    filled: Api, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_reads, "FRESH_SECONDS", 60.0)
    await fill_rules(filled)
    for path, reads in (
        ("/ui/limits/stripe", ("list_limits", "list_limit_keys", "list_limit_tasks")),
        ("/ui/schedules/daily", ("find_schedule", "find_followed")),
    ):
        statements.names.clear()
        names = list(regions((await filled.client.get(path)).text))
        assert len(names) >= 3
        assert [statements.names[read] for read in reads] == [1] * len(reads)
        await asyncio.gather(*(_look(filled, f"{path}?part={name}", 50) for name in names))
        # Once more for all of their regions.
        assert [statements.names[read] for read in reads] == [2] * len(reads)


async def _look(api: Api, address: str, viewers: int) -> list[httpx.Response]:
    answers = await asyncio.gather(*(api.client.get(address) for _ in range(viewers)))
    assert {answer.status_code for answer in answers} == {200}
    return answers


async def test_two_hundred_open_pages_cost_five_statements_a_second(
    filled: Api, statements: Statements
) -> None:
    """A part of the pages follows the stream, and the others ask. Each of them does so at each look."""
    sampler: Sampler = filled.app.state.sampler
    whole = (await filled.client.get("/ui")).text
    addresses = [f"/ui?part={name}" for name in ("health", *regions(whole))]

    async def follow(listener: Listener | None, last: int) -> None:
        while sampler.looks < last:
            if listener is None:
                await asyncio.sleep(0.2)
            else:
                await asyncio.wait_for(listener.news.wait(), 60)
                listener.news.clear()
                listener.take()
            for address in addresses:
                assert (await filled.client.get(address)).status_code == 200

    with ExitStack() as stack:
        listeners: list[Listener | None] = [
            stack.enter_context(sampler.listen()) for _ in range(MOST_LISTENERS)
        ]
        listeners += [None] * (VIEWERS - MOST_LISTENERS)
        await asyncio.wait_for(listeners[0].news.wait() if listeners[0] else asyncio.sleep(0), 60)
        statements.taken()
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.gather(*(follow(each, sampler.looks + 3) for each in listeners))
        seconds = loop.time() - began
    assert statements.taken() <= 5 * (seconds + 2)


async def test_a_form_and_another_principal_get_their_own_answer(
    config: Config, guarded: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_parts, "FRESH_SECONDS", 60.0)
    parts: SharedParts = guarded.app.state.shared_parts
    reads = [await headers_of(guarded, ["read"]), await headers_of(guarded, ["read", "operate"])]
    reads.append(await headers_of(guarded, ["read"], tenant="a"))
    task = {"type": "t", "payload": 1, "queue": f"q-{uuid4().hex}"}
    submits = await headers_of(guarded, ["submit"])
    await guarded.client.post("/api/tasks", json=task, headers=submits)
    for headers in (*reads, *reads):
        answer = await guarded.client.get("/ui/queues?part=queues", headers=headers)
        assert answer.status_code == 200
    assert parts.shared == len(reads)
    await guarded.service.engine.stores.queues.register_queues(["mail"])
    guarded.service.overview.forget()
    ids = set()
    for _ in range(2):
        answer = await guarded.client.get("/ui/queues/mail?part=actions", headers=reads[1])
        ids |= set(re.findall(r'name="operation_id" value="([^"]+)"', answer.text))
    assert len(ids) == 2
    assert parts.shared == len(reads)
    for _ in range(2):  # a refusal is made for each request
        answer = await guarded.client.get("/ui/queues?part=none", headers=reads[0])
        assert answer.status_code == 400
    assert parts.shared == len(reads)


async def test_a_request_that_is_given_up_leaves_the_others_their_answer() -> None:
    parts, begun, over = SharedParts(), asyncio.Event(), asyncio.Event()
    calls: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        calls.append(1)
        begun.set()
        await over.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    first = asyncio.create_task(parts.answer("k", app, {}, app, send))  # type: ignore[arg-type]
    await begun.wait()
    second = asyncio.create_task(parts.answer("k", app, {}, app, send))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    first.cancel()
    over.set()
    await second
    assert len(calls) == 2
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
