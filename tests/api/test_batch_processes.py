"""Batches through a real API process, with slow clients, lost clients and kills."""

from __future__ import annotations

import asyncio
import signal
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import psutil
import pytest

from leaseq.ledger.session import Connection
from support.processes import Service, Services
from support.raw_http import Answer, Client

NOTE = "x" * 60
HEAD = b"POST /api/tasks/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: %b\r\n"
LINES = HEAD % b"application/x-ndjson"
ARRAY = HEAD % b"application/json"
CHUNKED = LINES + b"Transfer-Encoding: chunked\r\n\r\n"
GROWTH_BYTES = 40 * 1_048_576


def item(number: int, **more: Any) -> bytes:
    return msgspec.json.encode(
        {"type": "add", "payload": {"n": number, "note": NOTE}, "idempotency_key": f"k{number}"}
        | more
    )


def whole(lines: list[bytes]) -> bytes:
    body = b"\n".join(lines)
    return LINES + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunk(lines: list[bytes]) -> bytes:
    data = b"".join(line + b"\n" for line in lines)
    return b"%x\r\n%b\r\n" % (len(data), data)


def outcomes(answer: Answer) -> list[dict[str, Any]]:
    assert answer.status == 200, answer.body[:500]
    found: list[dict[str, Any]] = msgspec.json.decode(answer.body)["items"]
    return found


async def count(plain: Connection) -> int:
    cursor = await plain.execute("select count(*) from leaseq.tasks")
    return int((await cursor.fetchall())[0][0])


async def until_recorded(plain: Connection, number: int) -> None:
    async with asyncio.timeout(120):
        while await count(plain) < number:  # noqa: ASYNC110 (a row is no event)
            await asyncio.sleep(0.02)


class Api:
    """A process, and connections to it."""

    def __init__(self, service: Service, port: int) -> None:
        self.service = service
        self.port = port
        self.opened: list[Client] = []

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.opened.append(client)
        return client

    async def ask(self, raw: bytes) -> Answer:
        client = await self.connect()
        answer = await client.ask(raw)
        client.close()
        return answer


async def start(services: Services) -> Api:
    service = await services.start("api", "--port", "0")
    (said,) = await service.hear("api.started")
    return Api(service, said["port"])


@pytest.fixture
async def api(services: Services) -> AsyncIterator[Api]:
    started = await start(services)
    yield started
    for client in started.opened:
        client.close()
    assert not started.service.heard("request.failed")


async def test_lines_are_recorded_while_they_arrive(api: Api, plain: Connection) -> None:
    client = await api.connect()
    client.send(CHUNKED + chunk([item(number) for number in range(1001)]))
    await until_recorded(plain, 1000)
    client.send(chunk([item(number) for number in range(1001, 1200)]) + b"0\r\n\r\n")
    found = outcomes(await client.answer())
    assert [outcome["status"] for outcome in found] == [202] * 1200
    keys = [outcome["task"]["idempotency_key"] for outcome in found]
    assert keys == [f"k{number}" for number in range(1200)]
    # and the connection stays
    assert [outcome["replayed"] for outcome in outcomes(await client.ask(whole([item(0)])))] == [
        True
    ]


async def test_a_batch_whose_process_is_killed_is_repeated_without_a_second_task(
    services: Services, plain: Connection
) -> None:
    api = await start(services)
    lines = [item(number) for number in range(2300)]
    client = await api.connect()
    client.send(CHUNKED + chunk(lines[:1700]))
    await until_recorded(plain, 1500)
    api.service.signal(signal.SIGKILL)
    assert await client.rest() == b""
    client.close()
    before = await count(plain)
    assert before == 1500
    again = await start(services)
    found = outcomes(await again.ask(whole(lines)))
    assert [outcome["replayed"] for outcome in found] == [True] * 1500 + [False] * 800
    assert await count(plain) == 2300


async def test_a_client_that_goes_away_leaves_whole_chunks(api: Api, plain: Connection) -> None:
    lines = [item(number) for number in range(900)]
    client = await api.connect()
    client.send(CHUNKED + chunk(lines[:700]))
    await until_recorded(plain, 500)
    sock = client.writer.transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.writer.transport.abort()
    (said,) = await api.service.hear("batch.abandoned")
    assert said["recorded"] == 500
    assert await count(plain) == 500
    found = outcomes(await api.ask(whole(lines)))
    assert [outcome["replayed"] for outcome in found] == [True] * 500 + [False] * 400


async def test_a_body_that_is_cut_off_tells_its_recorded_items(api: Api, plain: Connection) -> None:
    for cut, code in ((b"x\r\n", "request_malformed"), (b"", "request_malformed")):
        client = await api.connect()
        client.send(CHUNKED + chunk([item(1), item(2)]) + cut)
        if not cut:
            client.writer.write_eof()
        *found, last = outcomes(await client.answer())
        assert [outcome["status"] for outcome in found] == [202, 202]
        assert (last["status"], last["problem"]["code"]) == (400, code)
        assert await client.rest() == b""
    assert await count(plain) == 2


@pytest.mark.parametrize("announced", [True, False])
async def test_more_than_sixteen_mebibytes(api: Api, plain: Connection, announced: bool) -> None:
    lines = [item(number, payload="x" * 100_000) for number in range(170)]
    client = await api.connect()
    if announced:
        client.send(whole(lines))
        answer = await client.answer()
        assert (answer.status, answer.code) == (413, "body_too_large")
        assert await count(plain) == 0
    else:
        client.send(CHUNKED)
        for line in lines:
            client.send(chunk([line]))
        *found, last = outcomes(await client.answer())
        assert [outcome["status"] for outcome in found] == [202] * len(found)
        assert (last["status"], last["problem"]["code"]) == (413, "body_too_large")
        assert 160 <= len(found) == await count(plain)


async def test_a_large_array_is_received_and_a_larger_one_refused(
    api: Api, plain: Connection
) -> None:
    for number, status in ((150, 200), (170, 413)):
        body = b"[" + b",".join([item(n, payload="x" * 100_000) for n in range(number)]) + b"]"
        answer = await api.ask(ARRAY + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert answer.status == status
    assert await count(plain) == 150


async def test_a_client_that_reads_nothing_until_it_has_sent_everything(api: Api) -> None:
    """Most clients are such. A few of them keep no other one waiting."""
    slow = [await api.connect() for _ in range(4)]
    for client in slow:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(whole([item(number) for number in range(10_000)]))
    await asyncio.gather(*(client.writer.drain() for client in slow))
    assert [outcome["status"] for outcome in outcomes(await api.ask(whole([item(1)])))] == [202]
    for client in slow:
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert len(outcomes(await client.answer())) == 10_000


@pytest.mark.parametrize("by_line", [True, False])
async def test_memory_does_not_grow_with_the_number_of_batches(api: Api, by_line: bool) -> None:
    process = psutil.Process(api.service.pid)

    async def send(payload_size: int, first: int) -> None:
        payload = "x" * payload_size
        items = [item(first + n, payload=payload, idempotency_key=None) for n in range(3_000)]
        if by_line:
            raw = whole(items)
        else:
            body = b"[" + b",".join(items) + b"]"
            raw = ARRAY + b"Content-Length: %d\r\n\r\n" % len(body) + body
        assert len(outcomes(await api.ask(raw))) == 3_000

    for turn in range(3):
        await send(5_000, turn)
    before = process.memory_info().rss
    for turn in range(5):
        await send(5_000, turn)
    assert process.memory_info().rss - before < GROWTH_BYTES
