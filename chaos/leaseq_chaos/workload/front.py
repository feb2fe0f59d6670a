"""The answers of the API, and how much each of them claims.

The HTTP of the clients. Invariants: only an answer that says so is `ok`; only a refusal (4xx) is
`fail`; time-outs, resets, 5xx and answers that cannot be read are `info`, since the request may
have been carried out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct, field

from leaseq.model import DEFAULT_TENANT
from leaseq_chaos.history import Kind

__all__ = ["Front", "Reply", "Seen", "open_session"]

TIMEOUT_SECONDS = 2.0
NO_CONTENT = 204
OPERATIONS = "/api/operations"
ABOUT_NO_TASK = (OPERATIONS, "/api/limits", "/api/schedules")
# Refusals that are about this moment, not about the request. A proxy may have cut the body short.
PASSING = {"idempotency_in_flight", "request_malformed", "head_timeout", "body_timeout"}


class Seen(Struct, frozen=True):
    """The part of an answer about a task that a client reads."""

    task_id: str
    state: str
    tenant: str | None = None
    attempt: int = 0
    retry_count: int = 0
    crash_count: int = 0
    loss_count: int = 0


class Problem(Struct, frozen=True):
    """The part of a refusal that a client reads."""

    code: str = ""
    task_id: str | None = None


class Reply(Struct, frozen=True, kw_only=True):
    """One answer, or the lack of one."""

    kind: Kind
    seen: Seen | None = None  # with `ok`, where the answer has a content
    replayed: bool = False
    # with `fail` and `info`: what goes into the history
    said: dict[str, Any] = field(default_factory=dict)
    passing: bool = False  # may the same request be sent again?
    content: dict[str, Any] = field(default_factory=dict)  # of an answer that is about no task


_read_seen = msgspec.json.Decoder(Seen).decode
_read_problem = msgspec.json.Decoder(Problem).decode


def open_session() -> aiohttp.ClientSession:
    """Connections for any number of clients, kept alive between requests."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Content-Type": "application/json"},
    )


class Front:
    """The API, as a client without any help sees it: some addresses, of which any may be dead."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        urls: list[str],
        *,
        first: int,
        keys: Mapping[str, str],
    ) -> None:
        self._session = session
        self._urls = urls
        self._at = first
        # by tenant; empty for an API that asks for no key
        self._keys = keys

    def move_on(self) -> None:
        """This address is no good at the moment: the next one from now on."""
        self._at += 1

    async def submit(self, body: bytes, *, key: str | None, tenant: str | None) -> Reply:
        headers = {} if key is None else {"Idempotency-Key": key}
        return await self._send("POST", "/api/tasks", tenant, body=body, headers=headers)

    async def read(self, task: str, *, tenant: str | None) -> Reply:
        """Asked of another API than submissions are: it must know what that one has
        acknowledged."""
        return _about(task, await self._send("GET", f"/api/tasks/{task}", tenant, shift=1))

    async def cancel(self, task: str, *, tenant: str | None) -> Reply:
        return _about(task, await self._send("POST", f"/api/tasks/{task}/cancel", tenant))

    async def erase(self, task: str, *, tenant: str | None) -> Reply:
        """Answered without content, as `free_key` is."""
        return await self._send("DELETE", f"/api/tasks/{task}", tenant)

    async def free_key(self, task: str, *, tenant: str | None) -> Reply:
        return await self._send("DELETE", f"/api/tasks/{task}/idempotency-key", tenant)

    async def operate(
        self, path: str, body: Mapping[str, Any] | None, *, tenant: str | None
    ) -> Reply:
        """Ask about operations on many tasks: with a body by POST, else by GET."""
        method, data = ("GET", None) if body is None else ("POST", msgspec.json.encode(body))
        return await self._send(method, OPERATIONS + path, tenant, body=data)

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> Reply:
        """Ask for something that is about a limit or a schedule, as the first tenant."""
        data = None if body is None else msgspec.json.encode(body)
        return await self._send(method, path, None, body=data)

    def other_tenant(self, tenant: str | None) -> str | None:
        """A tenant that has a key and is another one."""
        return next((other for other in self._keys if other != tenant), None)

    async def _send(
        self,
        method: str,
        path: str,
        tenant: str | None,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        shift: int = 0,
    ) -> Reply:
        url = self._urls[(self._at + shift) % len(self._urls)] + path
        text_of_key = self._keys.get(tenant or DEFAULT_TENANT)
        if text_of_key is not None:
            headers = (headers or {}) | {"Authorization": f"Bearer {text_of_key}"}
        try:
            async with self._session.request(method, url, data=body, headers=headers) as response:
                text = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return _unknown(f"{type(error).__name__}: {error}".strip(": "))
        if path.startswith(ABOUT_NO_TASK) and 200 <= response.status < 300:
            return _content(text)
        return _judge(
            response.status, text, replayed=response.headers.get("Idempotent-Replayed") == "true"
        )


def _judge(http: int, text: bytes, *, replayed: bool) -> Reply:
    if http == NO_CONTENT:
        return Reply(kind=Kind.OK)
    try:
        if 200 <= http < 300:
            return Reply(kind=Kind.OK, seen=_read_seen(text), replayed=replayed)
        problem = _read_problem(text)
    except msgspec.DecodeError as error:
        if not 400 <= http < 500:
            return _unknown(f"{http}, and what came with it cannot be read: {error}")
        problem = Problem()
    if not 400 <= http < 500:
        return _unknown(f"{http} {problem.code}".strip())
    code = problem.code or f"http_{http}"
    said = {"code": code, "http": http} | ({"task": problem.task_id} if problem.task_id else {})
    return Reply(kind=Kind.FAIL, said=said, passing=code in PASSING)


def _content(text: bytes) -> Reply:
    """The whole answer, of one that is about no task."""
    try:
        return Reply(kind=Kind.OK, content=msgspec.json.decode(text, type=dict[str, Any]))
    except msgspec.DecodeError as error:
        return _unknown(f"an answer that cannot be read: {error}")


def _about(task: str, reply: Reply) -> Reply:
    """An answer about another task than the one asked for is none."""
    if reply.seen is None or reply.seen.task_id == task:
        return reply
    return Reply(
        kind=Kind.FAIL,
        said={"code": "answer_of_another_task", "http": 200, "task": reply.seen.task_id},
    )


def _unknown(error: str) -> Reply:
    return Reply(kind=Kind.INFO, said={"error": error[:300]}, passing=True)
