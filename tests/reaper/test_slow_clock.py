"""A client whose clock is two days behind, beside a backlog.

The cost is counted in tasks that refills read: neither the length of the backlog nor the number of
its submissions may show there.
"""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

import pytest
from msgspec import Struct

from leaseq.model import Lane
from leaseq_reaper.duties.refill import Refill
from support.dispatch import KEYS
from support.ledger import RETENTION, submission
from support.reaper import WINDOW, FakeClock, Stage
from support.servers import person

DAY_MS = 86_400_000
BEHIND_MS = 2 * DAY_MS
# Tasks that ended in the two days.
HISTORY = 2_000
SECONDS = 60
# The deliveries that workers take in a second.
TAKEN = 4

ENDED = """
insert into leaseq.tasks (id, queue, type, payload, state, finished_at, result, max_attempts, timeout_seconds)
select
    (lpad(to_hex(%s::bigint + n * %s::bigint), 12, '0') || '7000' || '8' || lpad(to_hex(n), 15, '0'))::uuid,
    'default', 'add', '{}', 'SUCCESS', now(), 'null', 1, 1
from generate_series(1, %s) as n
"""


def slow_id(now_ms: int, n: int) -> str:
    """The id that the client makes in its n-th second."""
    return str(UUID(int=(now_ms - BEHIND_MS + 1000 * n) << 80 | 0x7000 << 64 | 1 << 63 | n))


class Counted:
    """Counts the tasks that refills look at."""

    def __init__(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looked_at = 0
        self.asked = 0
        backlogs = stage.stores.backlogs
        read, find = backlogs.read_backlog, backlogs.find_boundary

        async def read_backlog(*args: Any, **said: Any) -> Any:
            batch = await read(*args, **said)
            self.looked_at += batch.looked_at
            self.asked += 1
            return batch

        async def find_boundary(*args: Any, **said: Any) -> Any:
            self.asked += 1
            return await find(*args, **said)

        monkeypatch.setattr(backlogs, "read_backlog", read_backlog)
        monkeypatch.setattr(backlogs, "find_boundary", find_boundary)


async def push(stage: Stage, *task_ids: str) -> None:
    await stage.stores.dispatcher.push("default", list(task_ids), lane=Lane.NORMAL)


class Minute(Struct, frozen=True):
    """The cost of a minute beside a backlog, and the deliveries that workers took."""

    asked: int
    looked_at: int
    slow: int
    honest: list[str]


async def minute(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, *, backlog: int, begins: str
) -> Minute:
    """A minute in which the slow client submits a task in each second."""
    counted = Counted(stage, monkeypatch)
    now_ms = time.time_ns() // 1_000_000
    await stage.plain.execute(
        ENDED, (now_ms - BEHIND_MS + 1_000_000, (BEHIND_MS - 2_000_000) // HISTORY, HISTORY)
    )
    honest = sorted(submission().task_id for _ in range(backlog))
    await stage.stores.tasks.submit(
        [submission(task_id=i) for i in honest], retention_seconds=RETENTION
    )
    slow = [slow_id(now_ms, n) for n in range(SECONDS)]

    async def submit_slowly(task_id: str) -> None:
        await stage.stores.tasks.submit([submission(task_id=task_id)], retention_seconds=RETENTION)
        await push(stage, task_id)

    await push(stage, *honest[:WINDOW])
    await submit_slowly(slow[0]) if begins == "with the slow one" else None
    await push(stage, *honest[WINDOW : 2 * WINDOW])
    clock, taken = FakeClock(), list[str]()
    duty = Refill(stage.engine.stores, clock=clock)
    for n in range(1, SECONDS):
        await submit_slowly(slow[n])
        if begins != "while no worker takes anything" or n > SECONDS // 2:
            taken += [
                value.decode()
                for value in await stage.redis.lpop(KEYS.ready("default", Lane.NORMAL), TAKEN) or []
            ]
        await duty.run_once()
        clock.now += 1.0
    monkeypatch.undo()
    # a delivery that is pushed into a range that is being read may come twice (refill.py)
    seen = dict.fromkeys(taken)
    of_honest = [task_id for task_id in seen if task_id in set(honest)]
    assert of_honest == honest[: len(of_honest)], "in order, and none is passed over"

    return Minute(counted.asked, counted.looked_at, len(seen) - len(of_honest), of_honest)


@pytest.mark.parametrize(
    "begins", ["with an honest one", "with the slow one", "while no worker takes anything"]
)
async def test_its_tasks_come_through_and_no_backlog_is_read_for_them(
    narrow: Stage, monkeypatch: pytest.MonkeyPatch, begins: str
) -> None:
    found = []
    for backlog in (1_000, 20_000):
        async with person(narrow.engine.config) as psql:
            await psql.execute("truncate leaseq.tasks cascade")
        await narrow.redis.flushall()
        found.append(await minute(narrow, monkeypatch, backlog=backlog, begins=begins))
    few, many = found
    assert (many.asked, many.looked_at) == (few.asked, few.looked_at)
    # A backlog that begins with a task of the slow client begins two days ago: tasks that ended
    # since are read once.
    history = 0 if begins == "with an honest one" else HISTORY
    assert many.looked_at <= history + 6 * SECONDS
    assert many.slow >= SECONDS - 10
    assert len(many.honest) >= SECONDS // 2
