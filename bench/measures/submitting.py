"""The speed of submissions from Python: one by one, a hundred callers, in bulk."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from bench.cost import Meter
from bench.figures import Reading, percentiles
from bench.processes import BenchFailed
from bench.scale import Scale
from bench.stage import Stage, set_up
from bench.supply import NOTE
from leaseq import Leaseq, TypedTask

CALLERS = 100
MILLISECONDS = 1e3

Submit = Callable[[int], Awaitable[Any]]
Noop = TypedTask[..., None]


async def submitting(scale: Scale) -> list[Reading]:
    """Three ways in, on the same servers. Every task is committed when its call returns; none has
    an idempotency key."""
    async with set_up(scale.settings) as stage:
        client = Leaseq(stage.config)

        @client.task
        async def noop(order_id: int, note: str) -> None: ...

        async def submit(number: int) -> None:
            await noop.submit(order_id=number, note=NOTE)

        async with client:
            return [
                *await _one_by_one(submit, scale.single_tasks),
                *await _at_once(stage, submit, scale.concurrent_tasks),
                *await _in_bulk(stage, client, noop, scale.bulk_tasks),
            ]


async def _one_by_one(submit: Submit, count: int) -> list[Reading]:
    taken = []
    for number in range(count):
        began = perf_counter()
        await submit(number)
        taken.append((perf_counter() - began) * MILLISECONDS)
    rate = Reading("submit, one by one", "tasks/s", count / sum(taken) * MILLISECONDS)
    return [rate, *percentiles("submit, one by one:", taken, unit="ms")]


async def _at_once(stage: Stage, submit: Submit, count: int) -> list[Reading]:
    name = f"submit, {CALLERS} callers"
    numbers = iter(range(count))

    async def call() -> None:
        for number in numbers:
            await submit(number)

    meter, began = _meter(stage), perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(call())
    seconds = perf_counter() - began
    meter.stop()
    return [Reading(name, "tasks/s", count / seconds), *meter.per_task(name, count)]


async def _in_bulk(stage: Stage, client: Leaseq, noop: Noop, count: int) -> list[Reading]:
    meter, began = _meter(stage), perf_counter()
    tasks = await client.submit_many(
        noop.bind(order_id=number, note=NOTE) for number in range(count)
    )
    seconds = perf_counter() - began
    meter.stop()
    if (recorded := len({task.id for task in tasks})) != count:
        raise BenchFailed(f"{recorded} of {count} tasks were recorded")
    return [
        Reading("submit, in bulk", "tasks/s", count / seconds),
        *meter.per_task("submit, in bulk", count),
    ]


def _meter(stage: Stage) -> Meter:
    return Meter(
        {"client": os.getpid(), "Postgres": stage.postgres_pid, "Valkey": stage.valkey_pid}
    )
