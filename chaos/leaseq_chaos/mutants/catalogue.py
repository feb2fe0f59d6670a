"""The seeded bugs.

The eighteen that a queue of this kind is most often shipped with, and two of our own. Each is a
patch in `patches/` that might have passed a review: on a quiet day every task runs. Where the usual
form of a bug does no harm in this design, `instead` says what takes its place, and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

from msgspec import Struct

__all__ = ["MUTANTS", "Mutant"]


class Mutant(Struct, frozen=True, kw_only=True):
    """One bug, and where it is looked for."""

    name: str
    about: str  # what it does, in one sentence
    provocation: str  # the scenario that brings it out
    expected: frozenset[str]  # the checkers that have something to say of it; one of them suffices
    instead: str = ""
    seed: int = 1
    minutes: float = 0.6

    @property
    def patch(self) -> str:
        return (files("leaseq_chaos.mutants") / "patches" / f"{self.name}.patch").read_text(
            encoding="utf-8"
        )


_ALL = (
    Mutant(
        name="settle-without-fence",
        about="An ending counts from any attempt: the condition on attempt and worker is gone.",
        provocation="frozen-workers",
        expected=frozenset({"fences"}),
        instead="the fence is a pair here, attempt and worker; with either of them left almost nothing would show",
    ),
    Mutant(
        name="push-before-commit",
        about="The delivery is pushed before the task is committed; a worker that is quicker finds nothing and parks it.",
        provocation="deaths-without-net",
        expected=frozenset({"accepted", "convergence"}),
        instead="the same bug, tried without the reconciler, which would push parked tasks again",
    ),
    Mutant(
        name="ack-before-commit",
        about="When Postgres is slow the API reports a task as accepted before its write is complete.",
        provocation="ledger-restarts",
        expected=frozenset({"accepted", "keys"}),
    ),
    Mutant(
        name="release-before-settle",
        about="The delivery leaves the worker's list once the claim is committed, before the handler has run.",
        provocation="deaths-without-net",
        expected=frozenset({"accepted", "convergence"}),
        instead="the same bug, tried without the reconciler, which would find the orphan in the ledger",
    ),
    Mutant(
        name="lease-by-the-workers-clock",
        about="Deadlines of leases are computed with the clock of the worker's host, and reapers believe them.",
        provocation="fast-clocks",
        expected=frozenset({"accepted", "convergence", "recovery"}),
        seed=27,
        minutes=0.8,
    ),
    Mutant(
        name="reap-on-one-word",
        about="The reaper goes by the leases in dispatch alone: the ledger is not asked again before a worker is closed.",
        provocation="cut-off-workers",
        expected=frozenset({"reaps"}),
    ),
    Mutant(
        name="register-after-pull",
        about="A worker is entered in the registers some time after it has begun to pull, so its list has no owner at first.",
        provocation="deaths-without-net",
        expected=frozenset({"accepted", "convergence"}),
        instead="the same bug, tried without the reconciler, which would bring back a list without an owner",
    ),
    Mutant(
        name="blmove-with-retries",
        about="The doorbell sends a BLMOVE again that went through, as redis-py would with its retries.",
        provocation="lost-replies",
        expected=frozenset({"accepted", "convergence"}),
        instead="the audit of the own list is left to errors alone: every three seconds it would find what a retry has hidden",
    ),
    Mutant(
        name="no-audit-of-the-own-list",
        about="The worker's list is not compared with its deliveries in flight.",
        provocation="lost-replies",
        expected=frozenset({"accepted", "convergence"}),
    ),
    Mutant(
        name="no-grace-after-a-loss",
        about="A worker whose lease is gone is dead immediately, also when Valkey has just lost all of them.",
        provocation="wiped-dispatch",
        expected=frozenset({"reaps"}),
        instead="the word of the ledger is dropped too, since a worker that it hears of is never reaped, grace or not",
    ),
    Mutant(
        name="take-back-in-two-steps",
        about="A dead worker's deliveries are taken out of its list by one command, and pushed back by others.",
        provocation="interrupted-reapings",
        expected=frozenset({"accepted", "convergence"}),
        instead="the list goes first and the pushes come after; tried without the reconciler, which would find what fell between",
    ),
    Mutant(
        name="key-looked-up-then-inserted",
        about="An idempotency key is looked for and then inserted, without a constraint that would make it one step.",
        provocation="duplicates",
        expected=frozenset({"keys"}),
        instead="over HTTP there is one tenant, so a constraint that forgets the tenant would show nothing",
    ),
    Mutant(
        name="cancellation-swallowed",
        about="A handler that is to be stopped goes on, and its slot stays taken.",
        provocation="stuck-handlers",
        expected=frozenset({"accepted", "convergence"}),
    ),
    Mutant(
        name="tenant-not-asked",
        about="A task is found by its id alone, so each tenant is shown the tasks of all others.",
        provocation="duplicates",
        expected=frozenset({"tenants"}),
    ),
    Mutant(
        name="erasure-keeps-attempts",
        about="Erasing a task empties its row, and the errors of its attempts stay.",
        provocation="erased-tasks",
        expected=frozenset({"erasures"}),
        minutes=0.3,
    ),
    Mutant(
        name="erasure-keeps-labels",
        about="Erasing a task empties its row, and its labels stay.",
        provocation="erased-tasks",
        expected=frozenset({"labels"}),
        minutes=0.3,
    ),
    Mutant(
        name="set-of-a-redrive-not-fixed",
        about="An operation redrives every dead letter that it meets, whether it failed before the preview or after it.",
        provocation="bulk-operations",
        expected=frozenset({"bulk", "transitions"}),
        minutes=0.4,
    ),
    Mutant(
        name="successor-loses-its-key",
        about="Freeing a key a second time frees it from the task that it stands for by then.",
        provocation="erased-tasks",
        expected=frozenset({"erasures"}),
        minutes=0.3,
    ),
    Mutant(
        name="first-failure-not-listed",
        about="A task that fails in its first attempt does not become a dead letter.",
        provocation="erased-tasks",
        expected=frozenset({"dead_letters"}),
        minutes=0.3,
    ),
    Mutant(
        name="permits-without-a-version",
        about="An admission gives the permits that it has counted, also where another one was faster.",
        provocation="killed-beside-limits",
        expected=frozenset({"limits"}),
        minutes=0.4,
    ),
    Mutant(
        name="permit-of-a-success-kept",
        about="A task that has succeeded keeps its permit until an audit finds it.",
        provocation="killed-beside-limits",
        expected=frozenset({"limits"}),
        minutes=0.4,
    ),
    Mutant(
        name="fired-as-it-was-read",
        about="A reaper fires what it has read, although another one has fired it since.",
        provocation="killed-beside-schedules",
        expected=frozenset({"occurrences"}),
        minutes=0.4,
        instead="the key of each occurrence is not asked either, which would keep the second task away",
    ),
    Mutant(
        name="only-the-newest-occurrence",
        about="Of several occurrences that were missed one is fired, although the schedule catches up with all.",
        provocation="killed-beside-schedules",
        expected=frozenset({"occurrences"}),
        minutes=0.4,
    ),
    Mutant(
        name="commit-not-flushed",
        about="synchronous_commit is off without a refusal: Postgres acknowledges commits that a crash loses.",
        provocation="ledger-restarts",
        # Which commits are forgotten is chance; if they are claims, handlers were started under
        # attempts that never came to be.
        expected=frozenset({"accepted", "keys", "terminal"}),
    ),
    Mutant(
        name="attempt-counted-at-delivery",
        about="The attempt is counted for every delivery that arrives, also of a task that runs elsewhere.",
        provocation="duplicates",
        expected=frozenset({"fences", "transitions", "accepted"}),
    ),
    Mutant(
        name="claim-without-a-look",
        about="A claim takes every delivery: ended tasks are not skipped.",
        provocation="duplicates",
        expected=frozenset({"terminal", "transitions"}),
    ),
    Mutant(
        name="running-tasks-redelivered",
        about="The reconciler redelivers running tasks that are in no list, and a claim takes them over from their worker.",
        provocation="wiped-dispatch",
        expected=frozenset({"fences", "transitions"}),
    ),
    Mutant(
        name="heartbeat-of-a-hung-loop",
        about="The supervisor renews the lease of a child whose loop stands still, and does not end it.",
        provocation="hung-loops",
        expected=frozenset({"recovery"}),
        instead="without the timer of the kernel, too, which ends such a child two leases later",
    ),
    Mutant(
        name="settle-outside-the-transaction",
        about="The success is written on another connection, before the handler's own writes are committed.",
        provocation="frozen-workers",
        expected=frozenset({"effects"}),
    ),
    Mutant(
        name="paused-queue-claimed",
        about="Whether a queue is paused is asked of dispatch alone: a claim takes what it is given.",
        provocation="paused-queues",
        expected=frozenset({"paused"}),
    ),
    Mutant(
        name="replay-without-the-standby",
        about="A repeated submission is answered with what the primary shows, whether a standby has it or not.",
        provocation="silent-standbys",
        expected=frozenset({"standbys"}),
    ),
    Mutant(
        name="old-timeline-believed",
        about="A process that has seen the new primary goes on with its open connections to the old one.",
        provocation="moved-ledger",
        minutes=1.2,  # in half of that one failover happens, which may interrupt nothing
        expected=frozenset({"recovery", "accepted", "convergence"}),
    ),
    Mutant(
        name="demoted-redis-kept",
        about="A connection goes on with a Redis that answers READONLY, because it is open and answers.",
        provocation="moved-dispatch",
        expected=frozenset({"recovery", "accepted", "convergence"}),
    ),
    Mutant(
        name="session-not-reset",
        about="A handler's connection goes back to the pool as the handler left it.",
        provocation="rogue-sessions",
        expected=frozenset({"sessions"}),
    ),
    Mutant(
        name="access-not-checked",
        about="A transaction that is open serves every attempt that has a reference to it.",
        provocation="rogue-sessions",
        expected=frozenset({"sessions"}),
    ),
)
MUTANTS: Mapping[str, Mutant] = {mutant.name: mutant for mutant in _ALL}
