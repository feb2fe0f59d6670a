"""The run times of a type: the histogram, and the slowest recent tasks."""

from __future__ import annotations

import asyncio

import pytest

from leaseq.ledger.session import Connection
from leaseq.ledger.task_types import TaskType, TypeLedger
from leaseq.ledger.tasks import TaskLedger
from leaseq.metrics.tally import BOUNDS
from leaseq_api.ui.run_histogram import histogram
from support.api import Api
from support.keys import headers_of
from support.ledger import claim_task, succeeded

STATS = """
insert into leaseq.stats
values (3600, date_trunc('hour', now()), 'default', 'add', 12, 0, 12, 12, 0, 0, 0, 0, 0, 0, 0, 0, 1, '{}', %s::integer[])
"""


def test_bars_reach_from_the_first_to_the_last_bucket_that_is_used() -> None:
    counts = [0] * (len(BOUNDS) + 1)
    assert histogram(counts) == []
    counts[20], counts[23], counts[-1] = 100, 1, 7
    found = histogram(counts)
    assert len(found) == len(counts) - 20
    assert [bucket.count for _, bucket in found if bucket.count] == [100, 1, 7]
    assert found[0][0].height == 80.0
    assert found[3][0].height == 2.0, "one attempt can be seen beside many"
    assert found[-1][1].words.startswith("more than")
    assert histogram([5])[0][1].words.startswith("up to")


@pytest.fixture
async def ran(api: Api, ledger: TaskLedger, worker: str, type_ledger: TypeLedger) -> list[str]:
    """Tasks of one type that have ended, the first of which ran longest."""
    await type_ledger.register_types([TaskType("add", "default", None, payload_schema=b"{}")])
    ids = [await api.submitted({"type": "add", "payload": {}}) for _ in range(3)]
    slow = await claim_task(ledger, ids[0], worker)
    for task_id in ids[1:]:
        claim = await claim_task(ledger, task_id, worker)
        await ledger.settle([succeeded(claim)])
    await asyncio.sleep(0)
    await ledger.settle([succeeded(slow)])
    await api.submitted({"type": "other", "payload": {}})
    return ids


async def test_the_page_shows_the_histogram_and_its_table(
    api: Api, ran: list[str], plain: Connection
) -> None:
    assert "No attempt of this type was counted" in (await api.client.get("/ui/types/add")).text
    counts = [0] * (len(BOUNDS) + 1)
    counts[20], counts[21] = 10, 2
    await plain.execute(STATS, [counts])
    text = (await api.client.get("/ui/types/add?part=runs")).text
    assert text.count('<rect class="bar-fill"') == 2
    assert text.count('<td class="n">') == 2
    assert "707" in text


async def test_the_slowest_recent_tasks_come_first(api: Api, ran: list[str]) -> None:
    text = (await api.client.get("/ui/types/add")).text
    order = [text.index(f'id="slow-{task_id}"') for task_id in ran]
    assert order[0] == min(order)
    assert "tasks of all types were looked through" in text


async def test_a_bound_key_sees_its_own_tasks_and_no_statistics(
    guarded: Api, ledger: TaskLedger, type_ledger: TypeLedger
) -> None:
    await type_ledger.register_types([TaskType("add", "default", None, payload_schema=b"{}")])
    headers = await headers_of(guarded, ["read"], tenant="acme")
    text = (await guarded.client.get("/ui/types/add", headers=headers)).text
    assert "a key that is bound to one does not see them" in text
    assert "None of the tasks that were looked through has run" in text
