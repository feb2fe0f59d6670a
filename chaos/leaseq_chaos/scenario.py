"""The definition of a scenario.

A named pairing of a workload, faults and recovery bounds. It is data: the schedule and the plan of
operations follow from it and a seed alone, so that the same seed is the same run.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

__all__ = ["DEFAULT_CONFIG", "Bounded", "Scenario"]

# Times short enough that many faults fit into a minute.
DEFAULT_CONFIG: Mapping[str, str] = {
    "LEASEQ_LEASE_SECONDS": "2",
    "LEASEQ_HEARTBEAT_SECONDS": "0.5",
    "LEASEQ_LOOP_STALL_SECONDS": "2",
    "LEASEQ_STATEMENT_TIMEOUT_SECONDS": "3",
    "LEASEQ_CONCURRENCY": "10",
    "LEASEQ_GRACE_SECONDS": "3",
    "LEASEQ_BACKOFF_BASE_SECONDS": "0.1",
    "LEASEQ_BACKOFF_CAP_SECONDS": "2",
    "LEASEQ_MAX_CRASHES": "3",
    "LEASEQ_REAP_INTERVAL_SECONDS": "0.2",
    "LEASEQ_PROMOTE_INTERVAL_SECONDS": "0.1",
    "LEASEQ_RECONCILE_INTERVAL_SECONDS": "0.5",
    # So few that a lane is full after most faults.
    "LEASEQ_DISPATCH_WINDOW": "20",
    "LEASEQ_LOG_FORMAT": "json",
    "LEASEQ_LOG_LEVEL": "info",
}


class Bounded(Struct, frozen=True):
    """The work of an operator of limits and schedules."""

    schedules: int = 0  # each fires once a second
    changes: bool = True  # whether limits are changed


class Scenario(Struct, frozen=True, kw_only=True):
    """One named pairing."""

    name: str
    about: str  # one sentence
    nemeses: Mapping[str, float]  # name -> weight in the draw
    mix: Mapping[str, float]  # task type of the workload -> weight
    tasks_per_second: float = 60.0
    clients: int = 8
    gap_seconds: float = 1.5  # mean time between two faults outside the quiet periods
    at_once: int = 3  # faults that may be open at the same time
    apis: int = 2
    reapers: int = 2
    processes: int = 2  # children of each worker service
    bounds: Mapping[str, float] = {}  # nemesis -> seconds; else the default of the recovery checker
    # do its workers have room for everything, so that waiting for other tasks excuses nothing?
    has_room: bool = False
    bulk: bool = False  # does an operator cancel and redrive many tasks meanwhile?
    # does an operator change limits and keep schedules meanwhile? schedules that fire each second
    bounded: Bounded | None = None
    expects: tuple[str, ...] = ()  # the "sometimes" of checkers/sometimes.py
    config: Mapping[str, str] = {}  # over DEFAULT_CONFIG
