"""Events that processes record for people."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from leaseq.codec import new_task_id
from leaseq.errors import ServerUnreachable
from leaseq.ledger.arrays import quoted
from leaseq.ledger.maintenance import Maintenance
from leaseq.ledger.notices import (
    LOOKED_AT,
    MARKED,
    MOST_MARKS,
    MOST_OPENED,
    NoticeFilter,
    NoticeLedger,
    NoticeRecord,
)
from leaseq.ledger.session import Connection, Session
from leaseq.ledger.statements import STATEMENTS
from leaseq.observability.telemetry import emit
from leaseq.operations import notices
from leaseq.operations.notices import NAMES, PER_SECOND, noticed
from leaseq_reaper.duties.prune import MOST_NOTICES

SECOND = timedelta(seconds=1)
# The budget of a statement of a page.
MOST_BLOCKS = 4000
FILL = """
insert into leaseq.notices (at, name, level, role, host, pid, queue, worker_id, fields)
select now() - make_interval(secs => n),
    (array['worker.opened', 'worker.reaped', 'queue.paused', 'loop.failed'])[1 + n %% 4], 'info', 'worker',
    'host-' || n %% 50, n, 'q' || n %% 20, md5(n::text),
    json_build_object('queues', array['q1', 'q2'], 'isolated', false, 'app_version', '1.' || n / 9000)
from generate_series(%(count)s::integer, 1, -1) as n
"""


async def listed(session: Session, **wanted: Any) -> list[NoticeRecord]:
    listing = await NoticeLedger(session).list_notices(NoticeFilter(**wanted))
    return listing.notices


async def test_events_are_recorded_with_their_task_and_worker(session: Session) -> None:
    task_id = new_task_id()
    async with noticed(NoticeLedger(session), "worker"):
        emit("attempt.fenced", task_id=task_id, attempt=1, worker_id="w")
        emit("queue.paused", queue="mail")
        emit(
            "attempt.settled",
            task_id=task_id,
            type="t",
            queue="q",
            attempt=1,
            outcome="succeeded",
            state="SUCCESS",
            seconds=1,
        )
    paused, fenced = await listed(session)
    assert (fenced.name, fenced.level, fenced.role) == ("attempt.fenced", "warning", "worker")
    assert (fenced.task_id, fenced.worker_id, fenced.count) == (task_id, "w", 0)
    assert (paused.name, paused.level, paused.queue) == ("queue.paused", "info", "mail")
    assert [each.name for each in await NoticeLedger(session).list_of_task(task_id)] == [
        "attempt.fenced"
    ]
    assert [each.name for each in await listed(session, queue="mail")] == ["queue.paused"]
    assert [each.name for each in await listed(session, worker_id="w")] == ["attempt.fenced"]
    assert await listed(session, name="worker.reaped") == []


async def test_ten_of_a_name_are_kept_in_a_second_and_the_others_counted(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "monotonic", lambda: 1000.5)
    async with noticed(NoticeLedger(session), "reaper") as buffer:
        for number in range(PER_SECOND + 90):
            emit("delivery.stray", queue="q", count=number, task_id=None)
        emit(
            "worker.closed", worker_id="w", reason="drained", tasks=0, sessions_ended=0, first=True
        )
        await buffer.flush()
    found = await listed(session)
    assert [each.count for each in found if each.name == "delivery.stray"] == [90] + [0] * 9
    assert [each.count for each in found if each.name == "worker.closed"] == [0]


async def test_hostile_texts_are_stored_short_and_printable(session: Session) -> None:
    async with noticed(NoticeLedger(session), "api"):
        emit("loop.failed", loop="l", error='\x00"\\{}\ud800' + "x" * 1000)
    (found,) = await listed(session)
    assert len(found.fields) < 1000
    assert b"\\\\x00" in found.fields


async def test_events_wait_while_postgres_is_away(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = NoticeLedger(session)
    record = ledger.record

    async def away(*_: object) -> None:
        raise ServerUnreachable("away")

    async with noticed(ledger, "api") as buffer:
        monkeypatch.setattr(ledger, "record", away)
        emit("queue.paused", queue="mail")
        with pytest.raises(ServerUnreachable):
            await buffer.flush()
        monkeypatch.setattr(ledger, "record", record)
        emit("queue.resumed", queue="mail")
    assert [each.name for each in await listed(session)] == ["queue.resumed", "queue.paused"]


async def test_pages_follow_one_another(session: Session) -> None:
    async with noticed(NoticeLedger(session), "api"):
        for number in range(7):
            emit("queue.paused", queue=f"q{number}")
    ledger, seen, cursor = NoticeLedger(session), [], None
    while True:
        page = await ledger.list_notices(NoticeFilter(limit=3, cursor=cursor))
        seen += [notice.queue for notice in page.notices]
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == [f"q{number}" for number in reversed(range(7))]


async def test_a_notice_that_was_written_late_is_listed_by_its_time(
    session: Session, plain: Connection
) -> None:
    async with noticed(NoticeLedger(session), "api"):
        for number in range(4):
            emit("queue.paused", queue=f"q{number}")
    await plain.execute("update leaseq.notices set at = at - interval '1 hour' where queue = 'q3'")
    ledger = NoticeLedger(session)
    first = await ledger.list_notices(NoticeFilter(limit=2))
    assert [each.queue for each in first.notices] == ["q2", "q1"]
    rest = await ledger.list_notices(NoticeFilter(cursor=first.cursor))
    assert [each.queue for each in rest.notices] == ["q0", "q3"]
    late = rest.notices[-1].at
    assert [each.queue for each in await listed(session, until=late + SECOND)] == ["q3"]
    assert await listed(session, until=late) == []
    assert [each.queue for each in await listed(session, since=late + SECOND)] == ["q2", "q1", "q0"]
    assert [each.queue for each in await listed(session, since=late, name="queue.paused")][
        -1
    ] == "q3"


async def test_nothing_is_behind_a_notice_that_was_pruned(session: Session) -> None:
    """A program that reads page after page ends, and does not begin again."""
    async with noticed(NoticeLedger(session), "api"):
        emit("queue.paused", queue="mail")
    page = await NoticeLedger(session).list_notices(NoticeFilter(cursor=10**9))
    assert (page.notices, page.cursor) == ([], None)


async def test_a_flush_that_is_under_way_at_the_end_is_not_repeated(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = NoticeLedger(session)
    record, recording = ledger.record, asyncio.Event()

    async def recorded(*given: Any) -> None:
        await record(*given)
        recording.set()
        await asyncio.sleep(0)  # the answer is still on its way

    monkeypatch.setattr(ledger, "record", recorded)
    async with noticed(ledger, "api"):
        emit("queue.paused", queue="mail")
        await recording.wait()
    assert [each.queue for each in await listed(session)] == ["mail"]


async def test_marks_are_the_newest_of_their_kind_and_the_first_worker_of_a_version(
    session: Session,
) -> None:
    ledger = NoticeLedger(session)
    for number in range(MOST_MARKS // PER_SECOND + 1):
        # A second's worth in each buffer.
        async with noticed(ledger, "reaper"):
            for _ in range(PER_SECOND):
                emit("queue.paused", queue=f"q{number}")
    for version in ("1.4.1", None, "1.4.1", "1.4.2", "1.4.1", "1.4.2"):
        async with noticed(ledger, "worker"):
            fields = {} if version is None else {"app_version": version}
            emit("worker.opened", worker_id="w", queues=["mail"], isolated=False, **fields)
    async with noticed(ledger, "reaper"):
        emit("epoch.changed", before="a", found="b", now="c")
        emit("delivery.stray", queue="q", count=1, task_id=None)
    epoch, deployed, *paused = await ledger.list_marks()
    assert (epoch.kind, epoch.about) == ("epoch.changed", None)
    assert (deployed.kind, deployed.about) == ("deployed", "1.4.2")
    opened = await listed(session, name="worker.opened")
    assert deployed.notice_id == opened[2].notice_id
    assert [each.about for each in paused][::10] == [f"q{n}" for n in reversed(range(1, 11))]
    assert len(paused) == MOST_MARKS


async def test_no_page_of_the_diary_reads_more_than_its_budget(
    session: Session, plain: Connection
) -> None:
    """With as many notices as are kept, for the newest page, a deep one, and one that fits nothing."""
    await plain.execute(FILL, {"count": MOST_NOTICES})
    await plain.execute("analyze leaseq.notices")
    cursor = await plain.execute("select id from leaseq.notices order by at limit 1 offset 50000")
    (middle,) = await cursor.fetchone() or (0,)
    anything = dict.fromkeys(("name", "queue", "worker_id", "since", "until", "cursor"))
    page = anything | {"rows": LOOKED_AT, "limit": 201}
    for name, params in (
        ("list_notices", page),
        ("list_notices", page | {"cursor": middle}),
        ("list_notices", page | {"worker_id": "none", "until": datetime.now(UTC)}),
        ("list_marks", {"names": quoted(MARKED), "limit": MOST_MARKS, "workers": MOST_OPENED}),
    ):
        explained = f"explain (analyze, buffers, format json) {STATEMENTS[name]}"
        cursor = await plain.execute(explained.encode(), params)
        ((plans,),) = await cursor.fetchall()
        plan = plans[0]["Plan"]
        blocks = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        assert blocks <= MOST_BLOCKS, (name, params, blocks)


async def test_old_and_many_notices_are_pruned(
    session: Session, maintenance: Maintenance, plain: Connection
) -> None:
    async with noticed(NoticeLedger(session), "api"):
        for number in range(10):
            emit("queue.paused", queue=f"q{number}")
    prune = maintenance.prune_notices
    assert await prune(retention_seconds=3600, most=100, limit=1000) == 0
    assert await prune(retention_seconds=3600, most=4, limit=1000) == 6
    await plain.execute("update leaseq.notices set at = at - interval '2 hours' where queue = 'q6'")
    assert await prune(retention_seconds=3600, most=100, limit=1000) == 1
    assert [each.queue for each in await listed(session)] == ["q9", "q8", "q7"]


def test_no_event_of_a_plain_task_is_noticed() -> None:
    plain = {"task.submitted", "task.claimed", "attempt.started", "attempt.settled", "task.failed"}
    assert not NAMES & plain
    assert {"attempt.fenced", "worker.reaped", "epoch.changed", "queue.paused"} <= NAMES
