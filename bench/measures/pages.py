"""Pages and lists over a ledger with very many tasks.

Each address is asked by one client on one connection. Warm: after three answers that do not count.
Cold: the first answer after Postgres was restarted and the caches of the operating system were
dropped, where that is allowed. The blocks are those of the statement that touches the most of them
in one call, of all that the API sends meanwhile.
"""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import perf_counter

from bench.figures import Reading, percentile
from bench.processes import BenchFailed
from bench.scale import Scale
from bench.stage import Stage, set_up
from bench.supply import record

PATHS = Path(__file__).parent.parent / "paths.txt"
SETTINGS = {
    "postgres.shared_preload_libraries": "pg_stat_statements",
    "postgres.max_wal_size": "4GB",
}
WARMING = 3
# Tasks that have deliveries, beside those that wait in the ledger alone.
DELIVERED = 1_000
# The budget of a page: blocks of one statement.
MOST_BLOCKS = 4_000
TIME_OUT_SECONDS = 60.0
MILLISECONDS = 1000
DROP_CACHES = Path("/proc/sys/vm/drop_caches")


async def pages(scale: Scale) -> list[Reading]:
    """With `scale.shown` finished and as many waiting tasks, and a hundredth of them failed."""
    async with set_up(SETTINGS | scale.settings) as stage:
        await stage.witness.fill_pages(scale.shown, failed=max(scale.shown // 100, 1))
        await record(stage, DELIVERED)
        api = await stage.api()
        ids = await stage.witness.examples()
        addresses = {line: line.format(**ids) for line in scale.paths or _listed()}
        await asyncio.to_thread(_check, api.port, [*addresses.values()])
        readings: list[Reading] = []
        for name, address in addresses.items():
            readings += await _warm(stage, api.port, name, address, count=scale.asked)
        for name, address in addresses.items():
            readings += await _cold(stage, api.port, name, address, count=scale.asked_cold)
        return readings


def _listed() -> list[str]:
    lines = PATHS.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _check(port: int, addresses: Sequence[str]) -> None:
    """Raise `BenchFailed` before the measurement begins, if an address has no answer."""
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=TIME_OUT_SECONDS)
    answers = {address: _answer(conn, address)[0] for address in addresses}
    conn.close()
    if wrong := {each: code for each, code in answers.items() if code != http.client.OK}:
        raise BenchFailed(f"not answered with 200: {wrong}")


async def _warm(stage: Stage, port: int, name: str, address: str, *, count: int) -> list[Reading]:
    await asyncio.to_thread(_ask, port, address, WARMING)
    await stage.witness.reset_statements()
    taken = await asyncio.to_thread(_ask, port, address, count)
    blocks, text = await stage.witness.largest_statement()
    excess = f", over the budget: {text}" if blocks > MOST_BLOCKS else ""
    return [
        Reading(f"{name} warm p50", "ms", percentile(taken, 0.5)),
        Reading(f"{name} warm p95", "ms", percentile(taken, 0.95)),
        Reading(f"{name} blocks{excess}", "blocks", blocks),
    ]


async def _cold(stage: Stage, port: int, name: str, address: str, *, count: int) -> list[Reading]:
    taken: list[float] = []
    dropped = True
    for _ in range(count):
        dropped = await asyncio.to_thread(_forget, stage) and dropped
        await asyncio.to_thread(_wait_ready, port)
        taken += await asyncio.to_thread(_ask, port, address, 1)
    kind = "cold" if dropped else "after a restart of Postgres"
    return [Reading(f"{name} {kind}, slowest of {count}", "ms", max(taken))] if taken else []


def _forget(stage: Stage) -> bool:
    """Restart Postgres without anything in memory. False: the operating system keeps its cache."""
    dropped = False

    def drop() -> None:
        nonlocal dropped
        with suppress(OSError):
            DROP_CACHES.write_text("3", encoding="ascii")
            dropped = True

    stage.restart_postgres(between=drop)
    return dropped


def _wait_ready(port: int) -> None:
    """Until the API has connections again. Reads no table of tasks."""
    for _ in range(600):
        code, _ = _answer(http.client.HTTPConnection("127.0.0.1", port, timeout=5), "/health/ready")
        if code == http.client.OK:
            return
    raise BenchFailed("the API has not found Postgres again")


def _ask(port: int, path: str, count: int) -> list[float]:
    """Ask so many times, one after the other; milliseconds of each answer, to its last byte."""
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=TIME_OUT_SECONDS)
    taken = []
    try:
        for _ in range(count):
            began = perf_counter()
            code, body = _answer(conn, path)
            taken.append((perf_counter() - began) * MILLISECONDS)
            if code != http.client.OK:
                raise BenchFailed(f"{path} was answered {code}: {body[:200]!r}")
    finally:
        conn.close()
    return taken


def _answer(conn: http.client.HTTPConnection, path: str) -> tuple[int, bytes]:
    conn.request("GET", path, headers={"Accept": "text/html" if path.startswith("/ui") else "*/*"})
    answer = conn.getresponse()
    return answer.status, answer.read()
