"""The scenarios.

One for each part that may break, one with everything, and the short one that every change has to
pass.
"""

from __future__ import annotations

from collections.abc import Mapping

from leaseq_chaos.scenario import Bounded, Scenario

__all__ = ["SCENARIOS"]

MIX: Mapping[str, float] = {
    "note": 6,
    "transfer": 5,
    "plain": 3,
    "flaky": 1.5,
    "later": 1,
    "thread": 1,
    "slow": 2,
    "refuse": 0.3,
    "hang": 0.1,
    "observe": 1,
}
# More tasks in flight: a frozen process then holds some, and is stale when it wakes.
LONGER = {**MIX, "slow": 8}
PROCESSES: Mapping[str, float] = {
    "kill-child": 6,
    "kill-worker": 2,
    "kill-supervisor": 2,
    "kill-reaper": 2,
    "kill-api": 2,
    "kill-newborn": 1,
    "freeze-child": 2,
    "hang-child": 1,
    "freeze-worker": 2,
    "freeze-worker-briefly": 3,
    "freeze-reaper": 2,
    "freeze-api": 2,
    "pause-and-kill": 1,
    "kill-reaping-supervisor": 1,
}
POISON: Mapping[str, float] = {
    "poison-segfault": 1,
    "poison-bomb": 1,
    "poison-block": 1,
    "poison-hang": 1,
}
ROGUES: Mapping[str, float] = {
    "poison-meddle": 4,
    "poison-keep": 3,
    "poison-linger": 2,
    "poison-sever": 2,
    "poison-finish": 1,
    "poison-leave": 2,
}
FAILOVERS: Mapping[str, float] = {
    "failover-postgres": 2,
    "failover-postgres-sync": 2,
    "failover-frozen-postgres": 1,
    "failover-killed-postgres": 1,
    "failover-readonly-postgres": 1,
    "lose-standby-postgres": 1,
    "lose-standby-postgres-long": 1,
    "demote-valkey": 2,
    "split-valkey": 1,
}
VALKEY: Mapping[str, float] = {
    "flushall": 3,
    "kill-valkey": 2,
    "kill-valkey-without-data": 1,
    "restore-valkey": 2,
    "freeze-valkey": 2,
    "freeze-valkey-long": 1,
    "duplicate-deliveries": 1,
    "lose-doorbell-valkey": 1,
    "fill-valkey": 1,
    "readonly-valkey": 1,
    "slow-valkey": 1,
    "partition-and-flush": 1,
    "flush-and-freeze": 1,
    "pause-queue": 2,
}
POSTGRES: Mapping[str, float] = {
    "kill-backends": 4,
    "kill-backend-hard": 2,
    "restart-postgres": 3,
    "freeze-postgres": 2,
    "exhaust-postgres": 1,
    "lose-commit-postgres": 2,
    "readonly-postgres": 2,
    "lock-tasks": 3,
    "long-snapshot": 1,
    "restart-postgres-and-kill-reaper": 1,
}
NETWORK: Mapping[str, float] = {
    f"{fault}-{far}": 1
    for fault in ("delay", "stall", "reset", "one-way", "half-open", "drop-reply", "cut", "refuse")
    for far in ("postgres", "valkey", "api")
}
CLOCKS: Mapping[str, float] = {
    "clock-worker": 1,
    "clock-reaper": 1,
    "clock-valkey": 1,
    "clock-and-kill": 1,
    "clock-api": 1,
}
DISKS: Mapping[str, float] = {"fill-valkey-disk": 1, "fill-postgres-disk": 1}
NAMES: Mapping[str, float] = {"many-queues": 1, "long-snapshot": 6}
DEPLOY: Mapping[str, float] = {
    "rolling-restart": 2,
    "more-reapers": 2,
    "mixed-versions": 2,
    "pause-queue": 2,
    "kill-child": 1,
    "kill-backends": 1,
}


# Everything that admits, fires, runs or keeps a task with a limit dies.
BOUNDED_KILLS: Mapping[str, float] = {
    "kill-child": 3,
    "kill-worker": 2,
    "kill-supervisor": 1,
    "kill-reaper": 2,
    "kill-api": 2,
    "freeze-worker": 2,
    "freeze-reaper": 1,
    "flushall": 1,
    "kill-valkey": 1,
    "restart-postgres": 1,
    "kill-backends": 1,
    "drop-reply-postgres": 1,
}


def _several(*parts: Mapping[str, float]) -> dict[str, float]:
    together: dict[str, float] = {}
    for part in parts:
        total = sum(part.values())
        for name, weight in part.items():
            together[name] = together.get(name, 0.0) + weight / total
    return together


_ALL = (
    Scenario(
        name="short",
        about="The one that every change has to pass: the faults that find most, close together.",
        nemeses={
            "kill-child": 3,
            "kill-worker": 1,
            "freeze-worker": 3,
            "freeze-worker-briefly": 1,
            "kill-reaper": 1,
            "kill-api": 1,
            "flushall": 2,
            "kill-valkey-without-data": 1,
            "restart-postgres": 1,
            "kill-backends": 2,
            "lock-tasks": 1,
            "drop-reply-postgres": 3,
            "lose-commit-postgres": 4,
            "drop-reply-valkey": 3,
            "drop-reply-api": 2,
            "reset-postgres": 1,
            "stall-valkey": 1,
            "poison-segfault": 0.5,
            "poison-meddle": 1,
            "poison-keep": 0.5,
            "poison-leave": 0.5,
            "failover-postgres-sync": 0.7,
            "failover-postgres": 0.7,
            "lose-standby-postgres": 0.7,
            "demote-valkey": 0.7,
            "long-snapshot": 0.5,
        },
        bulk=True,
        mix=LONGER,
        gap_seconds=0.9,
        expects=("fenced", "skipped", "reaped", "rebuilt", "ambiguous", "replayed"),
    ),
    Scenario(
        name="limits",
        about="Tasks with limits and keys, while the limits change and everything is killed.",
        nemeses=_several(BOUNDED_KILLS),
        mix={"bounded": 6, "bounded_plain": 4, "note": 1},
        tasks_per_second=45,
        gap_seconds=1.5,
        at_once=2,
        bounded=Bounded(),
        config={"LEASEQ_CONCURRENCY": "8"},
        expects=("reaped", "rebuilt"),
    ),
    Scenario(
        name="schedules",
        about="Fifty schedules that fire each second, with a limit, while reapers and both stores are killed.",
        nemeses=_several(BOUNDED_KILLS, {"kill-reaper": 3, "freeze-reaper": 2, "more-reapers": 1}),
        mix={"note": 2, "bounded": 1},
        tasks_per_second=6,
        gap_seconds=1.5,
        at_once=2,
        reapers=3,
        bounded=Bounded(schedules=50),
        config={"LEASEQ_CONCURRENCY": "8"},
        expects=("reaped", "rebuilt"),
    ),
    Scenario(
        name="recovery",
        about="One fault at a time, with room to measure how long work stands still after it.",
        nemeses={
            "kill-child": 1,
            "kill-worker": 1,
            "freeze-worker": 1,
            "flushall": 1,
            "kill-valkey": 1,
            "restart-postgres": 1,
        },
        mix=LONGER,
        gap_seconds=5,
        at_once=1,
        expects=("fenced", "reaped", "rebuilt"),
    ),
    Scenario(
        name="processes",
        about="Children, supervisors, workers, reapers and APIs are killed and frozen; poison tasks kill their own worker.",
        nemeses=_several(PROCESSES, PROCESSES, PROCESSES, POISON),
        bulk=True,
        mix=LONGER,
        expects=("fenced", "reaped"),
    ),
    Scenario(
        name="valkey",
        about="Dispatch dies, forgets, remembers too much, freezes, fills up and refuses to write.",
        nemeses=_several(VALKEY, VALKEY, {"kill-child": 1, "freeze-worker": 1}),
        mix=MIX,
        expects=("rebuilt", "skipped"),
    ),
    Scenario(
        name="postgres",
        about="The ledger's sessions are killed, it restarts, freezes, runs out of connections and refuses to write.",
        nemeses=_several(POSTGRES, POSTGRES, {"kill-child": 1, "kill-api": 1}),
        bulk=True,
        mix=MIX,
        expects=("ambiguous", "replayed"),
    ),
    Scenario(
        name="network",
        about="Every way between clients, services and stores is slow, cut, one-way, half-open, or loses replies.",
        nemeses=NETWORK,
        mix=MIX,
        gap_seconds=0.7,
        at_once=4,
        expects=("ambiguous", "replayed", "skipped"),
    ),
    Scenario(
        name="clocks",
        about="The clocks of one worker, one reaper and the dispatch server jump, while workers die.",
        nemeses=_several(CLOCKS, CLOCKS, {"kill-child": 2, "freeze-worker": 1, "kill-reaper": 1}),
        mix=MIX,
        expects=("reaped",),
    ),
    Scenario(
        name="disks",
        about="The disks of both stores fill up and are freed again.",
        nemeses=_several(DISKS, DISKS, {"kill-child": 1, "kill-valkey": 1}),
        mix=MIX,
    ),
    Scenario(
        name="deploy",
        about="Rolling restarts under load, two versions at the same time, one to eight reapers.",
        nemeses=DEPLOY,
        mix=MIX,
        gap_seconds=3,
        apis=2,
    ),
    Scenario(
        name="failovers",
        about="The ledger and dispatch move to other servers, while the old ones live on, freeze, die or lose a standby.",
        nemeses=_several(FAILOVERS, FAILOVERS, {"kill-child": 1, "kill-backends": 1}),
        bulk=True,
        mix=MIX,
        tasks_per_second=30,
        gap_seconds=2,
        at_once=2,
        expects=("replayed",),
    ),
    Scenario(
        name="rogues",
        about="Handlers change their sessions, keep what they were lent, and end their connections, transactions and processes.",
        nemeses=_several(
            ROGUES, ROGUES, {"kill-child": 1, "kill-backends": 1, "restart-postgres": 0.5}
        ),
        mix={**MIX, "observe": 6, "meddle": 2, "keep": 2, "linger": 1},
        gap_seconds=0.5,
        at_once=4,
    ),
    Scenario(
        name="queues",
        about="A thousand queue names, four hundred backlogs and a long snapshot, while workers die and dispatch forgets.",
        nemeses={
            "many-queues": 2,
            "many-backlogs": 2,
            "long-snapshot": 1,
            "kill-worker": 2,
            "kill-child": 2,
            "freeze-worker": 1,
            "flushall": 1,
            "clock-api": 1,
        },
        mix=MIX,
        tasks_per_second=20,
        gap_seconds=2,
        at_once=3,
        # So few that four tasks are a backlog.
        config={"LEASEQ_DISPATCH_WINDOW": "2"},
        expects=("reaped", "overflowed"),
    ),
    Scenario(
        name="everything",
        about="All kinds of faults in one run.",
        nemeses=_several(
            PROCESSES,
            PROCESSES,
            PROCESSES,
            POISON,
            VALKEY,
            VALKEY,
            POSTGRES,
            POSTGRES,
            NETWORK,
            NETWORK,
            CLOCKS,
            DISKS,
            DEPLOY,
            FAILOVERS,
            ROGUES,
            NAMES,
        ),
        bulk=True,
        mix=MIX,
        gap_seconds=0.7,
        at_once=4,
        expects=("fenced", "skipped", "reaped", "rebuilt", "ambiguous", "replayed", "overflowed"),
    ),
)

SCENARIOS: Mapping[str, Scenario] = {scenario.name: scenario for scenario in _ALL}
