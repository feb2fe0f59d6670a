"""The pages of tasks in a browser, in both themes and two widths."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import pytest

from leaseq_api.http_server.exchange import Application
from support.api import Api
from support.browser import browsing
from support.raw_http import serving

WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """The folder of the screenshots."""
    folder = Path(os.environ.get("LEASEQ_TEST_SHOTS") or tmp_path / "shots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


async def test_every_page_of_a_task_keeps_to_its_policy_and_its_width(
    api: Api, failed: str, shots: Path, tmp_path: Path
) -> None:
    pages = {
        "tasks": "/ui/tasks",
        "task": f"/ui/tasks/{failed}",
        "task-redrive": f"/ui/tasks/{failed}/redrive?seen=FAILED/4",
        "task-replay": f"/ui/tasks/{failed}/replay",
        "task-compare": f"/ui/tasks/{failed}/compare?a=2&b=4",
    }
    async with (
        serving(cast(Application, api.app)) as served,
        browsing(tmp_path / "profile") as tab,
    ):
        origin = f"http://127.0.0.1:{served.port}"
        for theme in ("light", "dark"):
            for width in (1280, 360):
                await tab.look(width=width, theme=theme)
                for name, path in pages.items():
                    await tab.visit(origin + path)
                    await tab.screenshot(shots / f"{name}-{theme}-{width}.png")
                    assert await tab.run("window.violations") == [], path
                    assert await tab.run(WIDE) == 0, (path, width)
                    assert await tab.run("document.querySelectorAll('main img').length") == 0
        assert tab.errors == []


async def test_enter_on_the_question_changes_nothing_and_a_double_click_acts_once(
    api: Api, failed: str, tmp_path: Path
) -> None:
    async with (
        serving(cast(Application, api.app)) as served,
        browsing(tmp_path) as tab,
    ):
        origin = f"http://127.0.0.1:{served.port}"
        await tab.visit(f"{origin}/ui/tasks/{failed}/redrive?seen=FAILED/4")
        assert await tab.run("document.activeElement.id") == "do-not"
        assert await tab.run("document.querySelectorAll('[data-live]').length") == 1, (
            "nothing but the health of the frame is live"
        )
        await tab.run("const b = document.querySelector('button.danger'); b.click(); b.click()")
        await tab.until(f"location.pathname === '/ui/tasks/{failed}'")
    operations = (await api.get(f"/api/operations?target={failed}"))["operations"]
    assert [each["outcome"] for each in operations] == ["done"]
