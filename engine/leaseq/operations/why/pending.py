"""Explain tasks in PENDING: something between them and a free slot of a worker."""

from __future__ import annotations

from leaseq.ledger.task_facts import OpenWorker
from leaseq.model import Lane, Moment, TaskSummary
from leaseq.operations.why.answer import Verdict
from leaseq.operations.why.estimate import Estimate, estimate
from leaseq.operations.why.facts import Facts
from leaseq.operations.why.wording import (
    count,
    listed,
    moment,
    nearest,
    queues_of,
    worker_name,
)

# An isolation child is started within about a second, and so is a claim made.
ISOLATED_WITHIN_SECONDS = 2.0
# The reconciler delivers a task again that has had no delivery for five seconds.
DELIVERED_WITHIN_SECONDS = 5.0
# A wait of which a person should know.
LONG_SECONDS = 3600.0


def explain_pending(facts: Facts, task: TaskSummary) -> Verdict:
    """A task that is ready. The first obstacle counts."""
    if facts.queue is not None and facts.queue.paused:
        return _queue_paused(facts, task)
    if facts.dispatch is None and facts.dispatch_error is not None:
        return dispatch_away(task, facts, since=None)
    if facts.lockers:
        return row_locked(facts)
    if not facts.serving:
        return _queue_unserved(facts, task)
    if all(is_silent(facts, worker) for worker in facts.serving):
        return _servers_silent(facts, task)
    if all(worker.knows is False for worker in facts.serving):
        return _type_unknown(facts, task)
    return _delivered(facts, task)


def is_silent(facts: Facts, worker: OpenWorker) -> bool:
    """Whether so many heartbeats of a worker are missing that it may be gone."""
    return worker.silent_seconds > facts.rules.lease_seconds / 2


def dispatch_away(task: TaskSummary, facts: Facts, *, since: Moment | None) -> Verdict:
    """No task starts without Redis."""
    return Verdict(
        case="dispatch_away",
        sentence="It is recorded, and no task starts while Redis does not answer.",
        next="nothing, until Redis answers again",
        since=since,
        actions=["start Redis again, or an empty one: there is nothing to restore"],
        needs_person=True,
    )


def row_locked(facts: Facts) -> Verdict:
    """Claims and promotions leave a locked row out."""
    return Verdict(
        case="row_locked",
        sentence="It waits because another transaction in Postgres has locked its row.",
        next="nothing, until that transaction ends",
        actions=[
            "end the transaction, or its session (`select pg_terminate_backend(pid)`) if it is not meant"
        ],
        needs_person=True,
    )


def _queue_paused(facts: Facts, task: TaskSummary) -> Verdict:
    queue = facts.queue
    assert queue is not None
    by = f" by {queue.paused_by}" if queue.paused_by else ""
    at = f" at {moment(queue.paused_at)}" if queue.paused_at else ""
    reason = f": {queue.paused_reason}" if queue.paused_reason else ""
    return Verdict(
        case="queue_paused",
        sentence=f"It waits because queue {task.queue} was paused{by}{at}{reason}.",
        next="nothing, until the queue is resumed",
        since=queue.paused_at,
        actions=[f"`leaseq queues resume {task.queue}`"],
        needs_person=True,
    )


def _queue_unserved(facts: Facts, task: TaskSummary) -> Verdict:
    cancel = f"`leaseq cancel {task.task_id}`, if it should not run"
    start = f"start a worker that serves it: `leaseq worker MODULE:APP --queues {task.queue}`"
    if not facts.servers:
        sentence = f"It waits because no worker serves queue {task.queue}: no worker is open."
    else:
        served = queues_of(worker.queues for worker in facts.servers)
        open_ones = count(facts.servers[0].open_count, "worker is", "workers are")
        sentence = (
            f"It waits because no worker serves queue {task.queue}: {open_ones} open, for {served}."
        )
    similar = nearest(task.queue, (queue for worker in facts.servers for queue in worker.queues))
    actions = [start, cancel]
    if similar is not None:
        actions.insert(0, f"check the name: workers serve queue {similar}")
    return Verdict(
        case="queue_unserved",
        sentence=sentence,
        next=f"nothing, until a worker that serves {task.queue} is started",
        since=None if facts.last_server is None else facts.last_server.closed_at,
        actions=actions,
        needs_person=True,
    )


def _servers_silent(facts: Facts, task: TaskSummary) -> Verdict:
    silent = max(facts.serving, key=lambda worker: -worker.silent_seconds)
    return Verdict(
        case="servers_silent",
        sentence=f"It waits because every worker that serves queue {task.queue} is silent.",
        next=f"nothing, until one of them goes on, or another worker that serves {task.queue} is started",
        since=facts.after(-silent.silent_seconds),
        actions=["look at the hosts of these workers, and at the network", "start another worker"],
        needs_person=True,
    )


def _type_unknown(facts: Facts, task: TaskSummary) -> Verdict:
    known = {name for worker in facts.serving for name in worker.types or ()}
    workers = count(facts.serving[0].serving_count, "worker serves", "workers serve")
    types = f"they know {listed(known)}" if known else "they know no type"
    similar = nearest(task.type, known)
    actions = [f"start a worker of queue {task.queue} with a handler for {task.type}"]
    if similar is not None:
        actions.insert(0, f"check the name: workers know {similar}")
    return Verdict(
        case="type_unknown",
        sentence=f"It waits because no worker of queue {task.queue} knows {task.type}: {workers} it, and {types}.",
        next=f"nothing, until a worker that knows {task.type} is started",
        actions=actions,
        needs_person=True,
    )


def _delivered(facts: Facts, task: TaskSummary) -> Verdict:
    """The obstacle is the place of its delivery."""
    dispatch = facts.dispatch
    place = None if dispatch is None else dispatch.place
    if place is not None and place.lane is Lane.SUSPECT:
        return _suspect(facts, task)
    if dispatch is not None and dispatch.holders:
        return _taken(facts, dispatch.holders[0])
    if place is not None:
        return _in_lane(facts, task, place.lane)
    if dispatch is not None and dispatch.backlog_since is not None:
        return _backlogged(facts, task)
    return _undelivered(facts, task)


def _suspect(facts: Facts, task: TaskSummary) -> Verdict:
    times = count(task.crash_count + task.loss_count, "worker", "workers")
    return Verdict(
        case="suspect",
        sentence=f"It ran when {times} ended, and therefore runs alone, in an isolation child.",
        next="a supervisor starts an isolation child for it",
        next_at=facts.after(ISOLATED_WITHIN_SECONDS),
        actions=["`leaseq show` has its attempts: look for a crash of the handler"],
    )


def _taken(facts: Facts, worker_id: str) -> Verdict:
    holder = next((each for each in facts.servers if each.worker_id == worker_id), None)
    name = worker_name(worker_id, *(() if holder is None else (holder.host, holder.pid)))
    return Verdict(
        case="taken",
        sentence=f"It was taken by {name}, and is about to be claimed.",
        next="the worker claims it; if the worker dies, it is back in its lane after a lease",
        next_at=facts.after(ISOLATED_WITHIN_SECONDS),
    )


def _in_lane(facts: Facts, task: TaskSummary, lane: Lane) -> Verdict:
    expected = estimate(facts)
    return Verdict(
        case="in_lane",
        sentence=f"It waits in lane {lane} of queue {task.queue} for a free slot of a worker.",
        next=_begins(expected),
        next_at=None if expected is None else facts.after(expected.seconds),
        since=task.run_at,
        actions=["start more workers, or wait"],
        needs_person=expected is not None and expected.seconds > LONG_SECONDS,
    )


def _begins(expected: Estimate | None) -> str:
    if expected is None:
        return "a worker takes it when a slot is free; there is no estimate"
    return f"a worker takes it, {expected.text}"


def _backlogged(facts: Facts, task: TaskSummary) -> Verdict:
    full = f"lane {facts.lane} of queue {task.queue} is full, and other tasks wait before it"
    if not facts.reapers:
        return Verdict(
            case="backlogged",
            sentence=f"It waits in the ledger: {full}. No reaper runs that refills the lane.",
            next="nothing, until a reaper is started",
            since=task.run_at,
            actions=["start a reaper: `leaseq reaper`"],
            needs_person=True,
        )
    expected = estimate(facts)
    return Verdict(
        case="backlogged",
        sentence=f"It waits in the ledger: {full}.",
        next=f"a reaper delivers it in order; {_begins(expected)}",
        next_at=None if expected is None else facts.after(expected.seconds),
        since=task.run_at,
        actions=["start more workers, or wait"],
        needs_person=expected is not None and expected.seconds > LONG_SECONDS,
    )


def _undelivered(facts: Facts, task: TaskSummary) -> Verdict:
    if not facts.reapers:
        return Verdict(
            case="undelivered",
            sentence="Dispatch has no delivery of it, and no reaper runs that delivers it again.",
            next="nothing, until a reaper is started",
            actions=["start a reaper: `leaseq reaper`"],
            needs_person=True,
        )
    return Verdict(
        case="undelivered",
        sentence="Dispatch has no delivery of it: its push is under way, or was lost.",
        next="a reaper delivers it, if the push was lost",
        next_at=facts.after(DELIVERED_WITHIN_SECONDS),
    )


__all__ = ["dispatch_away", "explain_pending", "is_silent", "row_locked"]
