"""Read streams of server-sent events, as WHATWG HTML, 9.2.6, says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
from msgspec import Struct

from support.processes import PATIENCE


class Event(Struct, frozen=True):
    """One event."""

    name: str
    event_id: str
    data: Any


class Following:
    """The events of one answer, as they come."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.last_id = ""
        self.retry = 0
        self.comments = 0
        self._lines = answer.aiter_lines()

    async def next(self) -> Event | None:
        """The next event. None: the stream has ended."""
        name, data = "", []
        async with asyncio.timeout(PATIENCE):
            async for line in self._lines:
                field, _, value = line.partition(":")
                value = value.removeprefix(" ")
                match field:
                    case "" if line:
                        self.comments += 1
                    case "event":
                        name = value
                    case "data":
                        data.append(value)
                    case "id":
                        self.last_id = value
                    case "retry":
                        self.retry = int(value)
                    case "" if data:
                        return Event(name, self.last_id, msgspec.json.decode("\n".join(data)))
        return None

    async def rest(self) -> list[Event]:
        """All events until the stream ends."""
        events = []
        while (event := await self.next()) is not None:
            events.append(event)
        return events

    async def until(self, name: str, **data: Any) -> Event:
        """The next event of this name with these values."""
        while (event := await self.next()) is not None:
            if event.name == name and data.items() <= event.data.items():
                return event
        raise AssertionError(f"the stream ended before an event {name} with {data}")


@asynccontextmanager
async def following(
    port: int, path: str, *, last_id: str | None = None, **headers: str
) -> AsyncIterator[Following]:
    """Follow an address of a server on this machine."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if last_id is not None:
        sent["Last-Event-ID"] = last_id
    async with client_of(port) as client, client.stream("GET", path, headers=sent) as answer:
        yield Following(answer)


def client_of(port: int) -> httpx.AsyncClient:
    """A client with any number of connections, which waits as long as a test does."""
    return httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}",
        timeout=PATIENCE,
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
    )


__all__ = ["Event", "Following", "client_of", "following"]
