"""The pages Workers and Running, without a script."""

from __future__ import annotations

from leaseq.config import Config
from leaseq.ledger.session import Connection
from leaseq.ledger.workers import WorkerLedger
from leaseq_api.ui.pages.workers import coverage_of
from leaseq_api.views import worker_view
from support.api import Api
from support.ledger import open_worker
from support.running import occupied

HOSTILE = '"><img src=x onerror=document.title=1>{{7*7}}'


async def test_the_page_tells_how_to_start_a_worker(api: Api) -> None:
    assert "leaseq worker module:app" in (await api.client.get("/ui/workers")).text
    assert "No task runs now" in (await api.client.get("/ui/running")).text


async def test_a_queue_that_no_worker_serves_is_marked(
    api: Api, worker_ledger: WorkerLedger
) -> None:
    await open_worker(worker_ledger, "billing", "default")
    for queue in ("billing", "mail"):
        await api.submitted({"type": "send", "payload": 1, "queue": queue})
    text = (await api.client.get("/ui/workers")).text
    assert 'No worker serves <a href="/ui/queues/mail">mail</a>.' in text
    assert '<tr id="served-mail" class="is-hole">' in text
    assert '<tr id="served-billing">' in text


async def test_workers_of_the_same_queues_share_a_column(
    api: Api, worker_ledger: WorkerLedger
) -> None:
    for queues in (("a", "b"), ("b", "a"), ("c",)):
        await open_worker(worker_ledger, *queues)
    overview = await api.service.overview.whole()
    workers = await api.service.lists.list_workers(closed=False, limit=10)
    found = coverage_of(overview, [worker_view(each, None) for each in workers])
    assert [column.workers for column in found.columns] == [2, 1]
    assert not found.holes


async def test_a_silent_worker_is_told_and_a_closed_one_is_shown_on_request(
    api: Api, worker_ledger: WorkerLedger, plain: Connection
) -> None:
    silent, closed = await open_worker(worker_ledger), await open_worker(worker_ledger)
    await plain.execute(
        "update leaseq.workers set last_seen = now() - interval '1 hour' where id = %s", [silent]
    )
    await worker_ledger.close_worker(closed, reason=HOSTILE)
    text = (await api.client.get("/ui/workers")).text
    assert 'class="badge is-bad"><span class="dot" aria-hidden="true"></span>silent' in text
    assert closed not in text
    text = (await api.client.get("/ui/workers?closed=true")).text
    assert closed in text
    assert "<img src=x" not in text
    assert "{{7*7}}" in text


async def test_a_worker_has_a_page_with_what_it_runs(config: Config, api: Api) -> None:
    async with occupied(config, api) as task_ids:
        (worker,) = (await api.get("/api/workers"))["workers"]
        text = (await api.client.get(f"/ui/workers/{worker['worker_id']}")).text
        whole = (await api.client.get("/ui/running")).text
    assert f'id="task-{task_ids[0]}"' in text
    assert f'id="task-{task_ids[0]}"' in whole
    assert "hold" in text
    assert (await api.client.get("/ui/workers/none")).status_code == 404
    assert (await api.client.get("/ui/workers?order=x")).status_code == 400


async def test_progress_is_shown_as_text(config: Config, api: Api) -> None:
    async with occupied(config, api, progress=HOSTILE):
        text = (await api.client.get("/ui/running")).text
    assert "<img src=x" not in text
    assert "&lt;img src=x" in text
