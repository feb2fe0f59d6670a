"""The scale of the measurements of a contender."""

from __future__ import annotations

from msgspec import Struct

LEAST = 20


class Scope(Struct, frozen=True, kw_only=True):
    """`share`: of the usual numbers of tasks. The rest is about the crash comparison, but for the
    flood of end to end."""

    runs: int = 3
    crash_runs: int = 3
    share: float = 1.0
    flood_seconds: float = 10.0
    crash_tasks: int = 200
    kills: int = 5
    kill_every_seconds: float = 2.0
    # Of a second each, enough for the whole time in which permits are watched.
    hold_tasks: int = 6_000
    # From the last kill on. A contender that is done sooner is watched a little longer: a task may
    # still be done twice.
    patience_seconds: float = 120.0
    watch_seconds: float = 15.0

    def few(self, tasks: int) -> int:
        """The number for a usual number."""
        return max(round(tasks * self.share), LEAST)


QUICK = Scope(
    runs=1,
    crash_runs=1,
    share=0.02,
    flood_seconds=2.0,
    crash_tasks=40,
    kills=1,
    hold_tasks=1_500,
    patience_seconds=20.0,
    watch_seconds=1.0,
)
