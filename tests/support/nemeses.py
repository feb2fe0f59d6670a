"""A cluster on which a test observes a nemesis and its heal.

One small cluster for all of them, which they break and heal in turn; after each of them a task has
to go through, from the API to its effect.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from itertools import count
from random import Random
from typing import Any, TypeVar

import aiohttp
import msgspec
import psutil

from leaseq.model import TERMINAL
from leaseq_chaos.cluster.cluster import Cluster
from leaseq_chaos.cluster.proxy import Proxy
from leaseq_chaos.nemesis.catalogue import NEMESES
from leaseq_chaos.nemesis.nemesis import Injury

ALL = os.environ.get("LEASEQ_TEST_ALL_NEMESES") == "1"
SOON = 60.0
SILENCE = 0.4
# Some protocols begin with a message of the client, to which the server answers.
HELLO = {
    "api": b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n",
    "valkey": b"PING\r\n",
    "postgres": bytes.fromhex("0000000804d2162f"),  # SSLRequest
}

T = TypeVar("T")
Hurt = AbstractAsyncContextManager[Injury]
Proof = Callable[[Cluster, Hurt], Awaitable[None]]
PROOFS: dict[str, Proof] = {}
numbers = count(1)


class Least(Random):
    """Draws the minimum of a range, the last of a list, and one connection rather than all."""

    def choice(self, seq: Sequence[T]) -> T:  # type: ignore[override]  # we are given lists
        return seq[-1]

    def randint(self, a: int, b: int) -> int:
        return a

    def random(self) -> float:
        return 0.99


def proves(*names: str) -> Callable[[Proof], Proof]:
    """The function shows what these nemeses do. It is handed the block within which the fault is
    there."""

    def enter(proof: Proof) -> Proof:
        PROOFS.update(dict.fromkeys(names, proof))
        return proof

    return enter


@asynccontextmanager
async def inflicted(cluster: Cluster, name: str) -> AsyncIterator[Injury]:
    nemesis = NEMESES[name]
    injury = await nemesis.inject(cluster, Least(0))
    msgspec.json.encode(injury)  # it goes into the history
    try:
        yield injury
    finally:
        async with asyncio.timeout(60):
            await nemesis.heal(cluster, injury)
    await nemesis.heal(cluster, injury)  # once more: no harm


async def whole(cluster: Cluster) -> None:
    """Everything runs, nothing is stopped or troubled, and a task goes all the way."""
    await eventually(lambda: all(service.alive for service in cluster.services.values()))
    await eventually(
        lambda: all(
            len(worker.children) >= cluster.layout.processes for worker in cluster.of("worker")
        )
    )
    pids = [pid for service in cluster.services.values() for pid in service.pids]
    assert not [
        pid for pid in [*pids, *cluster.postgres.pids(), cluster.valkey.server.pid] if stopped(pid)
    ]
    for proxy in cluster.proxies.values():
        assert await asked(proxy), proxy.name
    assert (await ended(cluster, "note", {"n": 1}))["state"] == "SUCCESS"


async def ended(cluster: Cluster, task_type: str, payload: dict[str, Any]) -> dict[str, Any]:
    """A task of this type, when it has ended."""
    headers = {"Idempotency-Key": f"proof-{next(numbers)}"}
    body = {"type": task_type, "payload": payload}
    async with (
        aiohttp.ClientSession(cluster.fronts[0], raise_for_status=True) as session,
        session.post("/api/tasks", json=body, headers=headers) as accepted,
    ):
        task = await accepted.json()
    return await followed(cluster, task["task_id"])


async def followed(cluster: Cluster, task_id: str) -> dict[str, Any]:
    """A task, when it has ended."""
    async with (
        asyncio.timeout(2 * SOON),
        aiohttp.ClientSession(cluster.fronts[0], raise_for_status=True) as session,
    ):
        while True:
            async with session.get(f"/api/tasks/{task_id}", params={"wait": "2"}) as answer:
                task: dict[str, Any] = await answer.json()
            if task["state"] in TERMINAL:
                return task


async def eventually(question: Callable[[], bool]) -> None:
    """Wait until the condition holds: no event announces the fate of a process."""

    async def answer() -> bool:
        return question()

    await eventually_said(answer)


async def eventually_said(question: Callable[[], Awaitable[bool]]) -> None:
    """The same of what has to be asked of a server."""
    async with asyncio.timeout(SOON):
        while True:
            if await question():
                return
            await asyncio.sleep(0.02)


async def asked(proxy: Proxy, *, patience: float = 5.0) -> bytes:
    """The answer of the far end to a hello; nothing, or ConnectionError, if the connection ends
    first."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        writer.write(HELLO[store_of(proxy)])
        async with asyncio.timeout(patience):
            return await reader.read(100)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def store_of(proxy: Proxy) -> str:
    return proxy.name.partition("@")[0]


def stopped(pid: int | None) -> bool:
    return _condition(pid) == psutil.STATUS_STOPPED


def gone(pid: int) -> bool:
    return _condition(pid) in (None, psutil.STATUS_ZOMBIE)


def has_faked_clock(pid: int) -> bool:
    """Whether libfaketime is loaded in this process."""
    return any("libfaketime" in part.path for part in psutil.Process(pid).memory_maps())


def _condition(pid: int | None) -> str | None:
    if pid is None:
        return None
    try:
        return psutil.Process(pid).status()
    except psutil.NoSuchProcess:
        return None
