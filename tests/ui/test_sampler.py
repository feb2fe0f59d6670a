"""The looks behind live pages are shared, stop without a page, and are bounded."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from leaseq.errors import ServerUnreachable
from leaseq.operations.overview.answer import Overview
from leaseq_api.refused import Refused
from leaseq_api.ui import sampler as module
from leaseq_api.ui.sampler import MOST_LISTENERS, Sampler
from support.api import Api


async def test_a_hundred_pages_cost_one_look(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.02)
    sampler: Sampler = api.app.state.sampler
    lists = api.service.lists.session
    statements = 0
    fetch = lists.fetch

    async def count(*given: object, **named: object) -> object:
        nonlocal statements
        statements += 1
        return await fetch(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(lists, "fetch", count)
    with ExitStack() as stack:
        listeners = [stack.enter_context(sampler.listen()) for _ in range(MOST_LISTENERS)]
        for listener in listeners:
            await asyncio.wait_for(listener.news.wait(), 60)
        looks, seen = sampler.looks, statements
        pages = await asyncio.gather(
            *(api.client.get("/ui/queues?part=queues") for _ in range(200))
        )
        assert {page.status_code for page in pages} == {200}
        # The look is shared for a second: 200 pages cost what a few looks do.
        assert statements - seen <= 4 * (sampler.looks - looks + 2) + 4
        with pytest.raises(Refused), sampler.listen():
            pass
    await asyncio.wait_for(sampler._task or asyncio.sleep(0), 60)
    assert sampler._task is None


async def test_a_change_rings_its_topic_alone(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    sampler: Sampler = api.app.state.sampler
    with sampler.listen() as listener:
        await asyncio.wait_for(listener.news.wait(), 60)
        listener.take()
        await api.service.engine.stores.queues.register_queues(["fresh"])
        api.service.overview.forget()
        heard: set[str] = set()
        async with asyncio.timeout(60):
            while "queues" not in heard:
                listener.news.clear()
                await listener.news.wait()
                heard |= set(listener.take())
    assert "fleet" not in heard


async def test_looks_go_on_while_postgres_is_away(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    sampler: Sampler = api.app.state.sampler
    overview = api.service.overview
    whole = overview.whole

    async def away() -> Overview:
        raise ServerUnreachable("away")

    with sampler.listen() as listener:
        await asyncio.wait_for(listener.news.wait(), 60)
        monkeypatch.setattr(overview, "whole", away)
        looks = sampler.looks
        while sampler.looks < looks + 2:  # noqa: ASYNC110 (the sampler emits no event)
            await asyncio.sleep(0.01)
        listener.take()
        monkeypatch.setattr(overview, "whole", whole)
        heard: set[str] = set()
        async with asyncio.timeout(60):
            while not {"queues", "fleet"} <= heard:
                listener.news.clear()
                await listener.news.wait()
                heard |= set(listener.take())
