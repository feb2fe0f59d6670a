"""The explanation of a failed task names its cause, in the same words everywhere."""

from __future__ import annotations

import asyncio
from html import unescape

import pytest
from msgspec.structs import replace

from leaseq.cli.commands import why as command
from leaseq.config import Config
from leaseq.model import State
from leaseq.operations.open_engine import open_engine
from leaseq.operations.why.answer import Why
from leaseq.operations.why.explain import explain
from support.api import Api
from support.failures import GONE, Shop, count

OTHER = replace(GONE, fingerprint="f" * 12)
SHOWN = "(`leaseq failures show add 0123456789ab`)"


async def evidence_of(api: Api, task_id: str) -> list[str]:
    found = await api.get(f"/api/tasks/{task_id}/why")
    return [each["text"] for each in found["evidence"] if each["source"] == "failures"]


async def test_failed_and_retrying_tasks_name_their_cause(
    api: Api, config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    stores = api.service.engine.stores
    shop = Shop(stores.tasks, stores.workers)
    for version in ("1.4.1", "1.4.2"):
        worker = await shop.worker(app_version=version)
        failed = await shop.fail(worker=worker, then=State.FAILED, times=3)
    retrying = await shop.fail(worker=worker)
    assert await evidence_of(api, failed) == [], "they are not counted yet"
    await count(stores.failures)

    (text,) = await evidence_of(api, failed)
    assert text.startswith("attempts that failed like this: 7 in the last 24 h, since 20")
    assert text.endswith(f" UTC, in versions 1.4.1 and 1.4.2 {SHOWN}")
    assert await evidence_of(api, retrying) == [text]
    found = (await api.get(f"/api/tasks/{failed}/why"))["failure"]
    assert (found["type"], found["fingerprint"], found["in_day"]) == ("add", GONE.fingerprint, 7)
    assert found["versions"] == ["1.4.1", "1.4.2"]

    page = (await api.client.get(f"/ui/tasks/{failed}")).text
    link = f'<a href="/ui/failures/add/{GONE.fingerprint}">'
    assert link in page
    assert unescape(page.partition(link)[2].partition("</a>")[0]) == text

    async with open_engine(config, announces=False) as engine:
        why = explain(await engine.read_facts(failed, tenant="default", key=None))
    await asyncio.to_thread(_print, why)
    assert f"failures {text}" in " ".join(capsys.readouterr().out.split())


def _print(why: Why) -> None:
    command.show_why(why, as_json=False)


async def test_a_task_without_a_failure_names_none(api: Api) -> None:
    stores = api.service.engine.stores
    shop = Shop(stores.tasks, stores.workers)
    failed = await shop.fail()
    await shop.fail(OTHER)
    await count(stores.failures)
    waiting = await api.submitted()
    assert await evidence_of(api, waiting) == []
    (text,) = await evidence_of(api, failed)
    assert ": 1 in the last 24 h" in text
    assert " in version" not in text
    await api.client.post(f"/api/tasks/{failed}/cancel")
    assert await evidence_of(api, failed) == [], "it was cancelled, and not given up"


async def test_a_tenant_counts_its_own_failures(guarded: Api) -> None:
    stores = guarded.service.engine.stores
    shop = Shop(stores.tasks, stores.workers)
    await shop.fail(times=2)
    failed = await shop.fail(tenant="acme")
    await count(stores.failures)
    engine = guarded.service.engine
    reader = engine.fact_reader(guarded.service.lists)
    facts = [
        await reader.read(failed, tenant=tenant, key=None, key_tenant="acme")
        for tenant in ("acme", None)
    ]
    assert [each.failure and each.failure.in_day for each in facts] == [1, 3]
