"""The pages of the kill tests, without a script, and their absence."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from html import escape
from typing import Any
from uuid import uuid4

import httpx
from msgspec.structs import replace

from leaseq.cli.dev.kill_tests import KillTests
from leaseq.config import Config
from leaseq.ledger.tasks import TaskLedger
from leaseq.operations.kill_tests.protocol import KillTest, TaskBefore
from leaseq_api.ui.pages.kill_tests import PROMISES
from support.api import Api, open_api
from support.ledger import claim_task, lost
from support.running import occupied


async def start(api: Api, kind: str, **fields: str) -> httpx.Response:
    form = {"operation_id": str(uuid4()), "kind": kind} | fields
    return await api.client.post("/ui/dev", data=form)


async def test_kill_tests_are_absent_outside_dev(api: Api) -> None:
    for path in ("/ui/dev", f"/ui/dev/{uuid4()}"):
        assert (await api.client.get(path)).status_code == 404
    assert (await start(api, "flush-redis")).status_code in (404, 405)
    assert "/ui/dev" not in (await api.client.get("/ui")).text


async def test_each_test_names_its_promise_before_it_is_started(
    config: Config, breakable: Api
) -> None:
    async with occupied(config, breakable) as (task_id,):
        text = (await breakable.client.get("/ui/dev")).text
        for promise in PROMISES.values():
            assert escape(promise.promise) in text
            assert f">{promise.button}</button>" in text
        assert f'<option value="{task_id}">' in text
        assert 'href="/ui/dev" data-key="k" aria-current="page"' in text


async def test_a_worker_of_another_leaseq_is_not_killed(
    config: Config, breakable: Api, eventually: Callable[..., Any]
) -> None:
    async with occupied(config, breakable) as (task_id,):
        answer = await start(breakable, "kill-worker", task_id=task_id)
        assert answer.status_code == 303
        where = answer.headers["location"]

        async def told() -> bool:
            return "not carried out" in (await breakable.client.get(where)).text

        await eventually(told)
        assert (await breakable.get(f"/api/tasks/{task_id}"))["state"] == "PROCESSING"


async def test_what_cannot_be_tested_is_refused(breakable: Api) -> None:
    waiting = await breakable.submitted()
    assert (await start(breakable, "kill-worker", task_id=waiting)).status_code == 409
    assert (await start(breakable, "kill-worker")).status_code == 409
    assert (await start(breakable, "reboot")).status_code == 400
    assert (await breakable.client.get(f"/ui/dev/{uuid4()}")).status_code == 404


async def test_the_page_compares_the_promise_with_the_ledger(
    breakable: Api, kill_tests: KillTests, ledger: TaskLedger, worker: str
) -> None:
    task_id = await breakable.submitted({"type": "charge", "payload": {}, "queue": "default"})
    claim = await claim_task(ledger, task_id, worker)
    began = (await breakable.service.overview.whole()).at
    await ledger.settle([lost(claim)])
    before = [TaskBefore(task_id=task_id, attempt=1, running=True)]
    test = KillTest(
        test_id="t", kind="kill-worker", task_id=task_id, tasks=before, worker_id=worker
    )
    kill_tests._keep(replace(test, began_at=began, ended_at=began))
    look = partial(breakable.client.get, "/ui/dev/t")
    assert "not finished" in (await look()).text
    await claim_task(ledger, task_id, worker)
    breakable.service.overview.forget()
    text = (await look()).text
    assert text.count(">kept</span>") == 4
    assert "lost with its worker" in text
    assert "<svg" in text


async def test_a_dashboard_that_only_shows_starts_none(
    config: Config, kill_tests: KillTests
) -> None:
    shows = replace(config, ui_read_only=True)
    async with open_api(shows, kill_tests=kill_tests._path) as opened:
        text = (await opened.client.get("/ui/dev")).text
        assert "<button class" not in text[text.index("<main") :]
        assert (await start(opened, "flush-redis")).status_code == 403
    await kill_tests.aclose()
    async with open_api(config, kill_tests=kill_tests._path) as opened:
        assert (await opened.client.get("/ui/dev")).status_code == 503
