"""The address that serves metrics answers little, to few, and not for long."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.errors import ConfigInvalid
from leaseq.metrics import listener
from leaseq.metrics.listener import serving_metrics
from leaseq.metrics.tally import Tally
from leaseq.observability.telemetry import recorded
from support.servers import free_port

CONFIG = Config(metrics_port=0)


async def ask(request: str, config: Config = CONFIG) -> str:
    """Everything that is answered to these bytes."""
    with recorded() as events:
        async with serving_metrics(config, "worker", Tally().series):
            (port,) = [e.fields["port"] for e in events if e.name == "metrics.serving"]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request.encode())
            answer = b""
            with suppress(ConnectionResetError):
                answer = await reader.read()
            writer.close()
    return answer.decode()


@pytest.mark.parametrize(
    ("request_line", "line"),
    [
        ("GET /metrics HTTP/1.1", "200 OK"),
        ("GET /metrics?a=b HTTP/1.0", "200 OK"),
        ("HEAD /metrics HTTP/1.1", "200 OK"),
        ("POST /metrics HTTP/1.1", "405 Method Not Allowed"),
        ("GET / HTTP/1.1", "404 Not Found"),
        ("GET", "404 Not Found"),
        ("", "404 Not Found"),
    ],
)
async def test_only_the_metrics_are_served(request_line: str, line: str) -> None:
    answer = await ask(f"{request_line}\r\n\r\n")
    assert answer.startswith(f"HTTP/1.1 {line}\r\n")
    assert ("leaseq_attempts_total" in answer) == (line == "200 OK" and "HEAD" not in request_line)


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("localhost:1", True),
        ("127.0.0.1", True),
        ("[::1]:9464", True),
        ("evil.example", False),
        ("10.0.0.7", False),
    ],
)
async def test_a_page_of_another_site_reads_nothing_on_the_loopback(
    host: str, served: bool
) -> None:
    answer = await ask(f"GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n")
    assert answer.startswith("HTTP/1.1 200 OK" if served else "HTTP/1.1 421 Misdirected Request")
    elsewhere = await ask(
        f"GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n", replace(CONFIG, metrics_host="0.0.0.0")
    )
    assert elsewhere.startswith("HTTP/1.1 200 OK")


async def test_openmetrics_is_sent_where_it_is_asked_for() -> None:
    accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    answer = await ask(f"GET /metrics HTTP/1.1\r\n{accept}\r\n\r\n")
    assert "Content-Type: application/openmetrics-text; version=1.0.0" in answer
    assert answer.endswith("# EOF\n")


async def test_an_endless_head_is_not_read() -> None:
    assert await ask("GET /metrics HTTP/1.1\r\n" + "a: b\r\n" * 4_000) == ""


async def test_a_silent_client_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "REQUEST_SECONDS", 0.05)
    assert await ask("GET /metrics HTTP/1.1\r\n") == ""


async def test_a_crowd_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "MOST_CLIENTS", 0)
    assert await ask("GET /metrics HTTP/1.1\r\n\r\n") == ""


async def test_a_port_in_use_is_told_by_its_setting() -> None:
    config = replace(CONFIG, metrics_port=free_port())
    async with serving_metrics(config, "worker"):
        with pytest.raises(ConfigInvalid, match=r"LEASEQ_METRICS_PORT=\d+ cannot be used"):
            async with serving_metrics(config, "worker"):
                pass


async def test_without_a_port_nothing_listens() -> None:
    with recorded() as events:
        async with serving_metrics(Config(), "worker"):
            pass
    assert events == []
