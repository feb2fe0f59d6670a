"""A request with a large body is judged by its head, before the body is read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from msgspec.structs import replace

from leaseq.api_keys import RequestLimit, new_key
from leaseq.config import Config
from leaseq_api.http_server.exchange import Application
from leaseq_api.http_server.limits import LargeBody
from leaseq_api.problems import RawAnswer, raw_problem
from leaseq_api.security.gate import Gate
from support.api import Api, open_api
from support.keys import issue
from support.raw_http import Client, Echo, Served, serving, take_apart

JUDGED = 10_000
LARGE = 1_000_000
# Read by the event loop at one time, besides the part that is received without a judgement.
PIECE = 262_144
LATE = 100.0


class Judge:
    """Answers when it is released."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refusal: RawAnswer | None = None
        self.error: Exception | None = None
        self.release = asyncio.Event()

    async def __call__(self, scope: dict[str, Any]) -> RawAnswer | None:
        self.asked.append(scope["path"])
        await self.release.wait()
        if self.error is not None:
            raise self.error
        return self.refusal


@pytest.fixture
async def judge() -> Judge:
    return Judge()


@asynccontextmanager
async def judged(echo: Echo, judge: Judge, **more: Any) -> AsyncIterator[Served]:
    limits: dict[str, Any] = {"judged_bytes": JUDGED, "body_bytes": LARGE, "body_seconds": LATE}
    async with serving(echo, None, judge, **(limits | more)) as served:
        yield served


def head(*fields: bytes, length: int | None = LARGE, path: bytes = b"/") -> bytes:
    framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
    lines = (b"POST %b HTTP/1.1" % path, b"Host: a", *fields, framing, b"", b"")
    return b"\r\n".join(lines)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


REFUSED = raw_problem("key_missing", "no key", path=b"/")


@pytest.mark.parametrize("announced", [True, False])
async def test_no_more_than_a_part_of_a_body_is_read_before_the_judgement(
    echo: Echo, judge: Judge, announced: bool
) -> None:
    async with judged(echo, judge) as served:
        client = await served.connect()
        body = bytes(LARGE)
        client.send(head() + body if announced else head(length=None) + chunk(body) + b"0\r\n\r\n")
        await served.until(lambda: judge.asked == ["/"])
        # A probe on another connection has been read after these bytes came.
        assert (await (await served.connect()).ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")).status
        assert served.server.in_flight <= JUDGED + PIECE
        judge.release.set()
        answer = await client.answer()
        assert answer.status == 200
        assert len(answer.body) > LARGE
        assert judge.asked == ["/"]


@pytest.mark.parametrize("announced", [True, False])
async def test_a_refused_body_is_not_received(echo: Echo, judge: Judge, announced: bool) -> None:
    judge.refusal = REFUSED
    judge.release.set()
    async with judged(echo, judge) as served:
        client = await served.connect()
        client.send(head() + b"a" if announced else head(length=None) + chunk(bytes(2 * JUDGED)))
        (answer,) = take_apart(await client.rest())
        assert (answer.code, answer.headers["connection"]) == ("key_missing", "close")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert served.server.in_flight == 0
        assert echo.asked == []


async def test_a_client_that_asks_first_sends_nothing_that_is_refused(
    echo: Echo, judge: Judge
) -> None:
    async with judged(echo, judge) as served:
        client = await served.connect()
        client.send(head(b"Expect: 100-continue"))
        await served.until(lambda: judge.asked == ["/"])
        judge.release.set()
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert (await client.ask(bytes(LARGE))).status == 200
        judge.refusal = REFUSED
        other = await served.connect()
        other.send(head(b"Expect: 100-continue"))
        raw = await other.rest()
        assert raw.startswith(b"HTTP/1.1 401")


async def test_a_small_body_is_not_judged(echo: Echo, judge: Judge) -> None:
    async with judged(echo, judge) as served:
        client = await served.connect()
        for raw in (
            head(length=JUDGED) + bytes(JUDGED),
            head(length=None) + chunk(bytes(JUDGED)) + b"0\r\n\r\n",
        ):
            assert (await client.ask(raw)).status == 200
        assert judge.asked == []


async def test_a_refusal_waits_for_the_answers_before_it(echo: Echo, judge: Judge) -> None:
    judge.refusal = REFUSED
    judge.release.set()
    async with judged(echo, judge) as served:
        client = await served.connect()
        client.send(head(length=1, path=b"/held") + b"1" + head())
        await served.until(lambda: echo.asked == ["/held"] and judge.asked == ["/"])
        echo.release.set()
        first, second = take_apart(await client.rest())
        assert (first.status, second.code) == (200, "key_missing")


async def test_a_client_that_goes_away_meanwhile_leaves_nothing(echo: Echo, judge: Judge) -> None:
    async with judged(echo, judge) as served:
        client = await served.connect()
        client.send(head())
        await served.until(lambda: judge.asked == ["/"])
        client.writer.transport.abort()
        judge.release.set()
        await served.until(lambda: not served.server.connections)
        assert echo.asked == []


async def test_a_judge_that_fails_leaves_it_to_the_application(echo: Echo, judge: Judge) -> None:
    judge.error = RuntimeError("broken")
    judge.release.set()
    async with judged(echo, judge) as served:
        client = await served.connect()
        assert (await client.ask(head() + bytes(LARGE))).status == 200


# With the checks of the service.

BATCH = b"/api/tasks/batch"
MIB = 1_048_576


@pytest.fixture
async def guarded_server(config: Config) -> AsyncIterator[tuple[Api, Served]]:
    large = {BATCH: LargeBody(16 * MIB, b"application/x-ndjson")}
    async with open_api(replace(config, api_auth="keys")) as api:
        gate = cast(Gate, api.app.asgi_handler)
        application = cast(Application, api.app)
        async with serving(application, None, gate.judge, large_bodies=large) as served:
            yield api, served


async def ask(
    served: Served, *fields: bytes, path: bytes = BATCH, host: bytes = b"localhost"
) -> str:
    """The code with which the head of a request with 15 MiB is refused; no byte of it is sent."""
    client = await served.connect()
    length = b"Content-Length: %d" % (15 * MIB if path == BATCH else MIB)
    lines = (b"POST %b HTTP/1.1" % path, b"Host: " + host, *fields, length, b"", b"")
    client.send(b"\r\n".join(lines))
    (answer,) = take_apart(await client.rest())
    return answer.code


async def test_requests_without_a_valid_key_are_refused_before_their_body(
    guarded_server: tuple[Api, Served],
) -> None:
    api, served = guarded_server
    json = b"Content-Type: application/json"
    revoked = await issue(api, "submit")
    await api.service.engine.access.revoke_key(revoked.key.id)

    def key(text: str) -> bytes:
        return b"Authorization: Bearer " + text.encode()

    assert await ask(served, json) == "key_missing"
    assert await ask(served, json, path=b"/api/tasks") == "key_missing"
    assert await ask(served, json, key("lq_nonsense")) == "key_invalid"
    assert await ask(served, json, key(new_key()[1])) == "key_invalid"
    assert await ask(served, json, key(revoked.text)) == "key_revoked"
    assert await ask(served, json, host=b"evil.example") == "host_unknown"
    assert await ask(served, json, b"Origin: https://evil.example") == "cross_site"
    assert await ask(served, json, path=b"/nowhere") == "not_found"
    assert await ask(served, json, path=b"/health/live") == "body_too_large"
    assert served.server.in_flight == 0
    bound = await issue(api, "submit", tenant="acme")
    assert await ask(served, json, key(bound.text), b"Leaseq-Tenant: other") == "tenant_forbidden"


async def test_a_key_whose_limit_is_exhausted_sends_no_large_body(
    guarded_server: tuple[Api, Served],
) -> None:
    api, served = guarded_server
    issued = await issue(api, "submit", "read")
    await api.service.engine.access.limit_key(issued.key.id, RequestLimit(0.01, 1))
    key = b"Authorization: Bearer " + issued.text.encode()
    client = await served.connect()
    answer = await client.ask(b"GET /api/tasks HTTP/1.1\r\nHost: localhost\r\n%b\r\n\r\n" % key)
    assert answer.status == 200
    assert await ask(served, b"Content-Type: application/json", key) == "rate_limited"


async def test_a_large_batch_with_a_valid_key_is_recorded(
    guarded_server: tuple[Api, Served],
) -> None:
    api, served = guarded_server
    issued = await issue(api, "submit")
    body = b"[" + b",".join([b'{"type":"add","payload":"%b"}' % (b"x" * 1_000)] * 1_000) + b"]"
    client: Client = await served.connect()
    answer = await client.ask(
        b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b"
        % (BATCH, issued.text.encode(), len(body), body)
    )
    assert answer.status == 200
    assert answer.body.count(b'"status":202') == 1_000
