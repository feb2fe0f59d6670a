"""Plan which fault happens when.

A pure function of the scenario, the seed and the length of the run. Invariants: a quarter of the
time is quiet, with no fault open; every fault is over before a quiet period begins; two faults on
the same ground (both break the same server, say) never overlap, since healing the one would heal
the other; never more than `at_once` at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from msgspec import Struct

from leaseq_chaos.scenario import Scenario

__all__ = ["PERIOD_SECONDS", "Planned", "Quiet", "Schedule", "ground", "make_schedule"]

# Of four periods, one is quiet; which one, the seed decides.
PERIOD_SECONDS = 8.0
PERIODS = 4
SERVERS = ("postgres", "valkey")
NETWORK = ("delay-", "stall-", "reset-", "one-way-", "half-open-", "drop-reply-", "cut-", "refuse-")
SERVER_FAULTS = {
    "duplicate-deliveries": "valkey",
    "flushall": "valkey",
    "flush-and-freeze": "valkey",
    "partition-and-flush": "valkey",
    "kill-backends": "postgres",
    "kill-backend-hard": "postgres",
    "lock-tasks": "postgres",
    "many-backlogs": "names",
    "many-queues": "names",
}


class Planned(Struct, frozen=True):
    """One fault to come. Times are seconds since the beginning of the storm."""

    number: int
    nemesis: str
    at: float
    seconds: float  # until its heal
    seed: int  # of its own draws: which target, how much


class Quiet(Struct, frozen=True):
    """One quiet period."""

    begin: float
    end: float


class Schedule(Struct, frozen=True):
    """All faults of a run, in the order of their times."""

    seconds: float
    faults: list[Planned]
    quiet: list[Quiet]


def make_schedule(
    scenario: Scenario, *, seed: int, minutes: float, spans: Mapping[str, tuple[float, float]]
) -> Schedule:
    """Draw the schedule. `spans` are the shortest and longest duration of each nemesis, in seconds.

    Nemeses that this machine cannot do are drawn like the others, and left out when their time
    comes: so the seed means the same schedule everywhere.
    """
    rng = Random(f"schedule {scenario.name} {seed}")
    seconds = minutes * 60
    quiet = _quiet_periods(rng, seconds)
    names = sorted(scenario.nemeses)
    weights = [scenario.nemeses[name] for name in names]
    faults: list[Planned] = []
    at = rng.expovariate(1 / scenario.gap_seconds)
    while at < seconds:
        name = rng.choices(names, weights)[0]
        fault = Planned(
            len(faults) + 1,
            name,
            round(at, 3),
            round(rng.uniform(*spans[name]), 3),
            rng.getrandbits(32),
        )
        if _fits(fault, faults, quiet, at_once=scenario.at_once) and at + fault.seconds <= seconds:
            faults.append(fault)
        at += rng.expovariate(1 / scenario.gap_seconds)
    return Schedule(seconds, faults, quiet)


def ground(nemesis: str) -> str | None:
    """The component that two nemeses must not break at the same time; None: nothing in common."""
    if nemesis.startswith(NETWORK):
        return f"links to {nemesis.rpartition('-')[2]}"
    if nemesis in SERVER_FAULTS:
        return SERVER_FAULTS[nemesis]
    return next((server for server in SERVERS if server in nemesis), None)


def _quiet_periods(rng: Random, seconds: float) -> list[Quiet]:
    quiet, begin = [], 0.0
    while begin < seconds:
        start = begin + rng.randrange(PERIODS) * PERIOD_SECONDS
        if start < seconds:
            quiet.append(Quiet(start, min(start + PERIOD_SECONDS, seconds)))
        begin += PERIODS * PERIOD_SECONDS
    return quiet


def _fits(fault: Planned, faults: list[Planned], quiet: list[Quiet], *, at_once: int) -> bool:
    end = fault.at + fault.seconds
    if any(fault.at < period.end and end >= period.begin for period in quiet):
        return False
    open_ones = [other for other in faults if other.at + other.seconds >= fault.at]
    mine = ground(fault.nemesis)
    return len(open_ones) < at_once and (
        mine is None or all(ground(other.nemesis) != mine for other in open_ones)
    )
