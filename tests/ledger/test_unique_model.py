"""Random histories of unique keys, compared with a model.

The model knows which task a key names, and which one is in the way. Each step of a random history
is taken in both, and both must give the same answer.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from msgspec import Struct

from leaseq.codec import FIRST_ID
from leaseq.connections.postgres_connection import Connection
from leaseq.ledger.limits import LimitLedger
from leaseq.ledger.maintenance import Maintenance
from leaseq.ledger.session import Session
from leaseq.ledger.tasks import TaskLedger
from leaseq.limits import LimitBounds
from leaseq.model import TERMINAL, Claim, State, Submitted
from leaseq.operations.submit import Submitter
from leaseq.uniqueness import UniqueKey, UniqueRule
from support.ledger import RETENTION, errored, open_worker, promote_due, submission, succeeded

LIMIT = "one"
STEPS = 150
LAST_ID = "ffffffff-ffff-7fff-8fff-ffffffffffff"
RULES = (
    UniqueRule(),
    UniqueRule(on_conflict="replace"),
    UniqueRule(period_seconds=300.0),
    UniqueRule("while_waiting"),
    UniqueRule("while_running"),
    UniqueRule("throttle", 300.0),
    UniqueRule("debounce", delay_seconds=300.0, max_wait_seconds=600.0),
)
DUE = """
with due as (
    update leaseq.tasks set run_at = now() - interval '1 second' where id = %s and state = 'SCHEDULED' returning id, run_at
)
update leaseq.scheduled as s set run_at = due.run_at from due where s.task_id = due.id
"""


class Life(Struct):
    """A task as the model has it."""

    rule: UniqueRule
    late: bool  # waits for a time
    limited: bool
    payload: int
    in_period: bool
    state: State = State.SCHEDULED
    claim: Claim | None = None
    begun: bool = False


class Model:
    """The keys and the tasks as they ought to be."""

    def __init__(self) -> None:
        self.lives: dict[str, Life] = {}
        self.holders: dict[tuple[str, str], str] = {}
        self.gone: set[str] = set()  # pruned, and named by a key whose period is not over

    def in_the_way(self, hold: str, key: str) -> str | None:
        """The task that a submission with this key is answered with."""
        task_id = self.holders.get((hold, key))
        life = None if task_id is None else self.lives[task_id]
        if life is None:
            return None
        ended = life.state in TERMINAL
        kept = {
            "while_unfinished": not ended or (life.in_period and life.state is State.SUCCESS),
            "while_waiting": life.state in (State.PENDING, State.SCHEDULED),
            "while_running": not ended and not life.late,
            "throttle": life.in_period,
            "debounce": life.late and not life.begun and not ended,
        }
        return task_id if kept[hold] else None


class Run:
    """One random history."""

    def __init__(self, session: Session, plain: Connection, worker: str, random: Random) -> None:
        self.ledger = TaskLedger(session)
        self.limits = LimitLedger(session)
        self.maintenance = Maintenance(session)
        self.submitter = Submitter(self.ledger, retention_seconds=RETENTION)
        self.plain, self.worker, self.random = plain, worker, random
        self.model = Model()
        self.said: list[str] = []

    async def step(self) -> None:
        steps: list[Any] = [self.submit] * 6
        if self.model.lives:
            steps += [self.make_due, self.start, self.end, self.end, self.cancel, self.redrive]
            steps += [self.end_period, self.prune]
        await self.random.choice(steps)()

    async def submit(self) -> None:
        rule, key = self.random.choice(RULES), self.random.choice("ab")
        late, limited = self.random.random() < 0.3, self.random.random() < 0.3
        delay = rule.delay_seconds or (300.0 if late else None)
        payload = len(self.said)
        one = submission(
            unique=UniqueKey(key, rule),
            delay_seconds=delay,
            payload=b"%d" % payload,
            limit=LIMIT if limited else None,
        )
        expected = self.model.in_the_way(rule.hold, key)
        (answer,) = await self.submitter.write([one])
        assert isinstance(answer, Submitted), answer
        self.said.append(f"submit {rule.hold} {rule.on_conflict} {key}: {answer.task_id}")
        replaced = None if expected is None else self.model.lives[expected]
        if (
            replaced is not None
            and rule.on_conflict == "replace"
            and replaced.state in (State.PENDING, State.SCHEDULED)
        ):
            replaced.state, expected = State.CANCELLED, None
        if expected is not None:
            assert (answer.task_id, answer.deduplicated) == (expected, True)
            if rule.hold == "debounce":
                self.model.lives[expected].payload = payload
            return
        assert (answer.task_id, answer.deduplicated) == (one.task_id, False)
        state = State.SCHEDULED if limited or delay else State.PENDING
        self.model.lives[one.task_id] = Life(
            rule, delay is not None, limited, payload, rule.period_seconds is not None, state
        )
        self.model.holders[rule.hold, key] = one.task_id
        await self.admit()

    async def admit(self) -> None:
        """Give the permit of the limit, if it is free."""
        for lane in (await self.limits.admit(LIMIT)).lanes:
            for task_id in lane.task_ids:
                life = self.model.lives[task_id]
                assert (life.state, life.late, life.limited) == (State.SCHEDULED, False, True)
                life.state = State.PENDING

    def some(self, *states: State) -> str | None:
        ids = [
            task_id
            for task_id, life in self.model.lives.items()
            if life.state in states and task_id not in self.model.gone
        ]
        return self.random.choice(ids) if ids else None

    async def make_due(self) -> None:
        task_id = self.some(State.SCHEDULED)
        if task_id is None:
            return
        await self.plain.execute(DUE, (task_id,))
        await promote_due(self.ledger, limit=10)
        life = self.model.lives[task_id]
        if life.late and not life.limited:
            life.state = State.PENDING
        life.late = False
        await self.admit()

    async def start(self) -> None:
        if (task_id := self.some(State.PENDING)) is None:
            return
        (claimed,) = await self.ledger.claim([task_id], worker_id=self.worker)
        life = self.model.lives[task_id]
        assert life.rule.hold != "debounce" or claimed.payload == b"%d" % life.payload
        life.state, life.claim, life.begun = State.PROCESSING, claimed.claim, True

    async def end(self) -> None:
        if (task_id := self.some(State.PROCESSING)) is None:
            return
        life = self.model.lives[task_id]
        assert life.claim is not None
        then = self.random.choice((State.SUCCESS, State.FAILED, State.SCHEDULED))
        ending = succeeded(life.claim)
        if then is not State.SUCCESS:
            ending = errored(life.claim, then=then, delay=300.0)
        await self.ledger.settle([ending])
        life.state, life.late = then, then is State.SCHEDULED
        await self.admit()

    async def cancel(self) -> None:
        if (task_id := self.some(State.PENDING, State.SCHEDULED)) is None:
            return
        await self.ledger.cancel([task_id], tenant=None)
        self.model.lives[task_id].state = State.CANCELLED
        await self.admit()

    async def redrive(self) -> None:
        if (task_id := self.some(State.FAILED, State.CANCELLED)) is None:
            return
        life = self.model.lives[task_id]
        (key,) = [
            row[0]
            for row in await self._rows(
                "select unique_key from leaseq.tasks where id = %s", task_id
            )
        ]
        holder = self.model.holders.get((life.rule.hold, key))
        refused = (
            life.rule.hold == "while_unfinished"
            and holder not in (None, task_id)
            and self.model.lives[holder or ""].state not in TERMINAL
        )
        redriven = await self.ledger.redrive([task_id], tenant=None)
        assert bool(redriven) != refused
        if refused:
            return
        life.state, life.late = State.SCHEDULED, True  # until it is promoted
        if life.rule.hold == "while_unfinished":
            if holder != task_id:
                life.in_period = False
            self.model.holders[life.rule.hold, key] = task_id
        await self._promote(task_id)

    async def _promote(self, task_id: str) -> None:
        await promote_due(self.ledger, limit=10)
        life = self.model.lives[task_id]
        life.late = False
        if not life.limited:
            life.state = State.PENDING
        await self.admit()

    async def end_period(self) -> None:
        await self.plain.execute("update leaseq.uniques set until = now() - interval '1 second'")
        for life in self.model.lives.values():
            life.in_period = False

    async def prune(self) -> None:
        """Prune all that has ended."""
        await self.plain.execute(
            "update leaseq.tasks set finished_at = now() - interval '1 day' where finished_at is not null"
        )
        await self.maintenance.prune_tasks(
            after=FIRST_ID, before=LAST_ID, retention_seconds=60, limit=1_000
        )
        await self.maintenance.prune_uniques(limit=1_000)
        kept = set(self.model.holders.values())
        for task_id, life in [*self.model.lives.items()]:
            if life.state in TERMINAL:
                # of a holder within its period the key goes on to say how it ended
                if not (life.in_period and task_id in kept):
                    self.model.holders = {
                        name: holder
                        for name, holder in self.model.holders.items()
                        if holder != task_id
                    }
                    del self.model.lives[task_id]
                else:
                    self.model.gone.add(task_id)

    async def _rows(self, sql: str, *values: Any) -> list[Any]:
        return await (await self.plain.execute(sql, values)).fetchall()


@pytest.mark.parametrize("seed", range(3))
async def test_keys_behave_as_the_model_says(
    seed: int, session: Session, plain: Connection, worker_ledger: Any
) -> None:
    await LimitLedger(session).put(LimitBounds(name=LIMIT, concurrency=1))
    run = Run(session, plain, await open_worker(worker_ledger), Random(seed))
    for _ in range(STEPS):
        await run.step()
    assert len(run.said) > STEPS / 5
