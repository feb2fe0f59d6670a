"""The pages about processes and the tasks that they run, in a browser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import pytest

from leaseq.config import Config
from leaseq.ledger.session import Connection
from leaseq.ledger.workers import WorkerLedger
from leaseq_api.http_server.exchange import Application
from support.api import Api
from support.browser import browsing
from support.ledger import open_worker
from support.raw_http import serving
from support.running import occupied

HOSTILE = '"><img src=x onerror=document.title=1>{{7*7}}'
LOOKS = [(width, theme) for width in (1280, 360) for theme in ("light", "dark")]


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """The folder of the screenshots."""
    folder = Path(os.environ.get("LEASEQ_TEST_SHOTS") or tmp_path / "shots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


async def _fill(api: Api, workers: WorkerLedger, plain: Connection) -> None:
    """Workers of several queues, one of them silent, and services of each role."""
    for queues in (("billing", "default"), ("billing", "default"), ("reports",)):
        await open_worker(workers, *queues)
    for queue in ("billing", "default", "reports", "mail"):
        await api.submitted({"type": "send", "payload": 1, "queue": queue})
    services = api.service.engine.stores.services
    process = (HOSTILE, 1, "0.1.0")
    detail = {"queues": ["billing", "default"], "slots": 16}
    await services.announce("s", "supervisor", process=process, beat_seconds=10.0, detail=detail)
    await services.announce(
        "r", "reaper", process=process, beat_seconds=10.0, detail={"failing": [HOSTILE]}
    )
    await plain.execute(
        "update leaseq.workers set last_seen = now() - interval '40 s' where queues = '{reports}'"
    )
    await plain.execute(
        "update leaseq.tasks set started_at = started_at - interval '17 s' where state = 'PROCESSING'"
    )


async def test_the_fleet_is_shown_in_every_theme_and_width(
    config: Config,
    api: Api,
    worker_ledger: WorkerLedger,
    plain: Connection,
    shots: Path,
    tmp_path: Path,
) -> None:
    api.service.usual_runs._last = {("default", "hold"): 1.2}
    api.service.usual_runs._read_at = float("inf")
    async with occupied(config, api, count=3, progress={"note": HOSTILE}) as task_ids:
        await _fill(api, worker_ledger, plain)
        workers = (await api.get("/api/workers"))["workers"]
        busy = next(each["worker_id"] for each in workers if each["held_count"])
        pages = {"running": "running", "workers": "workers", "worker": f"workers/{busy}"}
        async with (
            serving(cast(Application, api.app)) as served,
            browsing(tmp_path / "profile") as tab,
        ):
            origin = f"http://127.0.0.1:{served.port}"
            for width, theme in LOOKS:
                await tab.look(width=width, theme=theme)
                for name, path in pages.items():
                    await tab.visit(f"{origin}/ui/{path}")
                    await tab.until("!document.querySelector('.script[hidden]')")
                    await tab.screenshot(shots / f"{name}-{theme}-{width}-full.png")
                    assert await tab.run("window.violations") == [], path
                    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
                    assert await tab.run(wide) == 0, (path, width)
                    assert await tab.run("document.querySelectorAll('main img').length") == 0
            await tab.visit(f"{origin}/ui/workers")
            assert HOSTILE in await tab.text("#services")
            assert "No worker serves mail" in await tab.text("#coverage")
            await tab.visit(f"{origin}/ui/running")
            first = await tab.text(f"#task-{task_ids[0]}")
            assert "onerror" in first
            assert "1 s, now " in first.replace("\N{NARROW NO-BREAK SPACE}", " ")
            assert tab.errors == []
