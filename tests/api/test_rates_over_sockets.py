"""A limit on the requests of a key is exact over sockets and processes."""

from __future__ import annotations

import asyncio
from collections import Counter
from time import monotonic

import psutil
import pytest
from msgspec.structs import replace

from leaseq.api_keys import RequestLimit
from leaseq.config import Config
from leaseq.connections.postgres_connection import Connection
from leaseq.operations.open_engine import open_engine
from support.processes import Services
from support.raw_http import Client
from support.servers import free_port

PROCESSES = 2
SUBMITTERS = 1_000
# Refused clients come again after a second, all together, and much later on a slow machine. A bucket
# that is full by then would lose tokens, so it begins with few of them and never becomes full.
RATE, BURST, FIRST = 150.0, 60_000, 300
SECONDS = 6.0
BODY = b'{"type":"add","payload":{"n":1}}'
LOOKED = (
    "select extract(epoch from looked_at)::float8 from leaseq.rate_buckets where key_id = %(id)s"
)
# A full bucket loses the tokens of the time until the first request comes.
FILL = (
    f"update leaseq.rate_buckets set tokens = {FIRST}, looked_at = clock_timestamp()"
    " where key_id = %(id)s returning extract(epoch from looked_at)::float8"
)


@pytest.mark.slow("two processes of the service answer 1,000 connections for seconds")
async def test_1000_submitters_at_two_processes_are_granted_the_rate_to_one_percent(
    config: Config, services: Services, plain: Connection
) -> None:
    async with open_engine(config) as engine:
        issued = await engine.access.create_key(
            *("shop",),
            scopes=["submit"],
            tenant=None,
            expires_seconds=None,
            limit=RequestLimit(RATE, BURST),
        )
    services.config = replace(
        config,
        api_port=free_port(),
        api_auth="keys",
        api_processes=PROCESSES,
        api_connections=2 * SUBMITTERS,
    )
    service = await services.start("api")
    started = await service.hear("api.started", count=PROCESSES)
    request = _submission(issued.text)
    clients = [await _connect(services.config.api_port) for _ in range(SUBMITTERS)]
    try:
        assert (await clients[0].ask(request)).status == 202
        began = await _time(plain, FILL, issued.key.id)
        answers: Counter[int] = Counter()
        until = monotonic() + SECONDS
        await asyncio.gather(*(_submit(each, request, until, answers) for each in clients))
        crowd = _spread(services.config.api_port)
        while (last := (await clients[0].ask(request)).status) != 429:
            answers[last] += 1
    finally:
        for client in clients:
            client.close()
    # The last look found no whole token.
    most = FIRST + RATE * (await _time(plain, LOOKED, issued.key.id) - began)
    print(f"\n{dict(answers)}, of {most:.1f} tokens; connections {crowd}")
    assert set(answers) <= {202, 429, 503}
    assert 0.99 * most - 1 <= answers[202] <= most
    # Both processes have granted, and refused.
    assert min(crowd[line["pid"]] for line in started) > SUBMITTERS / 10
    assert answers[429] > answers[202]


async def _submit(client: Client, request: bytes, until: float, answers: Counter[int]) -> None:
    """Submit again and again, and after a refusal when the service asks for it."""
    while monotonic() < until:
        answer = await client.ask(request)
        answers[answer.status] += 1
        if answer.status != 202:
            await asyncio.sleep(min(1.0, float(answer.headers["retry-after"])))


async def _connect(port: int) -> Client:
    return Client(*await asyncio.open_connection("127.0.0.1", port))


def _submission(key: str) -> bytes:
    return (
        b"POST /api/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b"
        % (key.encode(), len(BODY), BODY)
    )


def _spread(port: int) -> Counter[int | None]:
    """How many connections each process has accepted."""
    return Counter(
        connection.pid
        for connection in psutil.net_connections("tcp4")
        if connection.raddr and connection.laddr[1:] == (port,)
    )


async def _time(plain: Connection, query: str, key_id: str) -> float:
    row = await (await plain.execute(query, {"id": key_id})).fetchone()
    assert row is not None
    return float(row[0])
