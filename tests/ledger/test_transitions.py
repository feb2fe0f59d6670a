"""Every verb from every state makes the transitions of the table only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from leaseq.codec import FIRST_ID
from leaseq.connections.postgres_connection import Connection
from leaseq.ledger.maintenance import Maintenance, Pruned
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.lifecycle import TRANSITIONS
from leaseq.model import Claim, State, Submission
from support.ledger import (
    RETENTION,
    cancelled,
    claim_task,
    errored,
    open_worker,
    promote_due,
    released,
    submission,
    submit,
    succeeded,
)

# The parameters of each attack: the task, a claim that would fit if it were running, and an open
# worker.
Attack = Callable[[TaskLedger, Claim, str], Awaitable[object]]

ATTACKS: dict[str, tuple[str, Attack]] = {
    "promote": ("promote", lambda ledger, claim, worker: promote_due(ledger, limit=10)),
    "claim": (
        "claim",
        lambda ledger, claim, worker: ledger.claim([claim.task_id], worker_id=worker),
    ),
    "cancel": (
        "cancel",
        lambda ledger, claim, worker: ledger.cancel([claim.task_id], tenant="default"),
    ),
    "redrive": (
        "redrive",
        lambda ledger, claim, worker: ledger.redrive([claim.task_id], tenant="default"),
    ),
    "erase": ("erase", lambda ledger, claim, worker: ledger.erase([claim.task_id], tenant=None)),
    "free": ("free", lambda ledger, claim, worker: ledger.free_keys([claim.task_id], tenant=None)),
    "progress": ("progress", lambda ledger, claim, worker: ledger.set_progress(claim, b"1")),
    "succeed": ("settle", lambda ledger, claim, worker: ledger.settle([succeeded(claim)])),
    "fail": (
        "settle",
        lambda ledger, claim, worker: ledger.settle([errored(claim, then=State.FAILED)]),
    ),
    "retry": ("settle", lambda ledger, claim, worker: ledger.settle([errored(claim)])),
    "release": ("settle", lambda ledger, claim, worker: ledger.settle([released(claim)])),
    "stop": ("settle", lambda ledger, claim, worker: ledger.settle([cancelled(claim)])),
}


async def _in_state(ledger: TaskLedger, state: State, worker: str) -> Claim:
    """A task that was claimed once and came to be in that state, with the claim of that attempt."""
    task_id = await submit(ledger)
    claim = await claim_task(ledger, task_id, worker)
    endings = {
        State.PENDING: released(claim),
        State.SCHEDULED: errored(claim),
        State.SUCCESS: succeeded(claim),
        State.FAILED: errored(claim, then=State.FAILED),
        State.CANCELLED: cancelled(claim),
    }
    if state is not State.PROCESSING:
        assert (await ledger.settle([endings[state]]))[task_id].state is state
    return claim


@pytest.mark.parametrize("state", State)
async def test_no_verb_makes_a_transition_that_is_not_in_the_table(
    ledger: TaskLedger, worker_ledger: WorkerLedger, plain: Connection, state: State
) -> None:
    worker = await open_worker(worker_ledger)
    allowed = {(verb, to) for source, verb, to in TRANSITIONS if source is state}
    made = set()
    for verb, attack in ATTACKS.values():
        claim = await _in_state(ledger, state, worker)
        # In any state: promote finds the task among the scheduled ones.
        await plain.execute("truncate leaseq.scheduled")
        await plain.execute("insert into leaseq.scheduled values (%s, now())", [claim.task_id])
        await attack(ledger, claim, worker)
        after = (await ledger.find_states([claim.task_id]))[claim.task_id]
        if after is not state:
            made.add((verb, after))
    assert made == allowed


@pytest.mark.parametrize("said", [submission(), submission(delay_seconds=60.0)])
async def test_submit_makes_the_transitions_of_the_table(
    ledger: TaskLedger, said: Submission
) -> None:
    await ledger.submit([said], retention_seconds=RETENTION)
    state = (await ledger.find_states([said.task_id]))[said.task_id]
    assert (None, "submit", state) in TRANSITIONS


@pytest.mark.parametrize("state", State)
async def test_only_what_is_finished_and_old_enough_is_pruned(
    ledger: TaskLedger, worker_ledger: WorkerLedger, maintenance: Maintenance, state: State
) -> None:
    claim = await _in_state(ledger, state, await open_worker(worker_ledger))
    last = "ffffffff-ffff-ffff-ffff-ffffffffffff"

    assert await maintenance.prune_tasks(
        after=FIRST_ID, before=last, retention_seconds=3600, limit=10
    ) == Pruned(claim.task_id, 0)
    pruned = await maintenance.prune_tasks(
        after=FIRST_ID, before=last, retention_seconds=0, limit=10
    )

    terminal = state in (State.SUCCESS, State.FAILED, State.CANCELLED)
    assert pruned == Pruned(claim.task_id, 1 if terminal else 0)
    assert (claim.task_id in await ledger.find_states([claim.task_id])) is not terminal
