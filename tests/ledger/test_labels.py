"""Labels: written with their task, found by them, and gone with their task."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from leaseq.codec import FIRST_ID, LAST_ID
from leaseq.connections.postgres_connection import Connection
from leaseq.ledger import task_lists
from leaseq.ledger.maintenance import Maintenance
from leaseq.ledger.session import Locked
from leaseq.ledger.statements import STATEMENTS
from leaseq.ledger.task_lists import TaskFilter, TaskLists
from leaseq.ledger.tasks import TaskLedger
from support.ledger import RETENTION, submission, submit

LOOKED_AT = 10


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_lists, "LABELLED_LOOKED_AT", LOOKED_AT)
    monkeypatch.setattr(task_lists, "LABELLED_SHARE", 2)


async def pages(
    ledger: TaskLedger, wanted: TaskFilter, *, tenant: str | None = "default"
) -> list[list[str]]:
    """The ids of every page until there is no cursor."""
    found: list[list[str]] = []
    while True:
        listing = await TaskLists(ledger.session).list_tasks(wanted, tenant=tenant)
        found.append([task.task_id for task in listing.tasks])
        if listing.cursor is None:
            return found
        assert wanted.cursor is None or listing.cursor < wanted.cursor
        wanted = replace(wanted, cursor=listing.cursor)


async def rows_of(plain: Connection) -> set[tuple[str, str, str, str]]:
    found = await plain.execute("select tenant, task_id::text, name, value from leaseq.labels")
    return {(row[0], row[1], row[2], row[3]) for row in await found.fetchall()}


async def test_labels_are_stored_and_shown_as_they_were_submitted(
    ledger: TaskLedger, plain: Connection
) -> None:
    labels = {"account": "42", "note": 'a "quoted" \\ , {x} = ü\n'}
    mine = await submit(ledger, labels=labels)
    keyed = await submit(ledger, labels=labels, idempotency_key="k", tenant="other")
    bare = await submit(ledger)

    assert await rows_of(plain) == {
        (tenant, task_id, name, value)
        for tenant, task_id in (("default", mine), ("other", keyed))
        for name, value in labels.items()
    }
    found = await ledger.find([mine, keyed, bare], tenant=None)
    assert {task_id: task.labels for task_id, task in found.items()} == {
        mine: labels,
        keyed: labels,
        bare: {},
    }
    listing = await TaskLists(ledger.session).list_tasks(TaskFilter(), tenant=None)
    assert {task.task_id: task.labels for task in listing.tasks} == {
        task_id: task.labels for task_id, task in found.items()
    }


async def test_one_task_with_labels_does_not_change_the_others_of_its_batch(
    ledger: TaskLedger, plain: Connection
) -> None:
    batch = [submission(), submission(labels={"account": "42"}), submission(idempotency_key="k")]
    answers = await ledger.submit(batch, retention_seconds=RETENTION)
    assert None not in answers.values()
    assert await rows_of(plain) == {("default", batch[1].task_id, "account", "42")}


async def test_a_submission_that_is_sent_again_or_replayed_inserts_no_labels(
    ledger: TaskLedger, plain: Connection
) -> None:
    first = submission(labels={"account": "42"}, idempotency_key="k")
    keyless = submission(labels={"account": "43"})
    for _ in range(2):
        await ledger.submit([first, keyless], retention_seconds=RETENTION)
    other = submission(labels={"account": "44"}, idempotency_key="k")
    assert await ledger.submit([other], retention_seconds=RETENTION) == {other.task_id: None}
    assert {row[3] for row in await rows_of(plain)} == {"42", "43"}


async def test_a_task_with_a_quota_is_listed_and_has_its_labels(
    ledger: TaskLedger, plain: Connection
) -> None:
    ledger.counted = frozenset({"acme"})
    await submit(ledger, tenant="acme", labels={"account": "42"})
    counts = await plain.execute("select tenant, tasks from leaseq.unfinished_counts")
    assert await counts.fetchall() == [("acme", 1)]
    assert {row[3] for row in await rows_of(plain)} == {"42"}


async def test_a_task_is_not_recorded_without_its_labels(
    ledger: TaskLedger, plain: Connection
) -> None:
    """Neither where Postgres refuses a label, nor where the table is locked."""
    await plain.execute("alter table leaseq.labels add check (value <> 'refused')")
    with pytest.raises(psycopg.errors.CheckViolation):
        await submit(ledger, labels={"account": "refused"})
    async with plain.transaction():
        await plain.execute("lock table leaseq.labels")
        with pytest.raises(Locked):
            await submit(ledger, labels={"account": "42"})
        await submit(ledger)  # without labels nothing waits for that table
    tasks = await (await plain.execute("select count(*) from leaseq.tasks")).fetchone()
    assert tasks == (1,)


async def test_labels_of_a_callers_transaction_come_with_its_commit(
    ledger: TaskLedger, plain: Connection, pool: Any
) -> None:
    for commits in (False, True):
        async with pool.connection() as conn, conn.transaction(force_rollback=not commits):
            await ledger.submit(
                [submission(labels={"account": "42"})], retention_seconds=RETENTION, conn=conn
            )
        assert len(await rows_of(plain)) == commits


@pytest.mark.usefixtures("few")
async def test_every_match_is_on_one_page(ledger: TaskLedger) -> None:
    """Against a list in memory, for one label and two, for each tenant and for all, with every kind
    of page."""
    chance = random.Random(15)
    tasks: list[tuple[str, str, str, Mapping[str, str]]] = []
    for _ in range(6 * LOOKED_AT):
        labels = {name: chance.choice("aab") for name in ("one", "two") if chance.random() < 0.8}
        tenant, queue = chance.choice(["default", "default", "x", "y"]), chance.choice(["q", "r"])
        task_id = await submit(ledger, labels=labels or None, tenant=tenant, queue=queue)
        tasks.append((task_id, tenant, queue, labels))
    tasks.sort(reverse=True)
    queues: list[str | None] = [None, "r"]
    owners: list[str | None] = ["default", "x", "unheard.of", None]
    for labels in ({"one": "a"}, {"two": "b"}, {"one": "a", "two": "b"}, {"two": "c"}, {"z": "a"}):
        for asked in owners:
            for only in queues:
                expected = [
                    task_id
                    for task_id, owner, where, given in tasks
                    if (asked in (None, owner) and only in (None, where))
                    and labels.items() <= given.items()
                ]
                for limit in (1, 4, LOOKED_AT, 50):
                    wanted = TaskFilter(labels=labels, queue=only, limit=limit)
                    found = await pages(ledger, wanted, tenant=asked)
                    assert [task_id for page in found for task_id in page] == expected
                    assert max(map(len, found)) <= limit


async def test_a_label_is_found_among_many_tasks_without_it(
    ledger: TaskLedger, plain: Connection, few: None
) -> None:
    old = await submit(ledger, labels={"account": "42", "env": "live"})
    for _ in range(5 * LOOKED_AT):
        await submit(ledger, labels={"env": "live"})
    for names in (("account", "env"), ("env", "account"), ("account",)):
        labels = {name: {"account": "42", "env": "live"}[name] for name in names}
        assert await pages(ledger, TaskFilter(labels=labels)) == [[old]], "the rarest label leads"
    assert (
        await pages(ledger, TaskFilter(labels={"env": "live"}, type="other", limit=5)) == [[]] * 6
    )


@pytest.mark.parametrize("tenant", ["default", None])
async def test_a_page_reads_a_bounded_number_of_rows(
    ledger: TaskLedger, plain: Connection, tenant: str | None
) -> None:
    for n in range(5 * LOOKED_AT):
        await submit(ledger, labels={"env": "live"}, tenant="default" if n % 2 else "x")
    params: dict[str, Any] = {
        "tenant": tenant,
        "cursor": None,
        "state": None,
        "queue": None,
        "type": "unheard.of",
        "error": None,
    }
    params |= {"names": ["env"], "values": ["live"], "rows": LOOKED_AT, "share": 2, "limit": 5}
    query = "explain (analyze, format json) " + STATEMENTS["list_labelled"]
    row = await (await plain.execute(query.encode(), params)).fetchone()
    assert row is not None
    read = {"tasks_pkey": 0, "labels_pkey": 0}
    for node in nodes(row[0][0]["Plan"]):
        if node.get("Index Name") in read:
            rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
            read[node["Index Name"]] += rows * node["Actual Loops"]
    assert read["labels_pkey"] <= LOOKED_AT + 2, "and one for each tenant"
    assert read["tasks_pkey"] <= LOOKED_AT


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


async def test_labels_are_erased_and_pruned_with_their_task(
    ledger: TaskLedger, plain: Connection
) -> None:
    erased, pruned, stays = [await submit(ledger, labels={"account": "42"}) for _ in range(3)]
    await ledger.cancel([erased, pruned], tenant="default")
    assert await ledger.erase([erased], tenant="default") == [erased]
    assert {row[1] for row in await rows_of(plain)} == {pruned, stays}
    assert (await ledger.find([erased], tenant="default"))[erased].labels == {}
    await plain.execute(
        "update leaseq.tasks set finished_at = now() - interval '1 day' where finished_at is not null"
    )
    await prune(ledger)
    assert {row[1] for row in await rows_of(plain)} == {stays}


async def test_labels_that_an_older_version_left_behind_are_pruned(
    ledger: TaskLedger, plain: Connection
) -> None:
    """It deletes and erases tasks without their labels."""
    pruned, erased, stays = [
        await submit(ledger, labels={"account": "42", "env": "live"}) for _ in range(3)
    ]
    await ledger.cancel([erased], tenant="default")
    await plain.execute("delete from leaseq.tasks where id = %s", [pruned])
    await plain.execute(
        "update leaseq.tasks set erased_at = now(), payload = null, error = null where id = %s",
        [erased],
    )
    await prune(ledger)
    assert {row[1] for row in await rows_of(plain)} == {stays}


async def prune(ledger: TaskLedger) -> None:
    await Maintenance(ledger.session).prune_tasks(
        after=FIRST_ID, before=LAST_ID, retention_seconds=60.0, limit=100
    )
