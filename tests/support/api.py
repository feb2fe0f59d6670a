"""Talk to the HTTP service with real stores.

Mostly without a socket: the application runs in the event loop of the test, its lifespan around the
block. `problem` is the one place that says what every error looks like.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec
import pytest
from litestar import Litestar
from msgspec import Struct

from leaseq.config import Config
from leaseq_api.app import create_app
from leaseq_api.problem_kinds import KINDS
from leaseq_api.service import Service
from support.document import Document

JSON = {"Content-Type": "application/json"}
# By whether a key is required, on which alone the document of a service depends.
_DOCUMENTS: dict[bool, Document] = {}


class Api(Struct, frozen=True):
    """One running application: a client for it, and its internals."""

    app: Litestar
    client: httpx.AsyncClient
    document: Document

    @property
    def service(self) -> Service:
        service: Service = self.app.state.service
        return service

    async def submit(self, body: Any = None, **headers: str) -> httpx.Response:
        """Submit a body, or a small one of its own; header names with `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(
            "/api/tasks", json=body or {"type": "add", "payload": {"n": 1}}, headers=named
        )

    async def send(self, raw: bytes, **headers: str) -> httpx.Response:
        """Submit these very bytes."""
        return await self.client.post("/api/tasks", content=raw, headers=JSON | headers)

    async def submitted(self, body: Any = None, **headers: str) -> str:
        """Submit, insist on 202, and return the task id."""
        answer = await self.submit(body, **headers)
        assert answer.status_code == 202, answer.text
        task_id: str = answer.json()["task_id"]
        return task_id

    async def get(self, path: str) -> Any:
        """The JSON at an address that must answer with 200."""
        answer = await self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()


@asynccontextmanager
async def open_api(config: Config, *, kill_tests: Path | None = None) -> AsyncIterator[Api]:
    """Run the application within the block. An unhandled exception fails the test."""
    app = create_app(config, kill_tests=kill_tests)
    opened, over = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with app.lifespan():
            opened.set()
            await over.wait()

    # A task of its own, because the framework wants to leave its lifespan in the task that entered
    # it, and a fixture does not.
    living = asyncio.create_task(live())
    await asyncio.wait(
        {living, asyncio.ensure_future(opened.wait())}, return_when=asyncio.FIRST_COMPLETED
    )
    try:
        if opened.is_set():
            transport = httpx.ASGITransport(cast(Any, app))
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
                document = await document_of(http, key_required=config.require_idempotency_key)
                http.event_hooks["response"].append(judge(document))
                yield Api(app, http, document)
    finally:
        over.set()
        await living


async def document_of(client: httpx.AsyncClient, *, key_required: bool = False) -> Document:
    """The document that a service gives of itself."""
    if key_required not in _DOCUMENTS:
        _DOCUMENTS[key_required] = Document(
            msgspec.json.decode((await client.get("/schema")).content)
        )
    return _DOCUMENTS[key_required]


def judge(document: Document) -> Callable[[httpx.Response], Awaitable[None]]:
    """A hook that holds every answer against the document."""

    async def check(answer: httpx.Response) -> None:
        await answer.aread()
        request = answer.request
        path = request.url.raw_path.partition(b"?")[0].decode()
        document.check(
            request.method,
            path,
            status=answer.status_code,
            headers=answer.headers,
            body=answer.content,
        )

    return check


@pytest.fixture
async def api(config: Config) -> AsyncIterator[Api]:
    """The application on both session servers."""
    async with open_api(config) as opened:
        yield opened


def problem(answer: httpx.Response, code: str) -> dict[str, Any]:
    """Insist that an answer is this problem, well-formed; return its body."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body: dict[str, Any] = answer.json()
    assert body["code"] == code, f"{answer.request.method} {answer.request.url}: {body}"
    assert answer.status_code == body["status"] == KINDS[code].status
    assert body["type"] == f"/problems/{code}"
    assert answer.headers["link"].startswith(f"</problems/{code}>;")
    assert body["title"] == KINDS[code].title
    assert body["detail"]
    assert body["instance"].startswith("/")
    assert ("retry-after" in answer.headers) == KINDS[code].retry
    return body
