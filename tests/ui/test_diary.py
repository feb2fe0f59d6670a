"""The page Diary, without a script."""

from __future__ import annotations

from leaseq.codec import new_task_id
from leaseq.observability.telemetry import emit
from support.api import Api
from support.dashboard import HOSTILE
from support.keys import headers_of

TASK_ID = new_task_id()


async def happened(api: Api) -> None:
    """A few events of one process."""
    async with api.service.engine.announced("reaper"):
        emit("queue.paused", queue="mail")
        emit("attempt.fenced", task_id=TASK_ID, attempt=1, worker_id="w1")
        emit("attempt.fenced", task_id=TASK_ID, attempt=2, worker_id="w1")
        emit("loop.failed", loop="sweep", error=HOSTILE)


async def test_an_event_is_shown_with_what_it_means(api: Api) -> None:
    await happened(api)
    text = (await api.client.get("/ui/events")).text
    assert "outside <code>ctx.transaction()</code> may have happened" in text
    assert text.count("an attempt ended after it had been taken away") == 1
    for link in (f"/ui/tasks/{TASK_ID}", "/ui/queues/mail", "/ui/workers/w1"):
        assert f'href="{link}"' in text
    assert "<img src=x" not in text
    assert "{{7*7}}" in text
    part = await api.client.get("/ui/events?part=diary")
    assert part.text.strip().startswith('<section id="diary" data-live="every"')


async def test_filters_are_in_the_address(api: Api) -> None:
    await happened(api)
    page = await api.get("/api/notices")
    until = page["notices"][-1]["at"]  # of the first event
    for query, count in (
        ("name=attempt.fenced", 2),
        ("queue=mail", 1),
        ("worker_id=w1&name=attempt.fenced", 2),
        ("worker_id=w2", 0),
        (f"until={until}", 0),
        (f"since={until[:16]}", 4),  # as in the form: without a zone
    ):
        text = (await api.client.get(f"/ui/events?{query}")).text
        assert text.count('<tr id="notice-') == count, query
    older = (await api.client.get(f"/ui/events?cursor={page['notices'][0]['notice_id']}")).text
    assert older.count('<tr id="notice-') == 3
    assert "data-live" not in older[older.index("<main") :]


async def test_a_filter_that_is_not_valid_is_told_in_place(api: Api) -> None:
    for query in ("since=yesterday", "name=A", "queue=a%20b", "cursor=x"):
        answer = await api.client.get(f"/ui/events?{query}")
        assert answer.status_code == 422
        assert 'role="alert"' in answer.text
        assert '<form class="actions" method="get" action="/ui/events"' in answer.text


async def test_a_key_needs_the_scope_and_no_tenant(guarded: Api) -> None:
    for scopes, tenant in ((["read"], None), (["operate"], "acme")):
        key = await headers_of(guarded, scopes, tenant=tenant)
        assert (await guarded.client.get("/ui/events", headers=key)).status_code == 403
