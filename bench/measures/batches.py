"""Batches over HTTP, beside `submit_many` from Python in the same run.

Turns alternate, so that all have the same machine. No item has an idempotency key. Both formats go to
an API without API keys, and to one with them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import partial
from time import perf_counter
from typing import Any

from bench.auth import open_apis
from bench.cost import Meter
from bench.figures import Reading
from bench.http_load import authorization
from bench.processes import BenchFailed
from bench.scale import Scale
from bench.stage import Stage, set_up
from bench.supply import NOTE
from leaseq import Leaseq

NAME = "batch over HTTP"
BESIDE = "submit_many beside"
PATIENCE_SECONDS = 60.0
MOST_ITEMS = 10_000
AT_ONCE = 2
TURNS = 3
HEAD = (
    b"POST /api/tasks/batch HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: %b\r\n"
    b"Content-Length: %d%b\r\n\r\n"
)
ITEM = b'{"type":"noop","payload":{"order_id":1%09d,"note":"' + NOTE.encode() + b'"}}'
FORMATS = {"array": b"application/json", "lines": b"application/x-ndjson"}

Work = Callable[[], Awaitable[None]]


async def batches(scale: Scale) -> list[Reading]:
    """The rate and the cost of both formats and of `submit_many`, and the share of its rate."""
    items = min(MOST_ITEMS, scale.bulk_tasks)
    count = max(1, scale.bulk_tasks // items)
    async with set_up(scale.settings) as stage:
        apis = await open_apis(stage)
        client = Leaseq(stage.config)

        @client.task
        async def noop(order_id: int, note: str) -> None: ...

        async def submit() -> None:
            await client.submit_many(noop.bind(order_id=n, note=NOTE) for n in range(count * items))

        ways: dict[str, tuple[Work, dict[str, int]]] = {}
        for name, media_type in FORMATS.items():
            for suffix, api in apis.items():
                raw = request(media_type, items, key=api.key)
                pids = {"API": api.pid, "client": os.getpid()}
                send = partial(send_all, api.port, raw, items, count)
                ways[f"{NAME}, {name}{suffix}"] = send, pids
        ways[BESIDE] = submit, {"client": os.getpid()}
        async with client:
            for work, _ in ways.values():  # prepares statements and connections
                await work()
            return await _play(stage, ways, tasks=count * items)


async def _play(
    stage: Stage, ways: dict[str, tuple[Work, dict[str, int]]], *, tasks: int
) -> list[Reading]:
    seconds: dict[str, float] = dict.fromkeys(ways, 0.0)
    costs: dict[str, Any] = {}
    for _ in range(TURNS):
        for name, (work, pids) in ways.items():
            meter = Meter(pids | {"Postgres": stage.postgres_pid, "Valkey": stage.valkey_pid})
            began = perf_counter()
            await work()
            seconds[name] += perf_counter() - began
            meter.stop()
            costs[name] = meter.per_task(name, tasks)
    readings = []
    for name, taken in seconds.items():
        readings += [Reading(name, "tasks/s", TURNS * tasks / taken), *costs[name]]
    for name in list(ways)[:-1]:
        share = 100 * seconds[BESIDE] / seconds[name]
        readings.append(Reading(f"{name}: rate, of that of submit_many", "%", share))
    return readings


def request(media_type: bytes, items: int, *, key: str | None = None) -> bytes:
    """One batch of so many items, with an API key where one is asked for."""
    encoded = [ITEM % number for number in range(items)]
    by_line = media_type == FORMATS["lines"]
    body = b"\n".join(encoded) if by_line else b"[" + b",".join(encoded) + b"]"
    return HEAD % (media_type, len(body), authorization(key)) + body


async def send_all(port: int, raw: bytes, items: int, count: int) -> None:
    """Send `count` batches, two at a time. Raises `BenchFailed` where one was not accepted."""
    numbers = iter(range(count))

    async def some() -> None:
        for _ in numbers:
            await _send(port, raw, items)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(AT_ONCE, count)):
            group.create_task(some())


async def _send(port: int, raw: bytes, items: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(PATIENCE_SECONDS):
        writer.write(raw)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
    writer.close()
    if (accepted := body.count(b'{"status":202')) != items:
        raise BenchFailed(f"{accepted} of {items} items were accepted: {body[:300]!r}")


__all__ = ["batches", "request", "send_all"]
