"""Every page in a browser, in both themes and two widths.

With LEASEQ_TEST_SHOTS the screenshots are kept in that folder (`make ui SHOTS=FOLDER`).
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import pytest

from leaseq.ledger.workers import WorkerLedger
from leaseq_api.http_server.exchange import Application
from leaseq_api.ui.menu import MENU
from support.api import Api
from support.browser import Tab, browsing
from support.ledger import open_worker
from support.raw_http import serving

HOSTILE = '"><img src=x onerror=document.title=1>{{7*7}}'
WIDTHS = (1280, 360)
THEMES = ("light", "dark")


@pytest.fixture
async def filled(api: Api, worker_ledger: WorkerLedger) -> Api:
    """An application with a few queues, one of them in trouble."""
    await open_worker(worker_ledger, "billing", "default")
    for queue, count in (("billing", 12), ("mail", 40), ("default", 3)):
        for number in range(count):
            await api.submitted({"type": "charge", "payload": {"n": number}, "queue": queue})
    body = {"reason": HOSTILE}
    await api.client.post("/api/queues/default/pause", json=body)
    await api.service.engine.pusher.aclose()
    return api


@asynccontextmanager
async def shown(api: Api, profile: Path) -> AsyncIterator[tuple[Tab, str]]:
    """A tab, and the address of the application."""
    async with serving(cast(Application, api.app)) as served, browsing(profile) as tab:
        yield tab, f"http://127.0.0.1:{served.port}"


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """The folder of the screenshots."""
    folder = Path(os.environ.get("LEASEQ_TEST_SHOTS") or tmp_path / "shots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


async def test_every_page_keeps_to_its_policy_and_its_width(
    filled: Api, shots: Path, tmp_path: Path
) -> None:
    async with shown(filled, tmp_path / "profile") as (tab, origin):
        for theme in THEMES:
            for width in WIDTHS:
                await tab.look(width=width, theme=theme)
                for entry in MENU:
                    await tab.visit(origin + entry.path)
                    await tab.until("!document.querySelector('.script[hidden]')")
                    name = entry.word.lower().replace(" ", "-")
                    await tab.screenshot(shots / f"{name}-{theme}-{width}.png")
                    assert await tab.run("window.violations") == [], entry.path
                    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
                    assert await tab.run(wide) == 0, (entry.path, width)
                    assert await tab.run("document.title") != "1"
        assert tab.errors == []
        sent = {urlsplit(each["url"]) for each in tab.requests if ":" in each["url"][:6]}
        assert {f"{url.scheme}://{url.netloc}" for url in sent if url.scheme != "data"} == {origin}


async def test_a_page_shows_hostile_text_as_text(filled: Api, tmp_path: Path) -> None:
    async with shown(filled, tmp_path) as (tab, origin):
        await tab.visit(f"{origin}/ui/queues")
        assert HOSTILE in await tab.text("#queue-default")
        assert await tab.run("document.querySelectorAll('main img').length") == 0


async def test_a_change_is_shown_without_a_reload(filled: Api, tmp_path: Path) -> None:
    async with shown(filled, tmp_path) as (tab, origin):
        await tab.visit(f"{origin}/ui/queues")
        await tab.run("window.untouched = true; document.querySelector('#queue-mail a').focus()")
        await filled.submitted({"type": "charge", "payload": {"n": 1}, "queue": "new-one"})
        await tab.until("document.querySelector('#queue-new-one')")
        assert await tab.run("window.untouched")
        assert await tab.run("document.activeElement.textContent") == "mail"
