"""Large batches delay no lone submission, and take bounded memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
import pytest

from leaseq_api.batch import route
from leaseq_api.batch.route import GROUP
from leaseq_chaos.pace import Pace
from support.api import Api
from support.processes import Services
from support.raw_http import Client

BATCHERS = 8
ITEMS = 10_000
SUBMISSIONS = 100
# Of an API that works well; an overloaded one refuses what would take longer.
LATENCY_SECONDS = 1.0
# Bodies of 64 MiB, once as they arrived and once more as items, and outcomes.
MEMORY_BYTES = 256 * 1_048_576
ONE = b'{"type":"add","payload":{"n":1}}'
HEAD = b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
SINGLE = HEAD % (b"/api/tasks", b"application/json", len(ONE)) + ONE


def batch(payload: int, *, by_line: bool) -> bytes:
    """A request of 10,000 items, each with a payload of so many bytes."""
    item = msgspec.json.encode({"type": "add", "payload": "x" * payload})
    body = b"\n".join([item] * ITEMS) if by_line else b"[" + b",".join([item] * ITEMS) + b"]"
    kind = b"application/x-ndjson" if by_line else b"application/json"
    return HEAD % (b"/api/tasks/batch", kind, len(body)) + body


@pytest.mark.parametrize("by_line", [True, False])
async def test_between_two_looks_at_other_requests_one_group_of_all_batches_is_parsed(
    api: Api, monkeypatch: pytest.MonkeyPatch, by_line: bool
) -> None:
    loop, parsed, real = asyncio.get_running_loop(), Counter[int](), route._parse
    turns, stopped = 0, False

    def count_turn() -> None:
        nonlocal turns
        turns += 1
        if not stopped:
            loop.call_soon(count_turn)

    def parse(*args: Any, **more: Any) -> Any:
        parsed[turns] += 1
        return real(*args, **more)

    monkeypatch.setattr(route, "_parse", parse)
    count_turn()
    items = [msgspec.json.encode({"type": "add", "payload": n}) for n in range(1_100)]
    body = b"\n".join(items) if by_line else b"[" + b",".join(items) + b"]"
    kind = "application/x-ndjson" if by_line else "application/json"
    answers = await asyncio.gather(
        *(
            api.client.post("/api/tasks/batch", content=body, headers={"Content-Type": kind})
            for _ in range(BATCHERS)
        )
    )
    stopped = True
    assert {answer.status_code for answer in answers} == {200}
    assert sum(parsed.values()) == BATCHERS * len(items)
    assert max(parsed.values()) == GROUP


@pytest.mark.slow("eight clients send batches of 10,000 items until 100 submissions are answered")
@pytest.mark.parametrize(("by_line", "payload"), [(True, 20), (False, 1_500)])
async def test_large_batches_of_a_few_clients_delay_no_lone_submission(
    services: Services, pace: Pace, by_line: bool, payload: int
) -> None:
    service = await services.start("api", "--port", "0")
    (started,) = await service.hear("api.started")
    lone = await _connect(started["port"])
    for _ in range(20):
        assert (await lone.ask(SINGLE)).status == 202
    before = _peak(service.pid)
    stop = asyncio.Event()
    answers: Counter[int] = Counter()
    raw = batch(payload, by_line=by_line)
    load = [
        asyncio.create_task(_send_batches(started["port"], raw, stop, answers))
        for _ in range(BATCHERS)
    ]
    taken: list[float] = []
    while len(taken) < SUBMISSIONS or not answers[200]:
        began = perf_counter()
        assert (await lone.ask(SINGLE)).status == 202
        taken.append(perf_counter() - began)
    stop.set()
    await asyncio.gather(*load)
    grown = _peak(service.pid) - before
    lone.close()
    taken.sort()
    p99 = taken[int(0.99 * len(taken))]
    print(
        f"\nbatches {dict(answers)}; {len(taken)} submissions: p50 {1e3 * taken[len(taken) // 2]:.0f} ms,"
        f" p99 {1e3 * p99:.0f} ms, longest {1e3 * taken[-1]:.0f} ms; grew by {grown / 1_048_576:.0f} MiB;"
        f" slowness {pace.slowness:.1f}"
    )
    assert set(answers) <= {200, 503}
    assert p99 < LATENCY_SECONDS * pace.slowness
    assert grown < MEMORY_BYTES


async def _send_batches(port: int, raw: bytes, stop: asyncio.Event, answers: Counter[int]) -> None:
    """Send one batch after another, as quickly as the service takes them."""
    while not stop.is_set():
        client = await _connect(port)
        client.send(raw)
        answers[(await client.answer()).status] += 1
        client.close()


async def _connect(port: int) -> Client:
    return Client(*await asyncio.open_connection("127.0.0.1", port, limit=2**26))


def _peak(pid: int) -> int:
    """The most memory that a process has had, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")
