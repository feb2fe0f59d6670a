"""Any number of paused names, which clients can make up, costs a claim the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from leaseq.errors import QueueUnknown
from leaseq.ledger import queues as queues_module
from leaseq.ledger.queues import QueueLedger
from leaseq.ledger.statements import STATEMENTS
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from support.ledger import open_worker, submission

Plain = psycopg.AsyncConnection[Any]


async def pause_made_up(plain: Plain, count: int) -> None:
    query = "insert into leaseq.queues (name, paused) select 'made.up.' || n, true from generate_series(1, %s::int) as n"
    await plain.execute(query, [count])


@pytest.mark.parametrize("others", [0, 7, 8, 9, 50])
async def test_a_claim_takes_nothing_of_a_paused_queue_among_many(
    ledger: TaskLedger,
    worker_ledger: WorkerLedger,
    queue_ledger: QueueLedger,
    plain: Plain,
    others: int,
) -> None:
    worker = await open_worker(worker_ledger, "zz.kept", "free")
    tasks = [submission(queue="zz.kept"), submission(queue="free")]
    await ledger.submit(tasks, retention_seconds=60)
    kept, free = ids = [task.task_id for task in tasks]
    await queue_ledger.pause("zz.kept", paused=True)
    await pause_made_up(plain, others)
    assert [claimed.claim.task_id for claimed in await ledger.claim(ids, worker_id=worker)] == [
        free
    ]
    await queue_ledger.pause("zz.kept", paused=False)
    assert [claimed.claim.task_id for claimed in await ledger.claim(ids, worker_id=worker)] == [
        kept
    ]


async def test_a_claim_takes_only_tasks_of_queues_that_the_worker_serves(
    ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    """Dispatch is not believed: a program that can write there could have any task run by any
    worker."""
    one, both = (
        await open_worker(worker_ledger, "mail"),
        await open_worker(worker_ledger, "mail", "billing"),
    )
    tasks = [submission(queue="mail"), submission(queue="billing"), submission(queue="Mail")]
    await ledger.submit(tasks, retention_seconds=60)
    mail, billing, other = ids = [task.task_id for task in tasks]
    assert [claimed.claim.task_id for claimed in await ledger.claim(ids, worker_id=one)] == [mail]
    assert [claimed.claim.task_id for claimed in await ledger.claim(ids, worker_id=both)] == [
        billing
    ]
    assert (await ledger.find_snapshots([other]))[other].attempt == 0


@pytest.mark.parametrize("count", [0, 1000])
async def test_a_claim_reads_few_names_however_many_are_paused(
    ledger: TaskLedger, worker_ledger: WorkerLedger, plain: Plain, count: int
) -> None:
    worker = await open_worker(worker_ledger)
    tasks = [submission() for _ in range(20)]
    await ledger.submit(tasks, retention_seconds=60)
    await pause_made_up(plain, count)
    await plain.execute("vacuum analyze leaseq.queues")
    params = {"ids": [task.task_id for task in tasks], "worker_id": worker}
    query = "explain (analyze, format json) " + STATEMENTS["claim_tasks"]
    row = await (await plain.execute(query.encode(), params)).fetchone()
    assert row is not None
    read = sum(
        node["Actual Rows"] * node["Actual Loops"]
        for node in nodes(row[0][0]["Plan"])
        if node.get("Alias") in NAMED
    )
    assert read <= 9 + 20


NAMED = ("queues", "q")


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


async def test_an_unknown_name_is_paused_while_few_queues_are(
    queue_ledger: QueueLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues_module, "MOST_PAUSED", 3)
    await queue_ledger.register_queues(["known"])
    for name in ("a", "b", "c"):
        await queue_ledger.pause(name, paused=True)
    with pytest.raises(QueueUnknown, match="queue d is not known, and 3 queues or more are paused"):
        await queue_ledger.pause("d", paused=True)
    assert (await queue_ledger.pause("known", paused=True)).paused
    assert (await queue_ledger.pause("a", paused=True)).paused
    await queue_ledger.pause("a", paused=False)
    await queue_ledger.pause("b", paused=False)
    assert (await queue_ledger.pause("d", paused=True)).paused
    assert await queue_ledger.list_paused(limit=9) == ["c", "d", "known"]


async def test_a_name_that_is_resumed_is_not_made_known(queue_ledger: QueueLedger) -> None:
    assert not (await queue_ledger.pause("made.up", paused=False)).paused
    assert await queue_ledger.list_queues() == []
