"""The pace of a queue and the part of a backlog before a task, within bounds."""

from __future__ import annotations

import pytest

from leaseq.ledger import task_facts
from leaseq.ledger.session import Connection, Session
from leaseq.ledger.task_facts import CountedTasks, TaskFacts
from leaseq.ledger.tasks import TaskLedger
from leaseq.model import Priority
from support.ledger import submit

STEADY = "01900000-{ms:04x}-7000-8000-000000000000"


async def backlog(plain: Connection, ids: list[str], queue: str = "mail") -> None:
    for task_id in ids:
        await plain.execute(
            "insert into leaseq.tasks (id, queue, type, payload, state, max_attempts, timeout_seconds)"
            " values (%s, %s, 'send', '1', 'PENDING', 1, 1)",
            [task_id, queue],
        )


async def test_the_part_of_a_backlog_before_a_task_is_counted(
    session: Session, plain: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [STEADY.format(ms=10 * n) for n in range(20)]
    await backlog(plain, ids)
    await backlog(plain, [STEADY.format(ms=10 * n + 5) for n in range(20)], queue="other")
    await plain.execute(
        "update leaseq.tasks set state = 'CANCELLED', finished_at = now() where id = %s", [ids[3]]
    )
    facts = TaskFacts(session)

    async def count(task_id: str) -> CountedTasks:
        return await facts.count_before(
            task_id, queue="mail", priority=Priority.NORMAL, first=ids[0]
        )

    assert await count(ids[0]) == CountedTasks(0, True)
    assert await count(ids[10]) == CountedTasks(9, True)
    monkeypatch.setattr(task_facts, "COUNTED_ROWS", 8)  # four of this queue, three that wait
    estimated = await count(ids[19])
    assert not estimated.is_all
    assert 14 <= estimated.count <= 18


async def test_the_pace_is_that_of_the_tasks_before_the_heads(
    session: Session, ledger: TaskLedger, plain: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = TaskFacts(session)
    none = await facts.measure_pace("mail", [])
    assert (none.count, none.span, none.newer) == (0, 0.0, 0)
    ids = sorted([await submit(ledger, queue="mail") for _ in range(12)])
    for n, task_id in enumerate(ids[:10]):
        await plain.execute(
            "update leaseq.tasks set started_at = now() - make_interval(secs => %s) where id = %s",
            # in two halves of half a minute, with time between them
            [30 - n if n < 5 else 10 - n, task_id],
        )
    await plain.execute("update leaseq.tasks set started_at = now() where id = %s", [ids[11]])
    pace = await facts.measure_pace("mail", [ids[10], ids[10]])
    assert (pace.count, pace.newer) == (10, 5), "each task once, and none behind the head"
    assert 10 <= pace.span < 60
    assert 1 <= pace.since_last < 60
    assert (await facts.measure_pace("other", [ids[10]])).count == 0
    monkeypatch.setattr(task_facts, "PACE_ROWS", 4)
    assert (await facts.measure_pace("mail", [ids[10]])).count == 4
