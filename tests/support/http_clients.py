"""Drive the two clients of leaseq-http alike, against real and scripted services.

`Either` gives the blocking client async methods, so that one test is for both. A `Script` stands
in for a service that answers as it is not easily made to. A `Losing` transport loses answers of a
real service after they were given.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from leaseq_http import AsyncClient, Client
from support.processes import Services

Answer = httpx.Response | Exception
KINDS = [AsyncClient, Client]


class Either:
    """One of the clients."""

    def __init__(self, client: Any) -> None:
        self.client = client

    @property
    def limits(self) -> Any:
        """The limits of the client, alike."""
        return Either(self.client.limits)

    @property
    def schedules(self) -> Any:
        """The schedules of the client, alike."""
        return Either(self.client.schedules)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.client, name)
        if type(self.client).__name__.startswith("Async"):
            return _collected(method) if name in ITERATING else _of_async(method)
        if name in ITERATING:
            return lambda *args, **kwargs: asyncio.to_thread(lambda: list(method(*args, **kwargs)))
        return lambda *args, **kwargs: asyncio.to_thread(method, *args, **kwargs)


# These return iterators, which are read to their end.
ITERATING = frozenset(
    {
        *("events", "follow_operation", "watch"),
        *(
            "list_limits",
            "list_schedules",
            "list_operations",
            "list_queues",
            "list_tasks",
            "list_types",
        ),
    }
)


def _of_async(method: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        return await method(*args, **kwargs)

    return call


def _collected(method: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        return [each async for each in method(*args, **kwargs)]

    return call


class Script(httpx.MockTransport):
    """A service that gives these answers, one for each request, and the last one again and again."""

    def __init__(self, *answers: Answer) -> None:
        super().__init__(self._answer)
        self.requests: list[httpx.Request] = []
        self._answers = list(answers)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        # A response can be read once.
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


class LosingAsync(httpx.AsyncHTTPTransport):
    """The network, which loses the next answers behind the service."""

    losses = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await super().handle_async_request(request)
        if self.losses:
            self.losses -= 1
            await answer.aclose()
            raise httpx.ReadError("the answer was lost")
        return answer


class Losing(httpx.HTTPTransport):
    """The same for the blocking client."""

    losses = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        if self.losses:
            self.losses -= 1
            answer.close()
            raise httpx.ReadError("the answer was lost")
        return answer


def problem(code: str, status: int, *, headers: dict[str, str] | None = None) -> httpx.Response:
    """An answer with a problem."""
    body = {"code": code, "status": status, "title": "A title", "detail": f"a detail of {code}"}
    typed = {"Content-Type": "application/problem+json"} | (headers or {})
    return httpx.Response(status, json=body, headers=typed)


@asynccontextmanager
async def scripted(
    kind: type[AsyncClient | Client], script: Script, **settings: Any
) -> AsyncIterator[Either]:
    """A client of a scripted service."""
    if kind is AsyncClient:
        async with httpx.AsyncClient(transport=script) as http:
            yield Either(AsyncClient("http://leaseq.example", http=http, **settings))
    else:
        with httpx.Client(transport=script) as blocking:
            yield Either(Client("http://leaseq.example", http=blocking, **settings))


@pytest.fixture
async def address(services: Services) -> str:
    """The address of an API process."""
    api = await services.start("api", "--port", "0")
    (started,) = await api.hear("api.started")
    return f"http://127.0.0.1:{started['port']}"


@pytest.fixture(params=KINDS, ids=["async", "blocking"])
def kind(request: pytest.FixtureRequest) -> type[AsyncClient | Client]:
    """Each of the clients."""
    found: type[AsyncClient | Client] = request.param
    return found


@pytest.fixture
async def leaseq(kind: type[AsyncClient | Client], address: str) -> AsyncIterator[Either]:
    """A client of a real service."""
    if kind is AsyncClient:
        async with AsyncClient(address) as client:
            yield Either(client)
    else:
        with Client(address) as blocking:
            yield Either(blocking)
