"""Refusals before the routes are problems whose type is a page of the service."""

from __future__ import annotations

from typing import Any, cast

import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq_api.http_server.exchange import Application
from leaseq_api.openapi import IN_FRONT
from leaseq_api.problems import KINDS, page_of
from support.api import open_api
from support.raw_http import serving

HOST = b"Host: localhost\r\n"
JSON = HOST + b"Content-Type: application/json\r\n"
# As raw bytes -> the code. Deadlines pass within a second.
REFUSED = {
    b"hello\r\n\r\n": "request_malformed",
    b"GET / HTTP/1.1\r\n\r\n": "host_invalid",
    b"GET / HTTP/1.1\r\n" + HOST + b"Origin: a\r\nOrigin: b\r\n\r\n": "header_repeated",
    b"GET / HTTP/1.1\r\n"
    + HOST
    + b"Forwarded: for=1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n\r\n": "forwarded_conflict",
    b"PUT /api/tasks HTTP/1.1\r\n" + HOST + b"\r\n": "method_not_allowed",
    b"GET / HTTP/1.1\r\n" + HOST: "head_timeout",
    b"POST /api/tasks HTTP/1.1\r\n" + JSON + b"Content-Length: 9\r\n\r\n{": "body_timeout",
    b"POST /api/tasks HTTP/1.1\r\n" + JSON + b"Content-Length: 9999999\r\n\r\n": "body_too_large",
    b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n": "target_too_long",
    b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 70_000 + b"\r\n\r\n": "head_too_large",
    b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n": "method_unknown",
    b"POST /api/tasks HTTP/1.1\r\n"
    + JSON
    + b"Content-Length: 9000\r\n\r\n"
    + b" " * 9_000: "overloaded",
}
LIMITS: dict[str, Any] = {
    "header_seconds": 1.0,
    "body_seconds": 1.0,
    "linger_seconds": 0.5,
    "body_bytes": 10_000,
    "in_flight_bytes": 5_000,
}


async def test_refusals_of_the_server_lead_to_a_page_that_it_serves(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError

    async with (
        open_api(replace(config, api_proxies="127.0.0.1", api_auth="off")) as api,
        serving(cast(Application, api.app), **LIMITS) as served,
    ):

        async def ask(raw: bytes) -> Any:
            client = await served.connect()
            return await client.ask(raw)

        told: set[str] = set()
        for raw, code in REFUSED.items():
            answer = await ask(raw)
            assert answer.code == code, raw[:80]
            told.add(code)
        with monkeypatch.context() as patched:
            patched.setattr(api.app, "asgi_handler", broken)
            assert (await ask(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")).code == "internal_error"
            told.add("internal_error")
        for code in told:
            page = await ask(b"GET " + page_of(code).encode() + b" HTTP/1.1\r\n" + HOST + b"\r\n")
            assert page.status == 200
            assert page.headers["content-type"] == "text/html; charset=utf-8"
            assert KINDS[code].title in page.body.decode()
        assert told == set(IN_FRONT)
