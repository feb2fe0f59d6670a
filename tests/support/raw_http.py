"""Bytes to and from the HTTP server, without a client that knows better."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from leaseq_api.http_server.exchange import Application
from leaseq_api.http_server.limits import Limits
from leaseq_api.http_server.server import Server
from leaseq_api.http_server.state import Judge
from leaseq_api.problem_kinds import KINDS
from leaseq_api.problems import PROBLEM_JSON

GIVE_UP_SECONDS = 60.0
SECRET = "s3cret"
# Of every answer.
MANNERS = {"server": "leaseq", "x-content-type-options": "nosniff", "cache-control": "no-store"}
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [ -~]*")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([\x20-\x7e\x80-\xff]*)")


class Answer(Struct, frozen=True):
    """One answer, taken apart."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The code of a problem that is well-formed."""
        assert self.headers["content-type"] == PROBLEM_JSON
        problem = msgspec.json.decode(self.body)
        code: str = problem["code"]
        assert problem["status"] == self.status == KINDS[code].status
        assert problem["type"] == f"/problems/{code}"
        assert problem["title"] == KINDS[code].title
        assert problem["detail"]
        assert problem["instance"].startswith("/") or problem["instance"].isascii()
        assert self.headers["link"].startswith(f"</problems/{code}>")
        assert ("retry-after" in self.headers) == KINDS[code].retry
        return code


def take_apart(raw: bytes, *, heads: bool = False) -> list[Answer]:
    """Every answer in what a server sent, each with the length that it announced. `heads`: they are
    answers to HEAD."""
    answers = []
    while raw:
        head, found, raw = raw.partition(b"\r\n\r\n")
        assert found, head[:200]
        line, *fields = head.split(b"\r\n")
        status = _STATUS_LINE.fullmatch(line)
        assert status is not None, line
        headers: dict[str, str] = {}
        for field in fields:
            parts = _FIELD.fullmatch(field)
            assert parts is not None, field
            name = parts[1].decode().lower()
            assert name not in headers, name
            headers[name] = parts[2].decode("latin-1")
        if status[1] == b"100":
            assert not headers
            continue
        assert "date" in headers
        assert MANNERS.items() <= headers.items()
        length = 0 if heads or status[1] == b"204" else int(headers["content-length"])
        assert len(raw) >= length, (headers, raw)
        answers.append(Answer(int(status[1]), headers, raw[:length]))
        raw = raw[length:]
    return answers


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, raw: bytes) -> None:
        self.writer.write(raw)

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        async with asyncio.timeout(GIVE_UP_SECONDS):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    async def answer(self) -> Answer:
        """The next answer, which has a length."""
        async with asyncio.timeout(GIVE_UP_SECONDS):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: ([0-9]+)\r\n", head)
            body = await self.reader.readexactly(int(length[1])) if length else b""
        (answer,) = take_apart(head + body)
        return answer

    async def ask(self, raw: bytes) -> Answer:
        self.send(raw)
        return await self.answer()

    def close(self) -> None:
        self.writer.close()


class Served(Struct, frozen=True):
    """A server, and how to reach it."""

    server: Server
    port: int
    opened: list[Client]

    async def connect(self, tls: ssl.SSLContext | None = None) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port, ssl=tls))
        self.opened.append(client)
        return client

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition of the server."""
        async with asyncio.timeout(GIVE_UP_SECONDS):
            while not condition():  # noqa: ASYNC110 (the server emits no event)
                await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(
    application: Application,
    tls: ssl.SSLContext | None = None,
    judge: Judge | None = None,
    /,
    **limits: Any,
) -> AsyncIterator[Served]:
    """An application on a free port. At the end nothing is left open or counted."""
    server = Server(application, Limits(**limits), judge=judge)
    served = Served(server, await server.start("127.0.0.1", 0, tls=tls), [])
    try:
        yield served
    finally:
        for client in served.opened:
            client.close()
        await server.stop(seconds=GIVE_UP_SECONDS)
    assert not server.connections
    assert server.in_flight == 0


class Echo:
    """Answers with what it was asked. By path it also holds an answer, sends it in pieces, or
    fails."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.ended: list[str] = []
        self.release = asyncio.Event()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        path = scope["path"]
        self.asked.append(path)
        body = (await receive())["body"]
        try:
            await self._answer(path, scope, body, send)
        finally:
            self.ended.append(path)

    async def _answer(self, path: str, scope: dict[str, Any], body: bytes, send: Any) -> None:
        if path == "/fails":
            raise RuntimeError(SECRET)
        if path == "/silent":
            return
        if "held" in path:
            await self.release.wait()
        seen = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        content = msgspec.json.encode([scope["method"], path, seen, body.decode("latin-1")])
        headers = (
            []
            if path.startswith(("/pieces", "/large", "/breaks"))
            else [(b"content-length", b"%d" % len(content))]
        )
        status = 204 if path == "/empty" else 200
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": headers if status == 200 else [],
            }
        )
        if path == "/breaks":
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            raise RuntimeError(SECRET)
        if path == "/pieces":
            for piece in (b"a", b"", b"bc"):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            content = b""
        if path == "/large":
            for _ in range(64):
                await send(
                    {"type": "http.response.body", "body": bytes(262_144), "more_body": True}
                )
        await send(
            {
                "type": "http.response.body",
                "body": b"" if status == 204 else content,
                "more_body": False,
            }
        )


@pytest.fixture
async def echo() -> Echo:
    return Echo()


def get(path: str, more: bytes = b"") -> bytes:
    return b"GET " + path.encode() + b" HTTP/1.1\r\nHost: a\r\n" + more + b"\r\n"


def with_length(body: bytes, path: bytes = b"/") -> bytes:
    return (
        b"POST " + path + b" HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )
