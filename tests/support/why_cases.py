"""One forged situation, or several, for each case that `explain` knows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from leaseq.dispatch.delivery_search import DeliveryPlace
from leaseq.ledger.task_facts import CountedTasks, Pace, Remembered
from leaseq.model import Lane, QueueRecord, State
from leaseq.operations.why.facts import Facts, UsualRun
from support.why import (
    BACKLOG,
    FREE_LINE,
    GONE,
    HELD,
    IN_LANE,
    LINE,
    NOW,
    NOWHERE,
    PACE,
    TASK_ID,
    Forged,
    a_reaper,
    a_server,
    a_task,
    a_worker,
    ago,
    an_attempt,
    an_error,
    an_operation,
    facts,
)

PENDING, RUNNING = a_task(), a_task(State.PROCESSING)
DUE = a_task(State.SCHEDULED, run_at=ago(1))
LATER = NOW + timedelta(seconds=40)
RETRIED = a_task(
    State.SCHEDULED,
    run_at=LATER,
    attempt=2,
    retry_count=1,
    error=an_error("error"),
    started_at=ago(9),
)
NOTHING_UNTIL = "nothing, until "


def failed(code: str, **more: Any) -> Facts:
    return facts(a_task(State.FAILED, attempt=3, error=an_error(code), **more))


# The rows of the table in docs/why.md, some of them in several forms.
FORGED: list[Forged] = [
    Forged(
        "pruned",
        facts(
            remembered=Remembered(
                now=NOW,
                task_id=TASK_ID,
                tenant="default",
                queue="mail",
                final_state="SUCCESS",
                created_at=ago(9),
                expires_at=LATER,
            )
        ),
        "It was pruned, and its idempotency key remembers that it ended in SUCCESS.",
        "its key is deleted",
        next_at=LATER,
    ),
    Forged("pruned", facts(), "It is not in the ledger", "nothing"),
    Forged(
        "succeeded",
        facts(a_task(State.SUCCESS, attempt=3)),
        "It succeeded with attempt 3, after 3.0 s of work.",
        "a reaper prunes it",
        next_at=ago(2) + timedelta(days=3),
    ),
    Forged(
        "failed",
        failed("error"),
        "It was given up: 3 attempts did not succeed: ValueError: no luck.",
        NOTHING_UNTIL + "it is redriven",
        needs_person=True,
        action=f"leaseq redrive {TASK_ID}",
    ),
    Forged(
        "failed",
        failed("crashed", crash_count=3),
        "it ended 3 isolation children that ran nothing else",
        NOTHING_UNTIL,
        needs_person=True,
        action="native crash",
    ),
    Forged(
        "failed",
        failed("payload_invalid"),
        "its payload does not fit its handler, and no retry can change that",
        NOTHING_UNTIL,
        needs_person=True,
    ),
    Forged(
        "failed",
        failed("error", erased_at=ago(1)),
        "cannot run again because its contents were erased at 2030-01-01 11:59:59 UTC",
        "a reaper prunes it",
        next_at=ago(2) + timedelta(days=3),
    ),
    Forged(
        "failed",
        failed("error", key_freed_at=ago(1)),
        "cannot run again because its idempotency key was freed",
        "a reaper prunes it",
        next_at=ago(2) + timedelta(days=3),
    ),
    Forged(
        "cancelled",
        facts(
            a_task(State.CANCELLED, attempt=0, started_at=None, error=an_error("cancelled")),
            operations=[an_operation("cancel")],
        ),
        "It was cancelled by ada@ops before it ran.",
        "a reaper prunes it",
        next_at=ago(2) + timedelta(days=3),
        action="leaseq redrive",
    ),
    Forged(
        "expired",
        facts(a_task(State.CANCELLED, expires_at=ago(2), error=an_error("expired"))),
        "It expired: no attempt began before 2030-01-01 11:59:58 UTC.",
        NOTHING_UNTIL,
        needs_person=True,
    ),
    Forged(
        "backing_off",
        facts(RETRIED, last_attempt=an_attempt()),
        "It waits for its next attempt until 2030-01-01 12:00:40 UTC: attempt 2 did not succeed: ValueError: no luck.",
        "a reaper makes it PENDING",
        next_at=LATER,
        action="leaseq cancel",
    ),
    Forged(
        "backing_off",
        facts(replace(RETRIED, loss_count=12, error=an_error("lost"))),
        "12 workers that ran it were lost",
        "a reaper makes it PENDING",
        next_at=LATER,
        action="memory",
    ),
    Forged(
        "handed_back",
        facts(replace(RETRIED, hand_back_count=1, error=an_error("unknown_type"))),
        "no worker that took it has a handler for send",
        "it is due immediately when a worker that has one starts",
        needs_person=True,
        next_at=LATER,
    ),
    Forged(
        "handed_back",
        facts(replace(RETRIED, hand_back_count=1, error=an_error("other_version"))),
        "it was submitted for another version of send than its workers have",
        "it is tried again",
        needs_person=True,
        next_at=LATER,
    ),
    Forged(
        "handed_back",
        facts(
            replace(
                RETRIED, hand_back_count=1, error=an_error("other_version", type="CodecMismatch")
            )
        ),
        "no worker that took it can decode its payload",
        "with the codec and the key",
        needs_person=True,
        next_at=LATER,
    ),
    Forged(
        "delayed",
        facts(a_task(State.SCHEDULED, run_at=LATER)),
        "It was submitted for later, and is due at 2030-01-01 12:00:40 UTC.",
        "a reaper makes it PENDING",
        next_at=LATER,
    ),
    Forged(
        "limit_reached",
        facts(DUE, line=LINE),
        "a permit of limit stripe (key acme), behind 7 tasks of the same key: all 3 with this key are given",
        "when tasks with a permit have ended",
        action="leaseq limits set stripe",
    ),
    Forged("fair_turn", facts(DUE, line=replace(LINE, limit="@mail")), "is fair", "turn comes"),
    Forged(
        "rate_reached",
        facts(DUE, line=replace(FREE_LINE, start_in=1.25)),
        "the next start is in about 1.2 s",
        "when the rate allows a start",
    ),
    Forged("limit_next", facts(DUE, line=FREE_LINE), "and one is free", "a reaper admits it"),
    Forged(
        "due_no_reaper",
        facts(DUE, services=[GONE]),
        "It is due, and no reaper runs.",
        NOTHING_UNTIL + "a reaper is started",
        needs_person=True,
        action="leaseq reaper",
    ),
    Forged(
        "due_failing",
        facts(DUE, services=[a_reaper(failing=["promote"])]),
        "every reaper reports that it cannot promote tasks",
        "when its passes succeed again",
        needs_person=True,
        action="loop.failed",
    ),
    Forged(
        "due_lane_full",
        facts(DUE, dispatch=replace(NOWHERE, lengths={Lane.NORMAL: 20_000})),
        "lane normal of queue mail has no room",
        "when workers have taken tasks from the lane",
    ),
    Forged(
        "due",
        facts(DUE),
        "It is due, and a reaper is about to take it.",
        "a reaper makes it PENDING",
        next_at=NOW + timedelta(seconds=1),
    ),
    Forged(
        "due",
        facts(DUE, operations=[an_operation("redrive")]),
        "It was redriven by ada@ops, and a reaper is about to take it.",
        "a reaper makes it PENDING",
        next_at=NOW + timedelta(seconds=1),
    ),
    Forged(
        "queue_paused",
        facts(
            PENDING,
            queue=QueueRecord(
                name="mail",
                paused=True,
                paused_by="ada@ops",
                paused_reason="deploy",
                paused_at=ago(9),
            ),
        ),
        "It waits because queue mail was paused by ada@ops at 2030-01-01 11:59:51 UTC: deploy.",
        NOTHING_UNTIL + "the queue is resumed",
        needs_person=True,
        action="leaseq queues resume mail",
    ),
    Forged(
        "dispatch_away",
        facts(PENDING, dispatch=None, dispatch_error="Redis does not answer: refused"),
        "no task starts while Redis does not answer",
        NOTHING_UNTIL + "Redis answers again",
        needs_person=True,
    ),
    Forged(
        "dispatch_away",
        facts(DUE, dispatch=None, dispatch_error="Redis does not answer: refused"),
        "no task starts while Redis does not answer",
        NOTHING_UNTIL,
        needs_person=True,
    ),
    Forged(
        "row_locked",
        facts(PENDING, lockers=["pid 17 of role ada@ops"]),
        "another transaction in Postgres has locked its row",
        NOTHING_UNTIL + "that transaction ends",
        needs_person=True,
        action="pg_terminate_backend",
    ),
    Forged(
        "row_locked",
        facts(DUE, lockers=["pid 17 of role ada@ops"]),
        "another transaction in Postgres has locked its row",
        NOTHING_UNTIL,
        needs_person=True,
    ),
    Forged(
        "queue_unserved",
        facts(
            PENDING,
            servers=[
                a_server(serves=False, queues=["mails", "default"], open_count=4, serving_count=0)
            ],
            last_server=a_worker(closed_at=ago(840)),
        ),
        "no worker serves queue mail: 4 workers are open, for default and mails.",
        NOTHING_UNTIL + "a worker that serves mail is started",
        needs_person=True,
        action="workers serve queue mails",
    ),
    Forged(
        "queue_unserved",
        facts(PENDING, servers=[]),
        "no worker serves queue mail: no worker is open.",
        NOTHING_UNTIL,
        needs_person=True,
        action="leaseq worker MODULE:APP --queues mail",
    ),
    Forged(
        "servers_silent",
        facts(PENDING, servers=[a_server(silent_seconds=6.0)]),
        "every worker that serves queue mail is silent",
        NOTHING_UNTIL,
        needs_person=True,
    ),
    Forged(
        "type_unknown",
        facts(PENDING, servers=[a_server(knows=False, types=["sent", "fetch"])]),
        "no worker of queue mail knows send: 1 worker serves it, and they know fetch and sent.",
        NOTHING_UNTIL + "a worker that knows send is started",
        needs_person=True,
        action="workers know sent",
    ),
    Forged(
        "suspect",
        facts(
            a_task(loss_count=2),
            dispatch=replace(IN_LANE, place=DeliveryPlace(Lane.SUSPECT, 0, 0)),
        ),
        "It ran when 2 workers ended, and therefore runs alone",
        "a supervisor starts an isolation child",
        next_at=NOW + timedelta(seconds=2),
    ),
    Forged(
        "taken",
        facts(PENDING, dispatch=HELD),
        "It was taken by worker a1b2c3d4e5f6 (ant.example, supervisor 9), and is about to be claimed.",
        "the worker claims it",
        next_at=NOW + timedelta(seconds=2),
    ),
    Forged(
        "in_lane",
        facts(PENDING, pace=PACE),
        "It waits in lane normal of queue mail for a free slot of a worker.",
        "a worker takes it, in about 10 s",
        next_at=NOW + timedelta(seconds=10),
    ),
    Forged("in_lane", facts(PENDING), "It waits in lane normal", "there is no estimate"),
    Forged(
        "in_lane",
        facts(PENDING, pace=Pace(count=12, span=5_000.0, since_last=1.0, newer=11)),
        "It waits in lane normal",
        "in about 11 h 34 m (the pace is unsteady)",
        needs_person=True,
        next_at=NOW + timedelta(seconds=100 * 5_000 / 12),
    ),
    Forged(
        "backlogged",
        facts(PENDING, dispatch=BACKLOG, pace=PACE, backlog_before=CountedTasks(99, True)),
        "It waits in the ledger: lane normal of queue mail is full",
        "a reaper delivers it in order; a worker takes it, in about 33 m 30 s",
        next_at=NOW + timedelta(seconds=2010),
    ),
    Forged(
        "backlogged",
        facts(PENDING, dispatch=BACKLOG, pace=PACE, backlog_before=CountedTasks(79_999, False)),
        "It waits in the ledger",
        "in about 2 h 46 m",
        needs_person=True,
        next_at=NOW + timedelta(seconds=10_000),
    ),
    Forged(
        "backlogged",
        facts(PENDING, dispatch=BACKLOG, services=[]),
        "No reaper runs that refills the lane.",
        NOTHING_UNTIL + "a reaper is started",
        needs_person=True,
    ),
    Forged(
        "undelivered",
        facts(PENDING, dispatch=NOWHERE),
        "Dispatch has no delivery of it",
        "a reaper delivers it",
        next_at=NOW + timedelta(seconds=5),
    ),
    Forged(
        "undelivered",
        facts(PENDING, dispatch=NOWHERE, services=[GONE]),
        "Dispatch has no delivery of it, and no reaper runs",
        NOTHING_UNTIL + "a reaper is started",
        needs_person=True,
    ),
    Forged(
        "running",
        facts(RUNNING),
        "It runs on worker a1b2c3d4e5f6 (ant.example, supervisor 9), as attempt 1.",
        "its end, or its time-out",
        next_at=NOW + timedelta(seconds=25),
    ),
    Forged(
        "running",
        facts(replace(RUNNING, started_at=ago(5)), usual=UsualRun(500, 1.0, 2.0)),
        "It runs on worker a1b2c3d4e5f6 (ant.example, supervisor 9), as attempt 1.",
        "its end, or its time-out",
        next_at=NOW + timedelta(seconds=25),
    ),
    Forged(
        "running_long",
        facts(replace(RUNNING, started_at=ago(7)), usual=UsualRun(500, 1.0, 2.0)),
        "as attempt 1, for much longer than attempts of its type do.",
        "its end, or its time-out",
        next_at=NOW + timedelta(seconds=23),
        needs_person=True,
        action="leaseq cancel",
    ),
    Forged(
        "overrunning",
        facts(replace(RUNNING, started_at=ago(40))),
        "has not ended at its time-out, 2030-01-01 11:59:50 UTC",
        "its handler returns",
        needs_person=True,
        action="ctx.stopping",
    ),
    Forged(
        "worker_silent",
        facts(RUNNING, worker=a_worker(last_seen=ago(6))),
        "which was last seen at 2030-01-01 11:59:54 UTC.",
        "a reaper closes the worker, unless it goes on, and the task runs again",
        next_at=NOW + timedelta(seconds=4),
    ),
    Forged(
        "worker_silent",
        facts(
            RUNNING,
            worker=a_worker(last_seen=ago(60)),
            services=[replace(a_reaper(), started_at=ago(3))],
        ),
        "which was last seen at 2030-01-01 11:59:00 UTC.",
        "a reaper closes the worker",
        next_at=NOW + timedelta(seconds=7),
    ),
    Forged(
        "worker_silent",
        facts(RUNNING, worker=a_worker(last_seen=ago(60))),
        "which was last seen at 2030-01-01 11:59:00 UTC.",
        "a reaper closes the worker",
        next_at=NOW + timedelta(seconds=2),
    ),
    Forged(
        "worker_silent",
        facts(RUNNING, worker=a_worker(last_seen=ago(6)), services=[]),
        "no reaper runs that would take the task back",
        NOTHING_UNTIL + "the worker goes on, or a reaper is started",
        needs_person=True,
    ),
    Forged(
        "reaper_held_back",
        facts(RUNNING, worker=a_worker(last_seen=ago(6)), services=[a_reaper(braked=True)]),
        "no reaper recovers silent workers at present",
        "after a further lease",
        needs_person=True,
        next_at=NOW + timedelta(seconds=10),
    ),
    Forged(
        "orphaned",
        facts(RUNNING, worker=a_worker(closed_at=ago(1))),
        "was closed, and the task is about to be taken back.",
        "its attempt is settled as lost",
        next_at=NOW + timedelta(seconds=5),
    ),
    Forged(
        "orphaned",
        facts(RUNNING, worker=None, services=[]),
        "is not known any more, and no reaper runs",
        NOTHING_UNTIL,
        needs_person=True,
    ),
    Forged(
        "cancel_asked",
        facts(replace(RUNNING, cancel_requested_at=ago(1)), operations=[an_operation("cancel")]),
        "which was asked by ada@ops at 2030-01-01 11:59:59 UTC to stop it.",
        "its handler is stopped",
        next_at=NOW + timedelta(seconds=2),
    ),
    Forged(
        "unlisted",
        facts(RUNNING, dispatch=NOWHERE),
        "dispatch has lost the mark of that",
        "restores the mark",
        next_at=NOW + timedelta(seconds=3),
    ),
]

__all__ = ["FORGED", "Forged"]
