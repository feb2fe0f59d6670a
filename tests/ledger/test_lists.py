"""A page of a list reads a bounded number of tasks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from leaseq.connections.postgres_connection import Connection
from leaseq.ledger import task_lists
from leaseq.ledger.statements import STATEMENTS
from leaseq.ledger.task_lists import TaskFilter, TaskLists
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import State
from support.ledger import claim_task, errored, open_worker, submit

LOOKED_AT = 10


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_lists, "LOOKED_AT", LOOKED_AT)


async def pages(ledger: TaskLedger, wanted: TaskFilter) -> list[list[str]]:
    """The ids of every page until there is no cursor."""
    found: list[list[str]] = []
    while True:
        listing = await TaskLists(ledger.session).list_tasks(wanted, tenant="default")
        found.append([task.task_id for task in listing.tasks])
        if listing.cursor is None:
            return found
        assert wanted.cursor is None or listing.cursor < wanted.cursor
        wanted = replace(wanted, cursor=listing.cursor)


async def test_a_filter_that_matches_nothing_looks_on_page_by_page(ledger: TaskLedger) -> None:
    for _ in range(3 * LOOKED_AT + 5):
        await submit(ledger)
    assert await pages(ledger, TaskFilter(type="unheard.of", limit=5)) == [[], [], [], []]
    assert await pages(ledger, TaskFilter(type="unheard.of", limit=2 * LOOKED_AT)) == [[], []]


async def test_every_match_is_on_one_page(ledger: TaskLedger) -> None:
    ids = [
        await submit(ledger, queue="rare" if n % 7 == 0 else "usual") for n in range(4 * LOOKED_AT)
    ]
    newest = sorted(ids, reverse=True)
    rare = [task_id for task_id in newest if ids.index(task_id) % 7 == 0]
    usual = [task_id for task_id in newest if task_id not in rare]
    for limit in (1, 2, 3, LOOKED_AT - 1, LOOKED_AT, LOOKED_AT + 1, 50):
        for wanted, expected in (
            (TaskFilter(queue="rare"), rare),
            (TaskFilter(queue="usual"), usual),
            (TaskFilter(), newest),
        ):
            found = await pages(ledger, replace(wanted, limit=limit))
            assert [task_id for page in found for task_id in page] == expected, (limit, wanted)
            assert max(map(len, found)) <= limit


async def test_pages_without_a_filter_are_full(ledger: TaskLedger) -> None:
    for _ in range(2 * LOOKED_AT):
        await submit(ledger)
    for limit in (3, 2 * LOOKED_AT - 1, 2 * LOOKED_AT):
        found = await pages(ledger, TaskFilter(limit=limit))
        assert all(len(page) == limit for page in found[:-1])


async def test_failed_tasks_are_listed_along_the_dead_letters(
    ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    """Of a queue, a type or a tenant, with any number of other tasks between them."""
    worker = await open_worker(worker_ledger, "default", "rare")
    failed = [await fail(ledger, worker, queue="rare", type="send")]
    for n in range(2 * LOOKED_AT + 2):
        await submit(ledger)
        failed.append(await fail(ledger, worker, type="add" if n else "other"))
    await fail(ledger, worker, tenant="another")
    newest = sorted(failed, reverse=True)
    for wanted, expected in (
        (TaskFilter(), newest),
        (TaskFilter(queue="rare"), failed[:1]),
        (TaskFilter(type="send"), failed[:1]),
        (TaskFilter(queue="rare", type="send"), failed[:1]),
        (TaskFilter(queue="rare", type="add"), []),
        (TaskFilter(type="other"), failed[1:2]),
        (TaskFilter(queue="default"), newest[:-1]),
    ):
        for limit in (1, 3, 50):
            found = await pages(ledger, replace(wanted, state=State.FAILED, limit=limit))
            assert [task_id for page in found for task_id in page] == expected, (limit, wanted)
    # One page each: nothing else is looked at.
    for wanted in (TaskFilter(queue="rare"), TaskFilter(type="send")):
        assert await pages(ledger, replace(wanted, state=State.FAILED)) == [failed[:1]]
    listing = await TaskLists(ledger.session).list_tasks(
        TaskFilter(state=State.FAILED), tenant="another"
    )
    assert [(task.tenant, task.state) for task in listing.tasks] == [("another", State.FAILED)]
    assert listing.cursor is None


async def test_a_dead_letter_that_an_older_process_has_left_does_not_end_a_list(
    ledger: TaskLedger, worker_ledger: WorkerLedger, plain: Connection
) -> None:
    worker = await open_worker(worker_ledger)
    failed = sorted([await fail(ledger, worker) for _ in range(6)], reverse=True)
    for task_id in failed[1:4]:
        await plain.execute("delete from leaseq.tasks where id = %s", [task_id])
    for limit in (1, 2, 3, 5):
        found = await pages(ledger, TaskFilter(state=State.FAILED, limit=limit))
        assert [task_id for page in found for task_id in page] == [failed[0], *failed[4:]]


async def fail(ledger: TaskLedger, worker: str, **said: str) -> str:
    """A task that has failed; its id."""
    task_id = await submit(ledger, **said)
    claim = await claim_task(ledger, task_id, worker)
    await ledger.settle([errored(claim, then=State.FAILED)])
    return task_id


async def test_tasks_of_another_tenant_are_looked_past(ledger: TaskLedger) -> None:
    (mine,) = [await submit(ledger)]
    for _ in range(2 * LOOKED_AT):
        await submit(ledger, tenant="another")
    assert await pages(ledger, TaskFilter(limit=5)) == [[], [], [mine]]


async def test_a_task_is_found_by_its_key_however_old_it_is(
    ledger: TaskLedger, plain: Connection
) -> None:
    old = await submit(ledger, idempotency_key="k", type="old")
    for n in range(3 * LOOKED_AT):
        await submit(ledger, idempotency_key=f"k{n}")
    assert await pages(ledger, TaskFilter(idempotency_key="k")) == [[old]]
    assert await pages(ledger, TaskFilter(idempotency_key="k", type="old", cursor=old)) == [[]]
    assert await pages(ledger, TaskFilter(idempotency_key="k", type="new")) == [[]]
    assert await pages(ledger, TaskFilter(idempotency_key="unknown")) == [[]]
    await plain.execute("delete from leaseq.tasks where id = %s", [old])
    assert await pages(ledger, TaskFilter(idempotency_key="k")) == [[]]


@pytest.mark.parametrize("wanted", ["unheard.of", "add"])
async def test_a_page_reads_a_bounded_number_of_rows(
    ledger: TaskLedger, plain: Connection, wanted: str
) -> None:
    for _ in range(5 * LOOKED_AT):
        await submit(ledger)
    params = {
        "tenant": "default",
        "cursor": None,
        "state": None,
        "queue": None,
        "type": wanted,
        "rows": LOOKED_AT,
        "limit": 5,
    }
    query = "explain (analyze, format json) " + STATEMENTS["list_tasks"]
    row = await (await plain.execute(query.encode(), params)).fetchone()
    assert row is not None
    scans = [node for node in nodes(row[0][0]["Plan"]) if node.get("Index Name") == "tasks_pkey"]
    read = sum(
        node["Actual Rows"] * node["Actual Loops"] + node.get("Rows Removed by Filter", 0)
        for node in scans
    )
    # Twice where nothing matches: once for the page, once for the place to go on from. Where a page
    # is full the walk ends there.
    assert read == (2 * LOOKED_AT if wanted == "unheard.of" else 5)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)
