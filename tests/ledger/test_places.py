"""Tasks are found by place: a queue and a priority, or a lane and a range."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from leaseq.codec import LAST_ID, new_task_id
from leaseq.connections.postgres_connection import Connection
from leaseq.ledger.backlogs import BacklogBatch, BacklogLedger
from leaseq.ledger.due_tasks import Due, DueTaskLedger
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import Lane, Priority
from support.ledger import claim_task, open_worker, submit


async def test_due_tasks_are_found_by_queue_and_promoted_by_batch(
    ledger: TaskLedger, due_ledger: DueTaskLedger, plain: Connection
) -> None:
    for queue, priority in (
        ("b", Priority.LOW),
        ("b", Priority.HIGH),
        ("a", Priority.NORMAL),
        ("c", Priority.NORMAL),
    ):
        for _ in range(2):
            await submit(ledger, delay_seconds=30.0, queue=queue, priority=priority)
    await plain.execute("update leaseq.scheduled set run_at = now() where queue < 'c'")

    due = await due_ledger.find_due()
    assert [one.place for one in due] == [
        ("a", Priority.NORMAL),
        ("b", Priority.LOW),
        ("b", Priority.HIGH),
    ]
    listed = await due_ledger.list_due([(due[2], 1)])
    (first,) = await due_ledger.promote(listed)
    (second,) = await due_ledger.promote(await due_ledger.list_due([(listed[0].rest, 5)]))
    assert [(one.place, one.queue, one.lane) for one in (first, second)] == [
        (("b", Priority.HIGH), "b", Lane.HIGH)
    ] * 2
    # due at the same moment: in the order of their submission
    assert [*map(len, (first.task_ids, second.task_ids))] == [1, 1]
    assert first.task_ids < second.task_ids
    assert await due_ledger.find_due() == due[:2]


async def test_several_places_are_promoted_at_once_each_up_to_its_own_limit(
    ledger: TaskLedger, due_ledger: DueTaskLedger, plain: Connection
) -> None:
    for queue in ("a", "b", "c"):
        for _ in range(3):
            await submit(ledger, delay_seconds=30.0, queue=queue)
    await plain.execute("update leaseq.scheduled set run_at = now()")

    places = await due_ledger.find_due()
    listed = await due_ledger.list_due(list(zip(places, (1, 0, 5), strict=True)))
    assert [one.rest.place for one in listed] == [due.place for due in places]
    promoted = await due_ledger.promote(listed)
    assert {one.queue: len(one.task_ids) for one in promoted} == {"a": 1, "c": 3}
    assert [due.queue for due in await due_ledger.find_due()] == ["a", "b"]


async def test_a_look_from_known_positions_sees_what_is_due_behind_them_and_every_other_place(
    ledger: TaskLedger, due_ledger: DueTaskLedger, plain: Connection
) -> None:
    for queue in ("b", "d", "f"):
        for _ in range(2):
            await submit(ledger, delay_seconds=30.0, queue=queue)
    await plain.execute("update leaseq.scheduled set run_at = now() - interval '1 minute'")
    listed = await due_ledger.list_due([(due, 1) for due in await due_ledger.find_due()])
    await due_ledger.promote(listed)
    known = [one.rest for one in listed]
    for queue in ("", "a", "c", "e", "g"):  # before, between and behind the known ones
        task_id = await submit(ledger, delay_seconds=30.0, queue=queue or "x")
        await plain.execute(
            "update leaseq.scheduled set run_at = now(), queue = %s where task_id = %s",
            [queue, task_id],
        )
    await submit(ledger, delay_seconds=30.0, queue="h")

    assert [due.queue for due in await due_ledger.find_due(known)] == [
        "",
        "a",
        "b",
        "c",
        "d",
        "e",
        "f",
        "g",
    ]
    passed = msgspec.structs.replace(known[1], at=datetime.now(UTC))
    assert [due.queue for due in await due_ledger.find_due([passed])] == [
        "",
        "a",
        "b",
        "c",
        "e",
        "f",
        "g",
    ]


async def test_task_scheduled_by_an_older_version_is_promoted(
    ledger: TaskLedger, due_ledger: DueTaskLedger, plain: Connection
) -> None:
    task_id = await submit(ledger, delay_seconds=30.0, queue="q", priority=Priority.HIGH)
    await plain.execute("delete from leaseq.scheduled")
    await plain.execute(
        "insert into leaseq.scheduled (task_id, run_at) values (%s, now())", [task_id]
    )

    assert [due.place for due in await due_ledger.find_due()] == [("", 0)]
    (found,) = await due_ledger.promote(await due_ledger.list_due([(Due("", 0), 5)]))
    assert (found.place, found.queue, found.lane) == (("", 0), "q", Lane.HIGH)
    assert found.task_ids == [task_id]


async def test_a_range_of_the_ledger_for_one_lane(
    ledger: TaskLedger,
    worker_ledger: WorkerLedger,
    backlog_ledger: BacklogLedger,
    plain: Connection,
) -> None:
    worker = await open_worker(worker_ledger)
    ids = [
        await submit(ledger, task_id=task_id) for task_id in sorted(new_task_id() for _ in range(6))
    ]
    await submit(ledger, queue="another")
    await submit(ledger, priority=Priority.HIGH)
    await claim_task(ledger, ids[1], worker)
    await plain.execute(
        "update leaseq.tasks set crash_count = 1, loss_count = 1 where id = %s", [ids[2]]
    )

    async def read(cursor: str, until: str, limit: int) -> BacklogBatch:
        return await backlog_ledger.read_backlog(
            "default", Lane.NORMAL, cursor=cursor, until=until, limit=limit
        )

    assert await read(ids[0], ids[5], 100) == BacklogBatch(None, 5, [ids[0], ids[3], ids[4]])
    assert await read(ids[1], LAST_ID, 3) == BacklogBatch(ids[3], 3, [ids[3]])
    assert await read(LAST_ID, LAST_ID, 3) == BacklogBatch(None, 0, [])


async def test_a_range_ends_where_a_lane_has_no_more_room_or_enough_was_looked_at(
    ledger: TaskLedger, backlog_ledger: BacklogLedger
) -> None:
    ids = sorted(new_task_id() for _ in range(8))
    for n, task_id in enumerate(ids):
        await submit(ledger, task_id=task_id, queue="busy" if n % 2 else "default")

    async def end(limit: int, room: int) -> str | None:
        return await backlog_ledger.find_boundary(
            "default", Lane.NORMAL, cursor=ids[0], limit=limit, room=room
        )

    assert await end(limit=50, room=2) == ids[4]
    assert await end(limit=3, room=2) == ids[3]
    assert await end(limit=50, room=4) is None
