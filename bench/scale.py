"""The scale of a run: large enough for meaningful figures, or just a smoke test."""

from __future__ import annotations

from msgspec import Struct


class Scale(Struct, frozen=True, kw_only=True):
    """Numbers of tasks, seconds, and kills. `settings`: what of the configuration differs from the
    default. `paths`: of `pages`, instead of those in paths.txt."""

    runs: int = 3
    drain_tasks: int = 100_000
    bulk_tasks: int = 20_000
    single_tasks: int = 2_000
    concurrent_tasks: int = 20_000
    http_seconds: float = 8.0
    turn_seconds: float = 1.5
    turns: int = 10
    rounds: int = 10
    latency_tasks: int = 300
    kills: int = 20
    lost_workers: int = 5
    many_kills: int = 5
    in_flight: int = 10_000
    beside_tasks: int = 100_000
    deep: int = 1_000_000
    aged: int = 10_000_000
    backlog: int = 1_000_000
    backlog_seconds: float = 10.0
    due: int = 1_000_000
    old: int = 1_000_000
    overload_seconds: float = 60.0
    shed_seconds: float = 20.0
    names: int = 10_000
    served: int = 200
    behind: int = 500
    idle_seconds: float = 30.0
    moving_seconds: float = 20.0
    followers: int = 2_000
    followed_ends: int = 1_000
    calm_seconds: int = 3
    dashboards: int = 10
    watched_rounds: int = 4
    watched_seconds: float = 2.0
    shown: int = 10_000_000
    asked: int = 50
    asked_cold: int = 3
    paths: tuple[str, ...] = ()
    settings: dict[str, str] = {}


QUICK = Scale(
    runs=1,
    drain_tasks=5_000,
    bulk_tasks=2_000,
    single_tasks=300,
    concurrent_tasks=2_000,
    http_seconds=2.0,
    turn_seconds=0.2,
    turns=2,
    rounds=1,
    latency_tasks=50,
    kills=1,
    lost_workers=1,
    many_kills=1,
    in_flight=1_000,
    beside_tasks=2_000,
    deep=20_000,
    aged=100_000,
    backlog=5_000,
    backlog_seconds=0.5,
    due=5_000,
    old=5_000,
    overload_seconds=4.0,
    shed_seconds=4.0,
    names=100,
    served=10,
    behind=5,
    idle_seconds=2.0,
    moving_seconds=3.0,
    followers=50,
    followed_ends=40,
    calm_seconds=0,
    watched_rounds=1,
    watched_seconds=1.0,
    shown=50_000,
    asked=10,
    asked_cold=0,
)
