"""Is the table of transitions the truth: does every verb, tried from every state, make those transitions and no other?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from fix_ledger import (
    RETENTION,
    cancelled,
    claim,
    errored,
    open_worker,
    promote_due,
    released,
    submission,
    submit,
    succeeded,
)
from leaseq.codec import FIRST_ID
from leaseq.connect import Connection
from leaseq.ledger.fleet import Fleet
from leaseq.ledger.ledger import Ledger
from leaseq.ledger.upkeep import Pruned, Upkeep
from leaseq.lifecycle import TRANSITIONS
from leaseq.model import Lease, State, Submission

# What each attack needs to know: the task, a lease that would fit if it were running, and an open worker.
Attack = Callable[[Ledger, Lease, str], Awaitable[object]]

ATTACKS: dict[str, tuple[str, Attack]] = {
    "promote": ("promote", lambda ledger, lease, worker: promote_due(ledger, limit=10)),
    "claim": ("claim", lambda ledger, lease, worker: ledger.claim([lease.task_id], worker_id=worker)),
    "cancel": ("cancel", lambda ledger, lease, worker: ledger.cancel([lease.task_id], tenant="default")),
    "redrive": ("redrive", lambda ledger, lease, worker: ledger.redrive([lease.task_id], tenant="default")),
    "progress": ("progress", lambda ledger, lease, worker: ledger.set_progress(lease, b"1")),
    "succeed": ("settle", lambda ledger, lease, worker: ledger.settle([succeeded(lease)])),
    "fail": ("settle", lambda ledger, lease, worker: ledger.settle([errored(lease, then=State.FAILED)])),
    "retry": ("settle", lambda ledger, lease, worker: ledger.settle([errored(lease)])),
    "release": ("settle", lambda ledger, lease, worker: ledger.settle([released(lease)])),
    "stop": ("settle", lambda ledger, lease, worker: ledger.settle([cancelled(lease)])),
}


async def _in_state(ledger: Ledger, state: State, worker: str) -> Lease:
    """A task that was claimed once and came to be in that state, with the lease of that attempt."""
    task_id = await submit(ledger)
    lease = await claim(ledger, task_id, worker)
    endings = {
        State.PENDING: released(lease),
        State.SCHEDULED: errored(lease),
        State.SUCCESS: succeeded(lease),
        State.FAILED: errored(lease, then=State.FAILED),
        State.CANCELLED: cancelled(lease),
    }
    if state is not State.PROCESSING:
        assert (await ledger.settle([endings[state]]))[task_id].state is state
    return lease


@pytest.mark.parametrize("state", State)
async def test_no_verb_makes_a_transition_that_is_not_in_the_table(
    ledger: Ledger, fleet: Fleet, plain: Connection, state: State
) -> None:
    worker = await open_worker(fleet)
    allowed = {(verb, to) for source, verb, to in TRANSITIONS if source is state}
    made = set()
    for verb, attack in ATTACKS.values():
        lease = await _in_state(ledger, state, worker)
        # Whatever the state: promote finds the task among those that are due.
        await plain.execute("truncate leaseq.scheduled")
        await plain.execute("insert into leaseq.scheduled values (%s, now())", [lease.task_id])
        await attack(ledger, lease, worker)
        after = (await ledger.find_states([lease.task_id]))[lease.task_id]
        if after is not state:
            made.add((verb, after))
    assert made == allowed


@pytest.mark.parametrize("said", [submission(), submission(delay_seconds=60.0)])
async def test_submit_makes_the_transitions_of_the_table(ledger: Ledger, said: Submission) -> None:
    await ledger.submit([said], retention_seconds=RETENTION)
    state = (await ledger.find_states([said.task_id]))[said.task_id]
    assert (None, "submit", state) in TRANSITIONS


@pytest.mark.parametrize("state", State)
async def test_only_what_is_finished_and_old_enough_is_pruned(ledger: Ledger, fleet: Fleet, upkeep: Upkeep, state: State) -> None:
    lease = await _in_state(ledger, state, await open_worker(fleet))
    last = "ffffffff-ffff-ffff-ffff-ffffffffffff"

    assert await upkeep.prune_tasks(after=FIRST_ID, before=last, retention_seconds=3600, limit=10) == Pruned(lease.task_id, 0)
    pruned = await upkeep.prune_tasks(after=FIRST_ID, before=last, retention_seconds=0, limit=10)

    terminal = state in (State.SUCCESS, State.FAILED, State.CANCELLED)
    assert pruned == Pruned(lease.task_id, 1 if terminal else 0)
    assert (lease.task_id in await ledger.find_states([lease.task_id])) is not terminal
