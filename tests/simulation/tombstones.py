"""Erasures and freed keys in the state machine: requests, answers and rows.

Both go through an `Operator`, as over HTTP: a row of `leaseq.operations`, then the change, then the
outcome. A crash may lie between any two of them.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from leaseq.errors import TaskConflict, TaskNotFound
from leaseq.ledger.operation_log import Actor as Person
from leaseq.model import DEFAULT_TENANT, TERMINAL, State
from leaseq.operations.engine import Engine
from simulation.model import Life, Model
from simulation.servers import Servers

ERASE, FREE = "erase", "free_key"
PERSON = Person(name="somebody", key_id=None, tenant=DEFAULT_TENANT)
FREEABLE = (State.FAILED, State.CANCELLED)

RESET = "delete from leaseq.operations"
TOMBSTONES = """
select t.id::text, t.state, t.erased_at is not null, t.key_freed_at is not null,
    num_nonnulls(t.payload, t.headers, t.result, t.error, t.progress)
        + (select count(*) from leaseq.attempts as a where a.task_id = t.id),
    (select max(k.fingerprint) from leaseq.idempotency_keys as k where k.task_id = t.id)
from leaseq.tasks as t where t.erased_at is not null or t.key_freed_at is not null
"""
OPERATIONS = "select action, target, outcome from leaseq.operations where action = any(%s)"
DOUBLES = """
select idempotency_key, array_agg(id::text order by id) from leaseq.tasks
where idempotency_key is not null and key_freed_at is null group by 1 having count(*) > 1
"""


class Refusal(Struct, frozen=True):
    """One request that was refused. `moves`: of the task, when the request began."""

    task_id: str
    action: str
    moves: int


class Tombstones:
    """The requests of one run, and the rows that they leave."""

    def __init__(self, servers: Servers, model: Model) -> None:
        self._servers = servers
        self._model = model
        self._refusals: list[Refusal] = []
        self._asked = False

    async def ask(self, engine: Engine, action: str, task_id: str) -> None:
        """Erase a task or free its key, and record the answer."""
        life, operator = self._model.lives[task_id], engine.as_operator(PERSON)
        self._asked = True
        life.asked_for.add(action)
        known, moves = life.state is not None, life.moves
        try:
            await (operator.erase if action == ERASE else operator.free_key)(task_id)
        except TaskConflict:
            self._servers.seen[f"{action} refused"] += 1
            self._refusals.append(Refusal(task_id, action, moves))
        except TaskNotFound:
            if known:
                self._model.complain(task_id, f"is there, and was not found by {action}")
        else:
            life.told.add(action)

    async def look(self) -> None:
        """Compare the ledger with the requests and their answers. A run without requests has nothing
        to compare."""
        if not self._asked:
            return
        sql, model = self._servers.sql, self._model
        done: dict[str, set[str]] = {ERASE: set(), FREE: set()}
        for task_id, state, erased, freed, contents, fingerprint in await sql(TOMBSTONES):
            life = model.lives[task_id]
            for action, is_done in ((ERASE, erased), (FREE, freed)):
                if is_done:
                    done[action].add(task_id)
                    life.undergone.add(action)
            for fault in _faults(life, State(state), erased, freed, contents, fingerprint):
                model.complain(task_id, fault)
        for task_id, life in model.lives.items():
            for action in life.told | life.undergone:
                if task_id not in done[action]:
                    model.complain(task_id, f"was reported as done: {action}, and shows nothing")
        self._compare(await sql(OPERATIONS, [list(done)]), done)
        self._judge_refusals()
        for key, tasks in await sql(DOUBLES):
            model.complain(tasks[-1], f"has the key {key}, which stands for {tasks[0]} as well")

    def _compare(self, rows: list[tuple[Any, ...]], done: dict[str, set[str]]) -> None:
        """No change is without a row, and no row claims a change that there is not."""
        explained = {(action, target) for action, target, outcome in rows if outcome != "refused"}
        for action, target, outcome in rows:
            if outcome == "done" and target not in done[action]:
                self._model.complain(target, f"{action} is recorded as done, and it is not")
        for action, tasks in done.items():
            for task_id in tasks:
                if (action, task_id) not in explained:
                    self._model.complain(task_id, f"{action} has no operation to explain it")

    def _judge_refusals(self) -> None:
        """A refusal is a lie where the task stood all the time as it had to."""
        refusals, self._refusals = self._refusals, []
        for refusal in refusals:
            life = self._model.lives[refusal.task_id]
            fitting = (
                life.state in TERMINAL
                if refusal.action == ERASE
                else life.state in FREEABLE and life.submission.idempotency_key is not None
            )
            if fitting and life.moves == refusal.moves:
                self._model.complain(refusal.task_id, f"{refusal.action} was refused without cause")


def _faults(
    life: Life, state: State, erased: bool, freed: bool, contents: int, fingerprint: str | None
) -> list[str]:
    """The faults of one row that was erased, or whose key was freed."""
    faults = {
        "was erased, and nobody has asked for it": erased and ERASE not in life.asked_for,
        "was erased while it was unfinished": erased and state not in TERMINAL,
        "was erased, and has contents or attempts": erased and contents > 0,
        "was erased, and its key tells of its content": erased and bool(fingerprint),
        "has a freed key, and nobody has asked for it": freed and FREE not in life.asked_for,
        f"has a freed key, and is {state}": freed and state not in FREEABLE,
        "has a freed key that still stands for it": freed and fingerprint is not None,
    }
    return [fault for fault, is_true in faults.items() if is_true]


__all__ = ["ERASE", "FREE", "RESET", "Tombstones"]
