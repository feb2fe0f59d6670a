"""Submit the tasks of the demo, and keep the answers.

Over HTTP, as any client would, some submissions concurrently. Every acknowledgement is kept: the
verdict holds it against the ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from time import perf_counter

import httpx
from msgspec import Struct

from examples.demo.workload import Errand
from examples.http_client import submit

CLIENTS = 8


class Answer(Struct, frozen=True):
    """One acknowledgement."""

    key: str
    task_id: str
    replayed: bool
    seconds: float


async def submit_all(api_url: str, errands: Sequence[Errand]) -> list[Answer]:
    """Submit everything, then send again the submissions that were set aside."""
    limits = httpx.Limits(max_connections=2 * CLIENTS)
    async with httpx.AsyncClient(base_url=api_url, limits=limits, timeout=30) as client:
        answers: list[Answer] = []
        for round_of in (errands, [errand for errand in errands if errand.later]):
            rest = iter(round_of)
            async with asyncio.TaskGroup() as group:
                for _ in range(CLIENTS):
                    group.create_task(submit_some(client, rest, answers))
    return answers


async def submit_some(
    client: httpx.AsyncClient, rest: Iterator[Errand], answers: list[Answer]
) -> None:
    """Take errands from the common supply until there are none."""
    for errand in rest:
        copies = 2 if errand.twice else 1
        answers += await asyncio.gather(*(submit_one(client, errand) for _ in range(copies)))


async def submit_one(client: httpx.AsyncClient, errand: Errand) -> Answer:
    """Submit one errand, and take the time until it was acknowledged."""
    began = perf_counter()
    response = await submit(client, errand.type, errand.payload, key=errand.key)
    return Answer(
        errand.key,
        response.json()["task_id"],
        response.headers.get("Idempotent-Replayed") == "true",
        perf_counter() - began,
    )
