"""The pages about failures, without a script and in a browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from leaseq.model import State
from support.api import Api
from support.dashboard import HOSTILE, shown
from support.failures import GONE, Shop, count

EXCESS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
PATH = f"/ui/failures/add/{GONE.fingerprint}"


@pytest.fixture
async def failing(api: Api) -> Api:
    """An application in which two causes have occurred."""
    stores = api.service.engine.stores
    shop = Shop(stores.tasks, stores.workers)
    worker = await shop.worker(host=HOSTILE, app_version="1.4.2")
    hostile = replace(GONE, message=HOSTILE, type=HOSTILE, frame=HOSTILE, traceback=HOSTILE)
    await shop.fail(hostile, worker=worker, times=3, then=State.FAILED)
    await shop.fail(replace(GONE, fingerprint="f" * 12), type="mail")
    await count(stores.failures)
    return api


async def test_causes_are_listed_and_filtered(failing: Api) -> None:
    text = (await failing.client.get("/ui/failures")).text
    assert text.count('<tr id="failure-') == 2
    assert "only 1.4.2, since" in text
    assert "<svg" in text
    assert "<img src=x" not in text
    filtered = (await failing.client.get("/ui/failures?type=mail&queue=&state=")).text
    assert filtered.count('<tr id="failure-') == 1
    part = (await failing.client.get("/ui/failures?part=failures&limit=1")).text
    assert part.startswith("<section")
    assert "Older ones" in part


async def test_one_cause_is_acknowledged_once_by_its_form(failing: Api) -> None:
    text = (await failing.client.get(PATH)).text
    assert "Only in 1.4.2" in text
    found = re.search(r'name="operation_id" value="([^"]+)"', text)
    assert found is not None
    for _ in range(2):
        answer = await failing.client.post(
            f"{PATH}/acknowledge",
            data={"operation_id": found[1]},
            headers={"Origin": "http://localhost"},
        )
        assert answer.status_code == 303, answer.text
    shown_then = (await failing.client.get(answer.headers["location"])).text
    assert "until it occurs in a new version" in shown_then
    assert "Acknowledge</button>" not in shown_then
    undo = re.search(r'action="([^"]+/unacknowledge)">\s*<input[^>]+value="([^"]+)"', shown_then)
    assert undo is not None
    for _ in range(2):
        taken_back = await failing.client.post(undo[1], data={"operation_id": undo[2]})
        assert taken_back.headers["location"] == PATH
    assert "Acknowledge</button>" in (await failing.client.get(PATH)).text
    rows = (await failing.get("/api/operations"))["operations"]
    assert [row["action"] for row in rows] == ["unacknowledge", "acknowledge"]
    assert (await failing.client.get("/ui/failures/add/0123")).status_code == 404


async def test_pages_of_failures_keep_their_policy(failing: Api, tmp_path: Path) -> None:
    async with shown(failing, tmp_path / "profile") as (tab, origin):
        for width in (1280, 360):
            await tab.look(width=width, theme="light")
            for path in ("/ui/failures", PATH):
                await tab.visit(origin + path)
                assert await tab.run("window.violations") == []
                assert await tab.run(EXCESS) == 0, f"{path} {width}"
