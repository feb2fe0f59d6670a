"""Many connections submit with few keys, and others end the tasks.

U1: of one key there are never two unfinished tasks. U2: an answer names a task that was unfinished at
some moment between the submission and its answer. Both are judged by the clock of Postgres, from the
rows and from the answers, after everything has stopped.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime
from random import Random
from typing import Any

from msgspec import Struct

from leaseq.codec import FIRST_ID
from leaseq.connections.postgres_connection import Connection
from leaseq.errors import IdempotencyInFlight
from leaseq.ledger.maintenance import Maintenance
from leaseq.ledger.session import Session
from leaseq.ledger.tasks import TaskLedger
from leaseq.model import State, Submitted
from leaseq.operations.submit import Submitter
from leaseq.uniqueness import UniqueKey, UniqueRule
from support.ledger import RETENTION, errored, open_worker, promote_due, submission, succeeded

CLIENTS, SUBMISSIONS, KEYS = 5, 40, 3
LAST_ID = "ffffffff-ffff-7fff-8fff-ffffffffffff"
NOW = "select clock_timestamp()"
# Two tasks of one key, of which one was made while the other was unfinished.
OVERLAPS = """
select a.id::text, b.id::text
from leaseq.tasks as a
join leaseq.tasks as b
    on a.tenant = b.tenant and a.type = b.type and a.unique_hold = b.unique_hold and a.unique_key = b.unique_key
where a.unique_hold = 'while_unfinished' and a.id <> b.id and a.created_at <= b.created_at
    and (a.finished_at is null or a.finished_at > b.created_at)
"""
TOGETHER = """
select unique_key, count(*) from leaseq.tasks
where unique_hold = 'while_unfinished' and state in ('PENDING', 'SCHEDULED', 'PROCESSING')
group by unique_key having count(*) > 1
"""
LIVES = "select id::text, created_at, finished_at from leaseq.tasks"


class Answered(Struct, frozen=True):
    """One answer, and the moments between which it was made."""

    began: datetime
    ended: datetime
    task_id: str
    deduplicated: bool


class Crowd:
    """Everything that goes on at the same time, until the clients are done."""

    def __init__(self, session: Session, plain: Connection, *, rule: UniqueRule, seed: int) -> None:
        self.session = session
        self.ledger = TaskLedger(session)
        self.plain = plain
        self.rule = rule
        self.seed = seed
        self.answers: list[Answered] = []
        self.together: list[Any] = []
        self.counts: Counter[str] = Counter()
        self._done = asyncio.Event()

    async def run(self, worker: str, *others: Any) -> None:
        going = [asyncio.create_task(other) for other in (self.work(worker), self.watch(), *others)]
        async with asyncio.TaskGroup() as clients:
            for number in range(CLIENTS):
                clients.create_task(self.submit(Random(f"{self.seed} {number}")))
        self._done.set()
        await asyncio.gather(*going)

    async def now(self) -> datetime:
        async with self.session.pool.connection() as conn:
            found = await (await conn.execute(NOW)).fetchone()
        assert found is not None
        moment: datetime = found[0]
        return moment

    async def submit(self, random: Random) -> None:
        submitter = Submitter(self.ledger, retention_seconds=RETENTION)
        for n in range(SUBMISSIONS):
            keys = [f"k{random.randrange(KEYS)}" for _ in range(random.choice((1, 1, 4)))]
            batch = [
                submission(
                    unique=UniqueKey(key, self.rule),
                    delay_seconds=self.rule.delay_seconds,
                    payload=b'{"n":%d}' % n,
                    idempotency_key=random.choice((None, f"i{random.randrange(40)}{key}")),
                    fingerprint=b"same",
                )
                for key in keys
            ]
            began = await self.now()
            answers = await submitter.write(batch)
            ended = await self.now()
            for one, answer in zip(batch, answers, strict=True):
                self.counts[type(answer).__name__] += 1
                if isinstance(answer, Submitted):
                    # a replay may name a task that has ended
                    if answer.deduplicated or not answer.replayed:
                        self.answers.append(
                            Answered(began, ended, answer.task_id, answer.deduplicated)
                        )
                else:
                    assert isinstance(answer, IdempotencyInFlight), (one, answer)

    async def work(self, worker: str) -> None:
        random = Random(f"{self.seed} worker")
        while not self._done.is_set():
            found = await self.plain.execute(
                "select id::text from leaseq.tasks where state = 'PENDING'"
            )
            ids = [row[0] for row in await found.fetchall()]
            claimed = await self.ledger.claim(ids, worker_id=worker)
            await self.ledger.settle(
                [
                    errored(each.claim, then=State.FAILED)
                    if random.random() < 0.3
                    else succeeded(each.claim)
                    for each in claimed
                ]
            )
            await promote_due(self.ledger, limit=50)

    async def watch(self) -> None:
        async with self.session.pool.connection() as conn:
            while not self._done.is_set():
                self.together += await (await conn.execute(TOGETHER)).fetchall()

    async def operate(self) -> None:
        """Cancel and redrive tasks, and prune them."""
        random = Random(f"{self.seed} operator")
        maintenance = Maintenance(self.session)
        while not self._done.is_set():
            async with self.session.pool.connection() as conn:
                found = await conn.execute(
                    "select id::text from leaseq.tasks order by id desc limit 8"
                )
                ids = [row[0] for row in await found.fetchall()]
            for task_id in ids:
                match random.randrange(4):
                    case 0:
                        self.counts["cancelled"] += len(
                            await self.ledger.cancel([task_id], tenant=None)
                        )
                    case 1:
                        self.counts["redriven"] += len(
                            await self.ledger.redrive([task_id], tenant=None)
                        )
                    case _:
                        await asyncio.sleep(0)
            await maintenance.prune_tasks(
                after=FIRST_ID, before=LAST_ID, retention_seconds=0.2, limit=1_000
            )


async def test_of_a_key_one_task_is_unfinished_and_answers_name_it(
    session: Session, plain: Connection, worker_ledger: Any
) -> None:
    crowd = Crowd(session, plain, rule=UniqueRule(), seed=1)
    await crowd.run(await open_worker(worker_ledger))
    assert crowd.together == []
    assert await (await plain.execute(OVERLAPS)).fetchall() == []
    lives = {row[0]: row[1:] for row in await (await plain.execute(LIVES)).fetchall()}
    late = [
        each
        for each in crowd.answers
        if lives[each.task_id][0] > each.ended
        or (lives[each.task_id][1] is not None and lives[each.task_id][1] < each.began)
    ]
    assert late == []
    made = len({each.task_id for each in crowd.answers if not each.deduplicated})
    assert made == len(lives) > KEYS
    assert sum(each.deduplicated for each in crowd.answers) > 50


async def test_of_a_key_one_task_is_unfinished_while_tasks_are_cancelled_redriven_and_pruned(
    session: Session, plain: Connection, worker_ledger: Any
) -> None:
    crowd = Crowd(session, plain, rule=UniqueRule(on_conflict="replace"), seed=3)
    await crowd.run(await open_worker(worker_ledger), crowd.operate())
    assert crowd.together == []
    assert crowd.counts["redriven"] > 0
    assert crowd.counts["cancelled"] > 0


async def test_the_newest_payload_of_a_burst_runs_beside_promotions(
    session: Session, plain: Connection, worker_ledger: Any
) -> None:
    rule = UniqueRule("debounce", delay_seconds=0.01, max_wait_seconds=0.03)
    crowd = Crowd(session, plain, rule=rule, seed=4)
    await crowd.run(await open_worker(worker_ledger))
    left = await (
        await plain.execute(
            "select count(*) from leaseq.tasks as t where t.state = 'SCHEDULED' and not exists "
            "(select from leaseq.scheduled as s where s.task_id = t.id and s.run_at = t.run_at)"
        )
    ).fetchone()
    assert left == (0,)
    newest = await (
        await plain.execute(
            "select u.key, t.payload ->> 'n' from leaseq.uniques as u join leaseq.tasks as t on t.id = u.task_id"
        )
    ).fetchall()
    assert {n for _, n in newest} <= {str(n) for n in range(SUBMISSIONS - 15, SUBMISSIONS)}
