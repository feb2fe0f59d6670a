"""A real Prometheus scrapes a run with kills, and agrees with the ledger.

The run has two API processes on one port, a reaper and two supervisors. Worker processes are killed
every few seconds, and one API process once. Each query of the dashboard for Grafana is evaluated on
the recorded run. `LEASEQ_TEST_PROMETHEUS_SECONDS=600` makes it as long as a review wants it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from time import monotonic, time
from typing import Any

import httpx
import pytest
import yaml
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.operations.statistics.flush import FLUSH_SECONDS
from leaseq_chaos.pace import Pace
from support.client import Client
from support.metrics import metrics_port
from support.processes import PATIENCE, Said, Service, Services, send
from support.servers import free_port
from support.source_tree import ROOT
from support.worker import until

PROGRAM = shutil.which("prometheus")
SECONDS = float(os.environ.get("LEASEQ_TEST_PROMETHEUS_SECONDS", "60"))
SCRAPE_SECONDS = 2.0
KILL_SECONDS = 8.0
RATE_INTERVAL = "20s"
STEP_SECONDS = 5
# A process that is killed takes with it what it has not reported for so long.
UNREPORTED_SECONDS = 2.0
QUEUES = "default,burst"

# Queries of the dashboard that find nothing in such a run, and why.
NOTHING = {
    "leaseq_reaper_pass_failures_total": "no pass fails while both stores answer",
    "leaseq_tasks_redelivered_total": "no delivery is lost while Redis keeps its data",
    "leaseq_tasks_pruned_total": "no task is past its retention",
    "leaseq_store_errors_total": "both stores answer",
    "leaseq_push_failures_total": "Redis answers",
    "leaseq_limit_": "there is no limit",
    "leaseq_schedule": "there is no schedule",
}
# The same of a short run.
RARE = {
    "leaseq_due_overdue_seconds": "a reaper promotes due tasks in a fraction of a second",
    "leaseq_queue_backlog": "a reaper refills a lane between two scrapes",
    'outcome=~"errored': "few attempts fail in a window of some seconds",
    'state="FAILED"': "few tasks fail in a window of some seconds",
    "leaseq_crashes_total": "few attempts are lost twice in one type, and a first value is no increase",
}
LONG_SECONDS = 300.0
ATTEMPTS = "select coalesce(sum(attempt), 0)::integer from leaseq.tasks"
LOST = "select count(*)::integer from leaseq.attempts where outcome = 'lost'"
TASKS = "select count(*)::integer from leaseq.tasks"
FAILED = "select count(*)::integer from leaseq.tasks where state = 'FAILED'"


@pytest.fixture
def config(config: Config) -> Config:
    return replace(
        config,
        api_port=free_port(),
        api_processes=2,
        concurrency=10,
        dispatch_window=100,
        lease_seconds=4.0,
        heartbeat_seconds=1.0,
    )


class Prometheus:
    """A server, asked over HTTP."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self.began = time()

    async def value(self, query: str) -> float:
        """The sum of all series that a query finds now."""
        return sum(float(each["value"][1]) for each in await self._ask("query", query=query))

    async def has_data(self, query: str) -> bool:
        """Whether a query finds a number at any time of the run."""
        found = await self._ask(
            "query_range", query=query, start=self.began, end=time(), step=STEP_SECONDS
        )
        return any(value != "NaN" for series in found for _, value in series["values"])

    async def is_ready(self) -> bool:
        try:
            return (await self._http.get("/-/ready")).status_code == 200
        except httpx.TransportError:
            return False

    async def _ask(self, path: str, **params: Any) -> list[dict[str, Any]]:
        answer = (await self._http.get(f"/api/v1/{path}", params=params)).json()
        assert answer["status"] == "success", answer
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found


@asynccontextmanager
async def prometheus(directory: Path, targets: dict[str, list[int]]) -> AsyncIterator[Prometheus]:
    """A server that scrapes these ports of this machine."""
    assert PROGRAM is not None
    settings = {
        "global": {"scrape_interval": f"{SCRAPE_SECONDS:.0f}s"},
        "scrape_configs": [
            {
                "job_name": name,
                "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}],
            }
            for name, ports in targets.items()
        ],
    }
    (directory / "prometheus.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
            server = Prometheus(http)
            await until(server.is_ready)
            yield server
    finally:
        process.terminate()
        await process.wait()


class Load:
    """Submits over HTTP until it is stopped."""

    def __init__(self, config: Config) -> None:
        self.base = f"http://127.0.0.1:{config.api_port}"
        self.accepted: list[float] = []  # when
        self.unknown = 0  # submissions whose answer was lost
        self.over = asyncio.Event()

    async def run(self) -> None:
        """A mixture: tasks that succeed, fail once, fail finally or are due later, and refusals."""
        chance = random.Random(15)
        plain: dict[str, Any] = {}
        while not self.over.is_set():
            kind, payload, more = chance.choice(
                [
                    ("nap", {"seconds": 0.02}, plain),
                    ("nap", {"seconds": 0.3}, plain),
                    ("flaky", {"failures": 1}, plain),
                    ("refuse", {"reason": "no"}, plain),
                    ("nap", {"seconds": 0}, {"delay_seconds": 1}),
                    ("nap", {"seconds": 0}, {"priority": "nonsense"}),
                ]
            )
            await self._post("/api/tasks", {"type": kind, "payload": payload, **more})

    async def burst(self) -> None:
        """Fill the lane of a queue, so that it has a backlog."""
        item = {"type": "nap", "queue": "burst", "payload": {"seconds": 0.1}}
        await self._post("/api/tasks/batch", [item] * 400, count=400)

    async def _post(self, path: str, body: Any, *, count: int = 1) -> None:
        try:
            async with httpx.AsyncClient(base_url=self.base, timeout=PATIENCE) as http:
                answer = await http.post(path, json=body)
        except httpx.TransportError:
            self.unknown += count
            return
        if answer.status_code in (200, 202):
            self.accepted += [monotonic()] * count


class Kills:
    """The processes that were killed, and when."""

    def __init__(self) -> None:
        self.workers: list[int] = []
        self.api_at = 0.0

    async def run(self, api: Service, workers: list[Service]) -> None:
        """Kill a worker process now and then, and once an API process."""
        chance = random.Random(4)
        while True:
            await asyncio.sleep(KILL_SECONDS)
            if not self.api_at:
                send(api.heard("api.started")[0]["pid"], signal.SIGKILL)
                self.api_at = monotonic()
                await api.hear("api.started", count=3)
            worker = chance.choice(workers)
            victim = chance.choice(worker.children)
            send(victim, signal.SIGKILL)
            await worker.hear("child.died", pid_of_child=victim)
            self.workers.append(victim)

    def unreported(self, workers: list[Service], pace: Pace) -> int:
        """The attempts that killed worker processes may have ended and not reported."""
        return sum(len(list(_last_endings(worker, self.workers, pace))) for worker in workers)


def _last_endings(worker: Service, killed: list[int], pace: Pace) -> Iterator[Said]:
    for pid in killed:
        settled = worker.heard("attempt.settled", pid=pid)
        for line in settled:
            if _at(settled[-1]) - _at(line) < UNREPORTED_SECONDS * pace.slowness:
                yield line


def _at(line: Said) -> float:
    return datetime.fromisoformat(line["timestamp"]).timestamp()


@pytest.mark.timeout(SECONDS + 600)
@pytest.mark.slow("a Prometheus scrapes a run of a minute, with a kill every few seconds")
@pytest.mark.skipif(PROGRAM is None, reason="there is no prometheus: install Debian's package")
async def test_the_counters_of_a_real_run_are_those_of_the_ledger(
    services: Services, client: Client, config: Config, pace: Pace, tmp_path: Path
) -> None:
    api = await services.start("api", LEASEQ_LOG_LEVEL="info")
    await api.hear("api.started", count=2)
    reaper = await services.reaper(LEASEQ_METRICS_PORT="0")
    workers = [
        await services.worker("--queues", QUEUES, children=2, LEASEQ_METRICS_PORT="0")
        for _ in range(2)
    ]
    targets = {
        "api": [config.api_port],
        "reaper": [await metrics_port(reaper)],
        "worker": [await metrics_port(worker) for worker in workers],
    }
    load, kills = Load(config), Kills()
    await client.engine.pause("paused", paused=True)
    async with prometheus(tmp_path, targets) as server:
        await asyncio.sleep(2 * SCRAPE_SECONDS)  # counters begin at 0
        killing = asyncio.create_task(kills.run(api, workers))
        loads = [asyncio.create_task(load.run()) for _ in range(4)]
        ends = monotonic() + SECONDS
        while monotonic() < ends:
            await load.burst()
            await asyncio.sleep(min(10.0, SECONDS / 4))
        killing.cancel()
        load.over.set()
        await asyncio.gather(*loads)
        await until(lambda: _all_ended(client))
        # The last counts are reported, scraped and flushed.
        await asyncio.sleep(3 * SCRAPE_SECONDS + 1.2 * FLUSH_SECONDS)
        found = await compare(server, client, load, kills, workers, pace)
        empty = await empty_queries(server)
    print(json.dumps(found, indent=2))
    print("queries without data:", *empty, sep="\n  ")
    for _, low, counted, high in found.values():
        assert low <= counted <= high, found
    excused = NOTHING if SECONDS >= LONG_SECONDS else NOTHING | RARE
    assert not [query for query in empty if not any(name in query for name in excused)]


async def _all_ended(client: Client) -> bool:
    query = "select count(*) from leaseq.tasks where finished_at is null"
    return await client.rows(query) == [(0,)]


async def compare(
    server: Prometheus,
    client: Client,
    load: Load,
    kills: Kills,
    workers: list[Service],
    pace: Pace,
) -> dict[str, tuple[float, float, float, float]]:
    """By name: the count of the ledger, the least that may be counted, the count of Prometheus or of
    the statistics, and the most."""
    counts = [(await client.rows(query))[0][0] for query in (ATTEMPTS, LOST, TASKS, FAILED)]
    attempts, lost, tasks, failed = counts
    missing = kills.unreported(workers, pace)
    died = len(kills.workers)
    async with httpx.AsyncClient(base_url=load.base) as http:
        total = (await http.get("/api/stats?window=24h")).json()["total"]

    def within(ledger: int, counted: float, missed: int = 0) -> tuple[float, float, float, float]:
        return ledger, ledger - missed, counted, ledger

    def before_kill(seconds: float) -> int:
        return load.unknown + sum(0 <= kills.api_at - at < seconds for at in load.accepted)

    async def value(query: str) -> float:
        return await server.value(f"sum({query})")

    submitted = await value('leaseq_submissions_total{result="created"}')
    ended = total["ended"].values()
    fell = await value("resets(leaseq_attempts_total[1h])")
    fell += await value("resets(leaseq_submissions_total[1h])")
    return {
        "attempts": within(attempts, await value("leaseq_attempts_total"), missing),
        "lost attempts": within(lost, await value('leaseq_attempts_total{outcome="lost"}')),
        "submissions": within(tasks, submitted, before_kill(UNREPORTED_SECONDS)),
        "failed tasks": within(
            failed, await value('leaseq_tasks_ended_total{state="FAILED"}'), missing
        ),
        "attempts in the statistics": within(attempts, sum(ended), missing),
        "submissions in the statistics": within(
            tasks, total["submitted"], before_kill(1.2 * FLUSH_SECONDS)
        ),
        "counters that fell": within(0, fell),
        "dead processes": within(died, await value('leaseq_child_exits_total{reason="died"}')),
    }


async def empty_queries(server: Prometheus) -> list[str]:
    """The queries of the dashboard that found no number in the run."""
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "leaseq.json").read_text("utf-8"))
    empty: list[str] = []
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            query = target["expr"]
            for variable, text in (
                ("$__rate_interval", RATE_INTERVAL),
                ("$queue", ".*"),
                ("$type", ".*"),
            ):
                query = query.replace(variable, text)
            if not await server.has_data(query):
                empty.append(f"{panel['title']}: {query}")
    return empty
