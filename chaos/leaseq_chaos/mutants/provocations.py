"""The scenarios that provoke each bug.

Small scenarios, each with the few faults that a family of bugs is helpless against. The unpatched
code has to stand all of them.

In some of them the reconciler is put out of action: it is the net under every mistake in dispatch,
and finds within seconds what the code above it has dropped, so that a bug there costs time and
breaks no promise. With the net gone, dropped data is lost.
"""

from __future__ import annotations

from collections.abc import Mapping

from leaseq_chaos.scenario import Bounded, Scenario

__all__ = ["PROVOCATIONS"]

# Slow tasks hold a connection to Postgres each; all together must not come near what it allows.
FEW: Mapping[str, str] = {"LEASEQ_CONCURRENCY": "8"}
WITHOUT_NET: Mapping[str, str] = {**FEW, "LEASEQ_RECONCILE_INTERVAL_SECONDS": "3600"}
QUICK: Mapping[str, float] = {"note": 4, "transfer": 3, "plain": 2}
SLOW: Mapping[str, float] = {"slow": 5, "note": 2, "transfer": 2, "plain": 1}

_ALL = (
    Scenario(
        name="frozen-workers",
        about="Workers freeze for longer than their lease, in the middle of slow tasks.",
        nemeses={"freeze-worker": 1},
        mix=SLOW,
        tasks_per_second=12,
        gap_seconds=0.5,
        at_once=1,
        # Or a supervisor that wakes would take its children for hung and end them, before they can
        # do what they must not.
        config={**FEW, "LEASEQ_LOOP_STALL_SECONDS": "15"},
    ),
    Scenario(
        name="deaths-without-net",
        about="Children and whole workers die, some as soon as they are born, on slow links; no reconciler looks after them.",
        nemeses={"kill-child": 4, "kill-worker": 2, "kill-newborn": 2, "delay-valkey": 3},
        mix=SLOW,
        tasks_per_second=12,
        gap_seconds=0.7,
        at_once=3,
        config=WITHOUT_NET,
    ),
    Scenario(
        name="interrupted-reapings",
        about="Supervisors die while they take back the tasks of a child that died before them; no reconciler either.",
        nemeses={"kill-reaping-supervisor": 1},
        mix=SLOW,
        tasks_per_second=12,
        gap_seconds=0.7,
        at_once=1,
        reapers=1,
        config=WITHOUT_NET,
    ),
    Scenario(
        name="ledger-restarts",
        about="Postgres dies and comes back, freezes and is slow, while much is submitted.",
        nemeses={"restart-postgres": 3, "freeze-postgres": 2, "delay-postgres": 2},
        mix=QUICK,
        tasks_per_second=60,
        gap_seconds=0.8,
        at_once=2,
        config=FEW,
    ),
    Scenario(
        name="lost-replies",
        about="Valkey gives a worker what it has waited for, and the reply is lost.",
        nemeses={"lose-doorbell-valkey": 1},
        mix=QUICK,
        tasks_per_second=15,
        gap_seconds=0.5,
        at_once=1,
        config=FEW,
    ),
    Scenario(
        name="wiped-dispatch",
        about="Valkey forgets everything, again and again.",
        nemeses={"flushall": 3, "kill-valkey-without-data": 1},
        mix=SLOW,
        tasks_per_second=12,
        gap_seconds=1.0,
        at_once=1,
        config=FEW,
    ),
    Scenario(
        name="cut-off-workers",
        about="Workers are cut off from Valkey for longer than a lease, and from nothing else.",
        nemeses={"stall-valkey": 1, "half-open-valkey": 1},
        mix=SLOW,
        tasks_per_second=12,
        gap_seconds=0.7,
        at_once=2,
        config=FEW,
    ),
    Scenario(
        name="fast-clocks",
        about="The clock of a worker's host jumps, and then the host is lost.",
        nemeses={"clock-and-kill": 1},
        mix=SLOW,
        tasks_per_second=10,
        gap_seconds=4.0,
        at_once=1,
        config=FEW,
    ),
    Scenario(
        name="duplicates",
        about="The same key from several clients at the same time, and deliveries that lie in the lists twice.",
        nemeses={"duplicate-deliveries": 1},
        mix=SLOW,
        tasks_per_second=15,
        gap_seconds=0.5,
        at_once=1,
        config=FEW,
    ),
    Scenario(
        name="erased-tasks",
        about="Many tasks fail, now and then or permanently, and an operator erases them and frees their keys.",
        nemeses={"kill-child": 1},
        mix={"flaky": 3, "refuse": 3, "slow": 4},
        tasks_per_second=12,
        gap_seconds=1.0,
        at_once=1,
        config=FEW,
    ),
    Scenario(
        name="bulk-operations",
        about="An operator cancels and redrives many tasks, while APIs, workers, sessions and Postgres are killed.",
        nemeses={"kill-api": 4, "kill-child": 1, "kill-backends": 2, "restart-postgres": 1},
        mix=QUICK,
        tasks_per_second=10,
        gap_seconds=0.7,
        at_once=2,
        bulk=True,
        config=FEW,
    ),
    Scenario(
        name="stuck-handlers",
        about="Many handlers hang and have to be stopped.",
        nemeses={"kill-child": 1},
        mix={"hang": 3, "note": 4, "slow": 1},
        tasks_per_second=12,
        gap_seconds=2.0,
        at_once=1,
        config=FEW,
    ),
    Scenario(
        name="hung-loops",
        about="The loop of a child stands still for many leases, while its supervisor is well.",
        nemeses={"hang-child": 1},
        mix=SLOW,
        tasks_per_second=10,
        gap_seconds=1.0,
        at_once=2,
        config=FEW,
    ),
    Scenario(
        name="paused-queues",
        about="Queues are paused and resumed, of which dispatch hears nothing: no reconciler copies the flag.",
        nemeses={"pause-queue": 1},
        mix=QUICK,
        tasks_per_second=20,
        gap_seconds=1.0,
        at_once=1,
        config=WITHOUT_NET,
    ),
    Scenario(
        name="moved-ledger",
        about="The address of Postgres moves, and the old server lives on and takes writes.",
        nemeses={"failover-postgres": 1},
        mix=QUICK,
        tasks_per_second=12,
        gap_seconds=1.0,
        at_once=1,
        bounds={"failover-postgres": 4.0},
        has_room=True,
        config=FEW,
    ),
    Scenario(
        name="moved-dispatch",
        about="The address of Valkey moves, and the old server lives on as a replica.",
        nemeses={"demote-valkey": 1},
        mix=QUICK,
        tasks_per_second=12,
        gap_seconds=1.0,
        at_once=1,
        # Such a server is left at its first answer, so that recovery is that of a server that was
        # replaced.
        bounds={"demote-valkey": 4.0},
        has_room=True,
        config=FEW,
    ),
    Scenario(
        name="killed-beside-limits",
        about="Processes that admit tasks and run them die, while the limits change.",
        nemeses={"kill-child": 2, "kill-reaper": 2, "kill-worker": 1},
        mix={"bounded": 4, "bounded_plain": 3},
        tasks_per_second=25,
        gap_seconds=0.8,
        at_once=2,
        bounded=Bounded(),
        config=FEW,
    ),
    Scenario(
        name="killed-beside-schedules",
        about="Reapers die and freeze, and Postgres freezes for longer than an occurrence, while schedules fire each second.",
        nemeses={"kill-reaper": 2, "freeze-reaper": 1, "freeze-postgres": 3, "kill-child": 2},
        mix={"note": 1, "slow": 2},
        tasks_per_second=4,
        gap_seconds=0.8,
        at_once=2,
        reapers=3,
        bounded=Bounded(schedules=20, changes=False),
        config=FEW,
    ),
    Scenario(
        name="rogue-sessions",
        about="Handlers leave everything in their sessions, and use connections of others.",
        nemeses={"poison-meddle": 1, "poison-keep": 1},
        mix={"observe": 4, "meddle": 2, "keep": 4, "linger": 1, "note": 2},
        tasks_per_second=15,
        gap_seconds=1.0,
        at_once=2,
        config=FEW,
    ),
    Scenario(
        name="silent-standbys",
        about="A synchronous standby is silent for longer than a statement may wait, so that clients are refused and ask again.",
        nemeses={"lose-standby-postgres-long": 1},
        mix=QUICK,
        # Few, so that clients have the time to ask again in the silence, and are not answered in
        # one batch with new requests.
        tasks_per_second=1.5,
        clients=4,
        gap_seconds=1.0,
        at_once=1,
        # Shorter than a client of the suite waits, or none would be refused in time to ask again in
        # the silence.
        config={**FEW, "LEASEQ_STATEMENT_TIMEOUT_SECONDS": "0.8"},
    ),
)
PROVOCATIONS: Mapping[str, Scenario] = {scenario.name: scenario for scenario in _ALL}
