"""Every page in a browser, in both themes and two widths.

With LEASEQ_TEST_SHOTS the screenshots are kept in that folder (`make ui SHOTS=FOLDER`).
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from leaseq_api.ui.menu import MENU
from support.api import Api
from support.dashboard import HOSTILE, shown

WIDTHS = (1280, 360)
THEMES = ("light", "dark")
# By the name of the screenshot. Pages of the menu, and others.
PAGES = {entry.word.lower().replace(" ", "-"): entry.path for entry in MENU} | {
    "queue": "/ui/queues/mail",
    "new-operation": "/ui/operations/new?action=cancel&queue=mail",
    "paused-queue": "/ui/queues/default?done=paused",
    "not-found": "/ui/queues/none",
    "submit": "/ui/submit",
}
AXE = (Path(__file__).parents[1] / "axe" / "axe.min.js").read_text(encoding="utf-8")
# Each violation: the rule, and the first element that breaks it.
EXCESS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# Each theme and each width once: it takes most of the time of the test.
AXED = {("light", 1280), ("dark", 360)}
RUN_AXE = """axe.run().then((found) => found.violations.map(
  (each) => `${each.id}: ${each.nodes[0].html} ${each.nodes[0].failureSummary}`))"""


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
                for name, path in PAGES.items():
                    await tab.visit(origin + path)
                    await tab.until("!document.querySelector('.script[hidden]:not(#live)')")
                    await tab.screenshot(shots / f"{name}-{theme}-{width}.png")
                    where = f"{path} {theme} {width}"
                    assert await tab.run("window.violations") == [], where
                    assert await tab.run(EXCESS) == 0, where
                    if (theme, width) in AXED:
                        await tab.run(AXE)
                        assert await tab.run(RUN_AXE) == [], where
        wrong = [each for each in tab.errors if "404" not in each]
        assert wrong == []
        sent = {urlsplit(each["url"]) for each in tab.requests}
        assert {f"{url.scheme}://{url.netloc}" for url in sent if url.scheme != "data"} == {origin}


async def test_a_page_shows_hostile_text_as_text(filled: Api, tmp_path: Path) -> None:
    async with shown(filled, tmp_path) as (tab, origin):
        await tab.visit(f"{origin}/ui/queues")
        assert HOSTILE in await tab.text("#queue-default")
        assert await tab.run("document.querySelectorAll('main img').length") == 0
