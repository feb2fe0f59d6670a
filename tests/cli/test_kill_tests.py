"""The kill tests under a real `leaseq dev` with embedded servers."""

from __future__ import annotations

import re
import signal
import stat
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from msgspec.structs import replace

from leaseq_chaos.pace import Pace
from support.dev_command import Dev, Starter, children, is_stopped
from support.processes import send

VERDICT = re.compile(
    r'<p class="lead"><span class="badge[^>]*>.*?</span>([a-z ]+)</span>', re.DOTALL
)
CHECK = re.compile(
    r'<tr id="check-\d+"><th[^>]*>(.*?)</th><td[^>]*>(.*?)</td><td[^>]*>(.*?)</td>\s*<td[^>]*>.*?</span>([a-z ]+)</span>',
    re.DOTALL,
)
LEASE = 2.0
SECONDS = re.compile(r"after ([\d.]+) s")


class Page:
    """The page of one kill test, as it is now."""

    def __init__(self, text: str) -> None:
        self.text = text
        found = VERDICT.search(text)
        self.verdict = found[1] if found else "no verdict"
        self.checks: list[tuple[str, ...]] = CHECK.findall(text)

    def is_kept(self, slowness: float) -> bool:
        """Whether the promise was kept, as far as a slow machine can keep it: each bound in seconds
        counts `slowness` times."""
        return bool(self.checks) and all(
            kept == "kept" or _is_late_only(promised, found, slowness)
            for _, promised, found, kept in self.checks
        )


def _is_late_only(promised: str, found: str, slowness: float) -> bool:
    bound = re.fullmatch(r"within ([\d.]+) s", promised)
    taken = SECONDS.fullmatch(found)
    return bool(bound and taken) and float(taken[1]) <= float(bound[1]) * slowness  # type: ignore[index]


class Breaker:
    """A client of the dashboard of a `leaseq dev`."""

    def __init__(self, dev: Dev, http: httpx.AsyncClient, eventually: Callable[..., Any]) -> None:
        self.dev = dev
        self.http = http
        self._eventually = eventually

    async def running(self, count: int = 2, seconds: float = 60) -> list[str]:
        """The ids of new tasks, once all of them run."""
        ids = []
        for _ in range(count):
            body = {"type": "nap", "payload": {"seconds": seconds}}
            ids.append((await self.http.post("/api/tasks", json=body)).json()["task_id"])
        for task_id in ids:
            await self._eventually(partial(self._runs, task_id))
        return ids

    async def _runs(self, task_id: str) -> bool:
        answer = await self.http.get(f"/api/tasks/{task_id}")
        return bool(answer.json()["state"] == "PROCESSING")

    async def start(self, kind: str, **fields: str) -> str:
        """Start a test; returns the address of its page."""
        form = {"operation_id": str(uuid4()), "kind": kind} | fields
        for _ in range(2):  # the same form twice is one test
            answer = await self.http.post("/ui/dev", data=form)
            assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    async def finished(self, where: str) -> Page:
        """The page of a test once it has a verdict."""
        page: Page = await self._eventually(partial(self._judged, where), every=0.1)
        return page

    async def _judged(self, where: str) -> Page | None:
        page = Page((await self.http.get(where)).text)
        unknown = [check for check in page.checks if check[3] == "not finished"]
        return None if unknown or page.verdict in ("not finished", "no verdict") else page


@pytest.fixture
async def breaker(
    starter: Starter, data_dir: Path, eventually: Callable[..., Any]
) -> AsyncIterator[Breaker]:
    """A `leaseq dev` on embedded servers, with a short lease."""
    starter.config = replace(
        starter.config,
        postgres_url=None,
        handler_postgres_url=None,
        redis_url=None,
        data_dir=data_dir,
        lease_seconds=LEASE,
        heartbeat_seconds=0.4,
        grace_seconds=0.5,
    )
    dev = await starter.dev("--no-reload")
    await dev.say("worker.opened")
    await dev.say("reaper.started")
    await dev.say("ready: ")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{dev.port}", timeout=60) as http:
        yield Breaker(dev, http, eventually)


def modes_of(data_dir: Path) -> list[int]:
    """The permissions of the sockets."""
    return [stat.S_IMODE(path.stat().st_mode) for path in data_dir.glob("dev-*.sock")]


@pytest.mark.slow("kills, freezes and restarts all parts of a `leaseq dev` in turn")
async def test_each_kill_test_keeps_its_promise(
    breaker: Breaker, data_dir: Path, pace: Pace
) -> None:
    assert modes_of(data_dir) == [0o600]
    assert "Kill tests" in (await breaker.http.get("/ui")).text

    (first, _) = await breaker.running()
    killed = await breaker.finished(await breaker.start("kill-worker", task_id=first))
    assert killed.is_kept(pace.slowness), killed.checks
    await breaker.dev.say("worker.opened", count=2)

    (task_id,) = await breaker.running(1)
    frozen = await breaker.finished(await breaker.start("freeze-worker", task_id=task_id))
    assert frozen.is_kept(pace.slowness), frozen.checks

    await breaker.dev.say("worker.opened", count=3)
    await breaker.running(1)
    for kind in ("flush-redis", "stop-redis", "restart-postgres"):
        page = await breaker.finished(await breaker.start(kind))
        assert page.verdict == "kept", (kind, page.checks)
    assert (await breaker.http.get("/ui/dev")).text.count('<li><a href="/ui/dev/') == 5
    breaker.dev.process.send_signal(signal.SIGTERM)
    assert await breaker.dev.ended() == 0
    assert modes_of(data_dir) == []
    await breaker.dev.all_gone()


@pytest.mark.slow("kills a `leaseq dev` while its worker is stopped")
async def test_a_frozen_worker_goes_on_when_its_parent_is_killed(
    breaker: Breaker, eventually: Callable[..., Any]
) -> None:
    (task_id,) = await breaker.running(1)
    worker = breaker.dev.part("worker")
    pids = [worker, *children(worker)]
    await breaker.start("freeze-worker", task_id=task_id)

    async def frozen() -> bool:
        return all(map(is_stopped, pids))

    await eventually(frozen)
    send(breaker.dev.part("api"), signal.SIGKILL)
    breaker.dev.process.send_signal(signal.SIGKILL)
    breaker.dev.pids |= set(pids)
    # Each of them sees the end of its input once it runs again.
    await breaker.dev.all_gone()
