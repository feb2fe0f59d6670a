"""Look at the cluster for all open pages, and ring where something has changed.

One loop for all pages, which runs only while one of them listens. So the stores pay for one look a
second at most, however many people watch. A page learns only the names of the topics that have
changed, and then fetches its regions under its own key.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import msgspec
from litestar import Litestar
from msgspec.structs import replace

from leaseq.errors import LeaseqError
from leaseq.loop import end
from leaseq.operations.overview.answer import Overview
from leaseq_api.refused import Refused
from leaseq_api.shared_overview import SharedOverview

LOOK_SECONDS = 1.0
# After so long without a change the looks are rarer.
CALM_AFTER_SECONDS = 30.0
CALM_SECONDS = 3.0
MOST_LISTENERS = 64
# Rung at every look: for regions whose data the looks do not see, such as one task.
EVERY = "every"
AWAY = "away"


class Listener:
    """One open page."""

    __slots__ = ("at", "news", "topics")

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self.topics: set[str] = set()
        self.at = ""

    def take(self) -> list[str]:
        """The topics that have changed since the last call."""
        topics, self.topics = sorted(self.topics), set()
        return topics


class Sampler:
    """The looks of one process."""

    def __init__(self, overview: SharedOverview) -> None:
        self._overview = overview
        self._listeners: set[Listener] = set()
        self._task: asyncio.Task[None] | None = None
        self._seen: dict[str, bytes] = {}
        self.looks = 0

    @contextmanager
    def listen(self) -> Iterator[Listener]:
        """A listener within the block. Raises `Refused` where there are too many."""
        if len(self._listeners) >= MOST_LISTENERS:
            raise Refused("overloaded", "too many pages are live: this one asks every few seconds")
        listener = Listener()
        self._listeners.add(listener)
        if self._task is None:
            self._task = asyncio.create_task(self._look_while_needed())
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def aclose(self) -> None:
        """End the looks."""
        if self._task is not None:
            await end(self._task)

    def ring(self, *topics: str) -> None:
        """Tell all pages that these topics have changed, before the next look finds out."""
        at = "" if (last := self._overview.last) is None else last.at.isoformat()
        for listener in self._listeners:
            listener.topics.update(topics)
            listener.at = at
            listener.news.set()

    async def _look_while_needed(self) -> None:
        loop = asyncio.get_running_loop()
        changed_at = loop.time()
        try:
            while self._listeners:
                topics = await self._look()
                if topics - {EVERY}:
                    changed_at = loop.time()
                self.ring(*topics)
                calm = loop.time() - changed_at > CALM_AFTER_SECONDS
                await asyncio.sleep(CALM_SECONDS if calm else LOOK_SECONDS)
        finally:
            self._task = None

    async def _look(self) -> set[str]:
        """The topics that differ from the last look."""
        self.looks += 1
        found: dict[str, bytes] = {AWAY: b"yes"}
        with suppress(LeaseqError):
            found = _topics_of(await self._overview.whole())
        before, self._seen = self._seen, found
        changed = {
            topic for topic in found.keys() | before.keys() if found.get(topic) != before.get(topic)
        }
        if before and (AWAY in found) != (AWAY in before):
            changed |= found.keys() | before.keys()
        return (changed | {EVERY}) - {AWAY}


@asynccontextmanager
async def sampling(app: Litestar, overview: SharedOverview) -> AsyncIterator[None]:
    """Give the application a sampler for as long as the block lasts."""
    sampler = app.state.sampler = Sampler(overview)
    try:
        yield
    finally:
        await sampler.aclose()


def _topics_of(overview: Overview) -> dict[str, bytes]:
    """The data of each topic, without the numbers that grow with time."""
    queues: list[Any] = [replace(queue, overdue_seconds=None) for queue in overview.queues]
    fleet = replace(overview.fleet, reaper_silent_seconds=None)
    encode = msgspec.json.encode
    return {
        "queues": encode(queues),
        "fleet": encode((fleet, overview.redis, [need.rule for need in overview.needs])),
    }


__all__ = ["EVERY", "MOST_LISTENERS", "Listener", "Sampler", "sampling"]
