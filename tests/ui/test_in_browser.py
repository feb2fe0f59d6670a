"""Every page in a browser, in both themes and two widths.

The pages are those of the menu, some with a query, and every other route of the dashboard, so that a
new page is among them. With LEASEQ_TEST_SHOTS the screenshots are kept in that folder, of each theme
in each width (`make ui SHOTS=FOLDER`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from msgspec import Struct
from msgspec.structs import replace

from leaseq.cli.dev.kill_tests import KillTests
from leaseq.ledger.task_types import TaskType, TypeLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import State
from leaseq.operations.kill_tests.protocol import KillTest, TaskBefore
from leaseq.payloads.shapes import shape_of
from leaseq_api.ui.menu import MENU
from support.api import Api
from support.browser import Tab
from support.bulk import body_of, started
from support.dashboard import HOSTILE, fill, fill_rules, shown
from support.failures import GONE, Shop, count

LOOKS = [(theme, width) for theme in ("light", "dark") for width in (1280, 360)]
# Each theme and each width once: axe takes most of the time of the test.
AXED = [("light", 1280), ("dark", 360)]
# By the name of the screenshot.
PAGES = {entry.word.lower().replace(" ", "-"): entry.path for entry in MENU} | {
    "queue": "/ui/queues/mail",
    "new-operation": "/ui/operations/new?action=cancel&queue=mail",
    "paused-queue": "/ui/queues/default?done=paused",
    "not-found": "/ui/queues/none",
    "submit": "/ui/submit",
}
# Addresses that are no page of their own: streams, files, and those that lead to another one. Without
# a key to ask for, /ui/login leads away as well.
NO_PAGES = (
    "/ui/live",
    "/ui/goto",
    "/ui/login",
    "/ui/{rest:path}",
    "/ui/static/",
    "/ui/tasks/{task_id:str}/download/",
)
QUERIES = {"/ui/tasks/{task_id:str}/compare": "?a=2&b=4"}
PARAMETER = re.compile(r"\{(\w+):\w+\}")
AXE = (Path(__file__).parents[1] / "axe" / "axe.min.js").read_text(encoding="utf-8")
EXCESS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# Each violation: the rule, and the first element that breaks it.
RUN_AXE = """axe.run().then((found) => found.violations.map(
  (each) => `${each.id}: ${each.nodes[0].html} ${each.nodes[0].failureSummary}`))"""
DRAWN = "!document.querySelector('.script[hidden]:not(#live)')"


class Bill(Struct):
    """A payload with a field of each of the common kinds."""

    cents: int
    to: str
    note: str | None = None
    urgent: bool = False


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """The folder of the screenshots."""
    folder = Path(os.environ.get("LEASEQ_TEST_SHOTS") or tmp_path / "shots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
async def values(
    breakable: Api,
    kill_tests: KillTests,
    failed: str,
    worker: str,
    worker_ledger: WorkerLedger,
    type_ledger: TypeLedger,
) -> dict[str, str]:
    """A row for each page, and what stands for it in addresses."""
    stores = breakable.service.engine.stores
    shop = Shop(stores.tasks, stores.workers)
    await shop.fail(GONE, worker=await shop.worker(app_version="1.4.2"), times=3, then=State.FAILED)
    await count(stores.failures)
    await type_ledger.register_types([TaskType("bill", "billing", shape_of(Bill))])
    await breakable.service.types.refresh()
    operation = await started(breakable, body_of("redrive", type="add"))
    at = (await breakable.service.overview.whole()).at
    before = [TaskBefore(task_id=failed, attempt=1, running=True)]
    test = KillTest(test_id="t", kind="kill-worker", task_id=failed, tasks=before)
    kill_tests._keep(replace(test, began_at=at, ended_at=at))
    await fill(breakable, worker_ledger)
    await fill_rules(breakable)
    breakable.service.overview.forget()
    return {
        "task_id": failed,
        "worker_id": worker,
        "queue": "mail",
        "type": "bill",
        "type_name": "add",
        "fingerprint": GONE.fingerprint,
        "operation_id": operation["operation_id"],
        "test_id": "t",
        "schedule": "daily",
        "name": "stripe",
    }


def other_pages(api: Api, values: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The routes of the dashboard that are pages, with values for their parameters. A new parameter
    needs a value here."""
    for route in api.app.routes:
        path = route.path
        if not path.startswith("/ui/") or path.startswith(NO_PAGES) or path in PAGES.values():
            continue
        if "GET" in getattr(route, "methods", ()):
            name = PARAMETER.sub(r"\1", path.removeprefix("/ui/")).replace("/", "-")
            yield name, PARAMETER.sub(lambda found: values[found[1]], path) + QUERIES.get(path, "")


async def complaints(tab: Tab, where: str) -> list[str]:
    """Offences of the page that is shown against the policy, the width and the rules of access."""
    found = [f"policy: {each}" for each in await tab.run("window.violations")]
    if excess := await tab.run(EXCESS):
        found.append(f"{excess} pixels too wide")
    await tab.run(AXE)
    return [f"{where}: {each}" for each in found + await tab.run(RUN_AXE)]


async def test_every_page_keeps_to_its_policy_its_width_and_the_rules_of_access(
    breakable: Api, values: dict[str, str], shots: Path, tmp_path: Path
) -> None:
    others = dict(other_pages(breakable, values))
    assert {"dev", "dev-test_id", "types-type", "workers-worker_id"} <= others.keys()
    for path in others.values():
        assert (await breakable.client.get(path)).status_code == 200, path
    found: list[str] = []
    async with shown(breakable, tmp_path / "profile") as (tab, origin):
        kept = bool(os.environ.get("LEASEQ_TEST_SHOTS"))
        for theme, width in LOOKS if kept else AXED:
            await tab.look(width=width, theme=theme)
            for name, path in (PAGES | others).items():
                await tab.visit(origin + path)
                await tab.until(DRAWN)
                if kept:
                    await tab.screenshot(shots / f"{name}-{theme}-{width}.png")
                found += await complaints(tab, f"{path} {theme} {width}")
        assert found == []
        wrong = [each for each in tab.errors if "404" not in each]
        assert wrong == []
        sent = {urlsplit(each["url"]) for each in tab.requests}
        assert {f"{url.scheme}://{url.netloc}" for url in sent if url.scheme != "data"} == {origin}


async def test_the_page_that_asks_for_a_key_keeps_to_them(
    guarded: Api, shots: Path, tmp_path: Path
) -> None:
    async with shown(guarded, tmp_path / "profile") as (tab, origin):
        for theme, width in AXED:
            await tab.look(width=width, theme=theme)
            await tab.visit(f"{origin}/ui/queues")
            assert await tab.run("location.pathname") == "/ui/login"
            await tab.screenshot(shots / f"login-{theme}-{width}.png")
            assert await complaints(tab, f"login {theme} {width}") == []


async def test_a_page_shows_hostile_text_as_text(filled: Api, tmp_path: Path) -> None:
    async with shown(filled, tmp_path) as (tab, origin):
        await tab.visit(f"{origin}/ui/queues")
        assert HOSTILE in await tab.text("#queue-default")
        assert await tab.run("document.querySelectorAll('main img').length") == 0
