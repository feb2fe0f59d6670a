"""Every malformed request is answered, and the API neither grows nor stops.

LEASEQ_TEST_FUZZ_REQUESTS sets how many are sent, half of them to an API that asks for keys, and
LEASEQ_TEST_FUZZ_SEED which.
"""

from __future__ import annotations

import asyncio
import os
import statistics
from collections.abc import Iterator

import httpx
import psutil
import pytest

from leaseq.api_keys import SCOPES
from leaseq.config import Config
from leaseq.operations.open_engine import open_engine
from support.api import document_of
from support.document_fuzz import Documented
from support.http_fuzz import CLOSE, requests
from support.processes import Service, Services
from support.raw_http import Answer, Client, take_apart

REQUESTS = int(os.environ.get("LEASEQ_TEST_FUZZ_REQUESTS", "600")) // 2
SEED = int(os.environ.get("LEASEQ_TEST_FUZZ_SEED", "11"))
AT_ONCE = 16
# Statuses that any few hundred requests get, and that very many get.
COMMON = {200, 202, 204, 400, 404, 405, 422}
RARE = {201, 403, 413, 414, 415, 421, 431, 501}
MANY = 10_000
# 501 is the answer to an unknown method, and 503 to more requests than the service takes.
FAULTS = {*range(500, 600)} - {501, 503}
# A request that is not complete gets no answer for as long as it may still come.
QUIET_SECONDS = 0.3
PROBE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
GROWTH_BYTES = 48 * 1_048_576

pytestmark = pytest.mark.timeout(120 + REQUESTS // 10)


class Fuzzing:
    """A request and its answer."""

    def __init__(self, port: int, requests: Iterator[bytes]) -> None:
        self.answers: list[Answer] = []
        self.probes: list[float] = []
        self._port = port
        self._requests = requests

    async def run(self) -> None:
        """Send everything, over some connections at a time."""
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._send_some())

    async def _send_some(self) -> None:
        for number, raw in enumerate(self._requests):
            client = Client(*await asyncio.open_connection("127.0.0.1", self._port))
            got = await exchange(client, raw)
            try:
                answers = whole(got, raw)
                self.answers += answers
                assert not [answer for answer in answers if answer.status in FAULTS]
            except (AssertionError, ValueError, KeyError) as error:
                raise AssertionError(f"{raw[:2000]!r} was answered by {got[:2000]!r}") from error
            if number % 8 == 0:
                await self.probe()

    async def probe(self) -> None:
        """Ask whether the service lives, and note how long that takes."""
        begun = asyncio.get_running_loop().time()
        client = Client(*await asyncio.open_connection("127.0.0.1", self._port))
        assert (await client.ask(PROBE)).status == 200
        self.probes.append(asyncio.get_running_loop().time() - begun)
        client.close()


async def exchange(client: Client, raw: bytes) -> bytes:
    """Send bytes, and return what comes until the end or a pause. Some clients say that they have
    sent all."""
    client.send(raw)
    got = b""
    try:
        if len(raw) % 3 == 0:
            client.writer.write_eof()
        while piece := await asyncio.wait_for(
            client.reader.read(1_048_576), QUIET_SECONDS if not got or CLOSE in raw else 0.05
        ):
            got += piece
    except (TimeoutError, OSError):
        pass
    client.writer.transport.abort()
    return got


def whole(got: bytes, raw: bytes) -> list[Answer]:
    """The answers in `got`, of which those to HEAD have no content and the last may be cut off."""
    heads = b"HEAD" in raw
    answers: list[Answer] = []
    while got:
        head, found, rest = got.partition(b"\r\n\r\n")
        if not found:
            return answers
        got = rest
        if not (empties := take_apart(head + found, heads=True)):
            continue  # 100
        empty = empties[0]
        if "transfer-encoding" in empty.headers:  # a stream, which ends when the client goes
            return [*answers, empty]
        length = int(empty.headers.get("content-length", 0))
        if heads and (not rest or rest.startswith(b"HTTP/1.1 ")):
            answers.append(empty)
        elif len(rest) < length:
            return answers
        else:
            (answer,) = take_apart(head + found + rest[:length])
            got = rest[length:]
            assert answer.status < 400 or answer.code
            answers.append(answer)
    return answers


async def started(services: Services, auth: str) -> tuple[Service, int]:
    api = await services.start("api", "--port", "0", LEASEQ_API_AUTH=auth)
    (said,) = await api.hear("api.started")
    return api, said["port"]


async def new_key(config: Config) -> str:
    """A key with every scope."""
    async with open_engine(config, name="test") as engine:
        issued = await engine.access.create_key(
            "fuzz", scopes=SCOPES, tenant=None, expires_seconds=None
        )
    return issued.text


@pytest.mark.parametrize("auth", ["off", "keys"])
async def test_api_answers_any_bytes_without_growth(
    services: Services, config: Config, auth: str
) -> None:
    key = await new_key(config) if auth == "keys" else None
    api, port = await started(services, auth)
    process = psutil.Process(api.pid)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
        document = await document_of(http)
    documented = Documented(document.content, key)
    warm = Fuzzing(port, requests(SEED + 1, max(100, REQUESTS // 10), documented))
    await warm.run()
    memory, files = process.memory_info().rss, process.num_fds()
    fuzzing = Fuzzing(port, requests(SEED, REQUESTS, documented))
    await fuzzing.run()
    for answer in fuzzing.answers:
        if answer.status >= 400 and answer.body:
            document.check(
                "GET", "/nowhere", status=answer.status, headers=answer.headers, body=answer.body
            )
    statuses = {answer.status for answer in fuzzing.answers}
    assert statuses >= COMMON, statuses
    assert REQUESTS < MANY or statuses >= RARE, statuses
    assert (401 in statuses) == (auth == "keys")
    assert len(fuzzing.answers) > REQUESTS / 2
    assert process.memory_info().rss - memory < GROWTH_BYTES
    third = len(fuzzing.probes) // 3
    first, last = (
        statistics.median(fuzzing.probes[:third]),
        statistics.median(fuzzing.probes[-third:]),
    )
    assert last < 5 * first + 0.1
    async with asyncio.timeout(60):
        while process.num_fds() > files + AT_ONCE:  # noqa: ASYNC110 (the service emits no event)
            await asyncio.sleep(0.05)
    worrying = {line["event"] for line in api.said if line["level"] not in ("debug", "info")}
    # Many thousands of requests have more refused changes than keep rows in an hour.
    expected = {"server.doubted", "operation.refusals"} | ({"auth.failed"} if key else set())
    assert worrying <= expected, worrying
    assert api.other == []
    print(f"{len(fuzzing.answers)} answers, statuses {sorted(statuses)}")
    print(
        f"memory {memory >> 20} -> {process.memory_info().rss >> 20} MiB, probe {first * 1e3:.1f} -> {last * 1e3:.1f} ms"
    )
