"""The nemeses and their durations.

All by the name that schedules and reports use. Spans that are about a lease are parts of the lease
of the usual configuration.
"""

from __future__ import annotations

from collections.abc import Mapping

from leaseq_chaos.nemesis import (
    clocks,
    combined,
    disks,
    failover,
    fleet,
    network,
    poison,
    postgres,
    processes,
    valkey,
)
from leaseq_chaos.nemesis.duplicates import DuplicateDeliveries
from leaseq_chaos.nemesis.failover import FailOver, Fate
from leaseq_chaos.nemesis.fault import Fault
from leaseq_chaos.nemesis.names import ManyQueues
from leaseq_chaos.nemesis.nemesis import Nemesis
from leaseq_chaos.nemesis.newborn import KillNewborn
from leaseq_chaos.nemesis.queues import PauseQueue
from leaseq_chaos.nemesis.replica import ReplaceValkey
from leaseq_chaos.scenario import DEFAULT_CONFIG

__all__ = ["NEMESES"]

LEASE = float(DEFAULT_CONFIG["LEASEQ_LEASE_SECONDS"])
DOWN = (0.3, 3.0)
CLOCK = (3.0, 8.0)
BRIEFLY = (0.3 * LEASE, 0.9 * LEASE)
BEYOND = (1.5 * LEASE, 2.5 * LEASE)
# Longer than the bound of recovery: what only goes on when the old primary ends is found.
LIVES_ON = (9.0, 12.0)

ROGUES = ("meddle", "keep", "linger", "sever", "finish", "leave")

_PROCESSES = (
    processes.KillChild("kill-child"),
    processes.KillService("kill-supervisor", DOWN, kind="worker", children=False),
    processes.KillService("kill-worker", DOWN, kind="worker", children=True),
    processes.KillService("kill-reaper", DOWN, kind="reaper", children=True),
    processes.KillService("kill-api", DOWN, kind="api", children=True),
    KillNewborn("kill-newborn", DOWN),
    processes.FreezeChild("freeze-child", BEYOND),
    processes.HangChild("hang-child", (5 * LEASE, 6 * LEASE)),
    processes.FreezeService("freeze-worker-briefly", BRIEFLY, kind="worker"),
    processes.FreezeService("freeze-worker", BEYOND, kind="worker"),
    processes.FreezeService("freeze-reaper", BEYOND, kind="reaper"),
    processes.FreezeService("freeze-api", (0.5, 4.0), kind="api"),
    combined.PauseAndKill("pause-and-kill", DOWN),
    combined.KillReapingSupervisor("kill-reaping-supervisor", DOWN),
)
_FLEET = (
    fleet.RollingRestart("rolling-restart", (6.0, 10.0)),
    fleet.MoreReapers("more-reapers", (2.0, 6.0)),
    fleet.MixedVersions("mixed-versions", (4.0, 10.0)),
    PauseQueue("pause-queue", BEYOND),
    ManyQueues("many-queues", (6.0, 10.0), queues=1000, tasks=1),
    ManyQueues("many-backlogs", (6.0, 10.0), queues=400, tasks=4),
)
_POISON = tuple(
    poison.Poison(task_type) for task_type in ("segfault", "bomb", "block", "hang", *ROGUES)
)
_VALKEY = (
    valkey.KillValkey("kill-valkey", DOWN),
    valkey.KillValkey("kill-valkey-without-data", DOWN, forget=True),
    valkey.RestoreValkey("restore-valkey", (0.0, 1.0)),
    valkey.FlushAll("flushall"),
    valkey.FreezeValkey("freeze-valkey", (0.5 * LEASE, 1.5 * LEASE)),
    valkey.FreezeValkey("freeze-valkey-long", (2 * LEASE, 3 * LEASE)),
    valkey.FillValkey("fill-valkey", (0.5, 4.0)),
    valkey.ReadonlyValkey("readonly-valkey", (0.5, 4.0)),
    valkey.SlowValkey("slow-valkey", (0.5, 2.0)),
    ReplaceValkey("demote-valkey", LIVES_ON, demoted=True),
    ReplaceValkey("split-valkey", LIVES_ON, demoted=False),
    DuplicateDeliveries("duplicate-deliveries"),
    network.Partition(
        "lose-doorbell-valkey", (0.5, 1.5), store="valkey", trouble=network.lose_doorbell
    ),
    combined.Together(
        "partition-and-flush",
        (0.5, 4.0),
        first=network.Partition("partition-worker", (0.5, 4.0), store="valkey"),
        second=valkey.FlushAll("flushall"),
    ),
    combined.Together(
        "flush-and-freeze",
        BEYOND,
        first=valkey.FlushAll("flushall"),
        second=processes.FreezeService("freeze-worker", BEYOND, kind="worker"),
    ),
)
_POSTGRES = (
    postgres.KillBackends("kill-backends"),
    postgres.KillBackendHard("kill-backend-hard"),
    postgres.RestartPostgres("restart-postgres", (0.0, 2.0)),
    postgres.FreezePostgres("freeze-postgres", (0.5, 4.0)),
    postgres.ExhaustPostgres("exhaust-postgres", (0.5, 4.0)),
    postgres.ReadonlyPostgres("readonly-postgres", (0.5, 3.0)),
    postgres.LockTasks("lock-tasks", (0.5, 2.0)),
    postgres.LongSnapshot("long-snapshot", (6.0, 12.0)),
    network.Partition(
        "lose-commit-postgres", (0.5, 2.0), store="postgres", trouble=network.lose_commit
    ),
    combined.Together(
        "restart-postgres-and-kill-reaper",
        DOWN,
        first=processes.KillService("kill-reaper", DOWN, kind="reaper", children=True),
        second=postgres.RestartPostgres("restart-postgres", DOWN),
    ),
)
_FAILOVERS = (
    FailOver("failover-postgres", LIVES_ON, fate=Fate.LIVES, synchronous=False),
    FailOver("failover-postgres-sync", LIVES_ON, fate=Fate.LIVES, synchronous=True),
    FailOver("failover-frozen-postgres", LIVES_ON, fate=Fate.FREEZES, synchronous=True),
    FailOver("failover-killed-postgres", DOWN, fate=Fate.DIES, synchronous=False),
    FailOver("failover-readonly-postgres", DOWN, fate=Fate.YIELDS, synchronous=False),
    failover.LoseStandby("lose-standby-postgres", (2.0, 6.0)),
    # So long that a statement is given up and its row can be seen.
    failover.LoseStandby("lose-standby-postgres-long", (13.0, 16.0)),
)
_NETWORK = tuple(
    network.Network(kind, store)
    for kind in network.KINDS
    for store in ("postgres", "valkey", "api")
)
_CLOCKS = (
    clocks.ClockOfService("clock-worker", CLOCK, kind="worker"),
    combined.ClockAndKill("clock-and-kill", (0.3, 1.0)),
    clocks.ClockOfService("clock-reaper", CLOCK, kind="reaper"),
    clocks.ClockOfService("clock-api", CLOCK, kind="api", jumps=clocks.DAYS),
    clocks.ClockOfValkey("clock-valkey", CLOCK),
)
_DISKS = tuple(
    disks.FillDisk(f"fill-{store}-disk", (1.0, 4.0), store=store)
    for store in ("valkey", "postgres")
)

_ALL: tuple[Fault, ...] = (
    *_PROCESSES, *_FLEET, *_POISON, *_VALKEY, *_POSTGRES, *_FAILOVERS, *_NETWORK, *_CLOCKS, *_DISKS,
)  # fmt: skip

NEMESES: Mapping[str, Nemesis] = {nemesis.name: nemesis for nemesis in _ALL}
