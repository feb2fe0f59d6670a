"""Open dashboards that are watched, without a browser.

Each does what the script of a page does: it follows the stream of changes, and fetches the regions
that a change names, by their ETag. One more client scrapes the metrics of the API.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import httpx

from bench.processes import BenchFailed

PAGES = ("/ui", "/ui/queues", "/ui/tasks", "/ui/running", "/ui/workers")
SCRAPE_SECONDS = 1.0
TIME_OUT = httpx.Timeout(30.0, read=60.0)
_REGION = re.compile(r'id="([\w-]+)"[^>]*? data-live="([\w ]+)"')
_DATA = "data: "


class Dashboard:
    """One open page. `fetched`: the regions that it has fetched."""

    def __init__(self, client: httpx.AsyncClient, path: str) -> None:
        self.fetched = 0
        self._client = client
        self._path = path
        self._marks: dict[str, str] = {}

    async def watch(self, opened: asyncio.Event) -> None:
        """Follow the page until cancelled."""
        page = await self._client.get(self._path)
        regions = {part: topics.split() for part, topics in _REGION.findall(page.text)}
        if page.status_code != httpx.codes.OK or not regions:
            raise BenchFailed(
                f"{self._path} answers {page.status_code} with {len(regions)} regions"
            )
        async with self._client.stream("GET", "/ui/live") as stream:
            opened.set()
            async for line in stream.aiter_lines():
                if line.startswith(_DATA):
                    changed = set(json.loads(line.removeprefix(_DATA))["topics"])
                    for part, topics in regions.items():
                        if changed.intersection(topics):
                            await self._fetch(part)
        raise BenchFailed(f"the stream of {self._path} has ended: {stream.status_code}")

    async def _fetch(self, part: str) -> None:
        headers = {"If-None-Match": self._marks[part]} if part in self._marks else {}
        answer = await self._client.get(self._path, params={"part": part}, headers=headers)
        if answer.status_code not in (httpx.codes.OK, httpx.codes.NOT_MODIFIED):
            raise BenchFailed(f"{part} of {self._path} answers {answer.status_code}")
        if mark := answer.headers.get("etag"):
            self._marks[part] = mark
        self.fetched += 1


@asynccontextmanager
async def watched(port: int, count: int) -> AsyncIterator[Sequence[Dashboard]]:
    """Keep so many dashboards open, and the metrics scraped.

    Raises `BenchFailed` at the end if one of them has stopped, or has never fetched anything.
    """
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}",
        timeout=TIME_OUT,
        limits=httpx.Limits(max_connections=None),
    ) as client:
        opened = [asyncio.Event() for _ in range(count)]
        dashboards = [Dashboard(client, PAGES[number % len(PAGES)]) for number in range(count)]
        running = [
            asyncio.create_task(dashboard.watch(event))
            for dashboard, event in zip(dashboards, opened, strict=True)
        ]
        running.append(asyncio.create_task(_scrape(client)))
        try:
            await asyncio.wait_for(asyncio.gather(*(event.wait() for event in opened)), 30.0)
            yield dashboards
            if ended := [task for task in running if task.done()]:
                await ended[0]
            if idle := [dashboard for dashboard in dashboards if not dashboard.fetched]:
                raise BenchFailed(f"{len(idle)} dashboards have fetched nothing")
        finally:
            for task in running:
                task.cancel()
            for task in running:
                with suppress(asyncio.CancelledError, BenchFailed, httpx.HTTPError):
                    await task


async def _scrape(client: httpx.AsyncClient) -> None:
    while True:
        answer = await client.get("/metrics")
        if answer.status_code != httpx.codes.OK:
            raise BenchFailed(f"/metrics answers {answer.status_code}")
        await asyncio.sleep(SCRAPE_SECONDS)


__all__ = ["Dashboard", "watched"]
