"""Compute results from the effects of a run. All times are monotonic nanoseconds.

An orphan is a task that a killed process had begun and not done. It counts as run again from the
first moment after the kill at which any worker began it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median

from msgspec import Struct

from bench.peers.crew import Kill
from bench.peers.sides.effects import END, START, Effect
from bench.processes import BenchFailed

SECONDS = 1e-9  # of a nanosecond
MILLISECONDS = 1e-6


class Recovery(Struct, frozen=True):
    """How a crowd of tasks fared under kills. Seconds: from a kill to the rerun of each orphan that
    was rerun, and from the last kill to the last effect if nothing was lost.
    """

    lost: int
    doubled: int
    orphans: int
    never_rerun: int
    rerun_seconds: list[float]
    done_seconds: float | None


RECOVERY_COLUMNS = (
    "not done",
    "done twice",
    "orphans",
    "never rerun",
    "rerun after s, median",
    "most",
    "all done after the last kill, s",
)


def recovery_cells(runs: Sequence[Recovery]) -> list[str]:
    """The cells of RECOVERY_COLUMNS for several plays. Counts and the last column: the median, and
    the least and the most where they differ; the seconds of reruns: of all plays together."""
    counts = [
        spread([getattr(run, name) for run in runs], "{:.0f}")
        for name in ("lost", "doubled", "orphans", "never_rerun")
    ]
    reruns = [seconds for run in runs for seconds in run.rerun_seconds]
    times = [f"{median(reruns):.1f}", f"{max(reruns):.1f}"] if reruns else ["-", "-"]
    done = [run.done_seconds for run in runs if run.done_seconds is not None]
    ends = spread(done, "{:.1f}") if len(done) == len(runs) else "-"
    return [*counts, *times, ends]


def spread(values: Sequence[float], form: str) -> str:
    """The median of these in a form of `str.format`, with the least and the most where they
    differ."""
    middle, least, most = (form.format(f(values)) for f in (median, min, max))
    return middle if least == most else f"{middle} ({least} to {most})"


def rate(effects: Sequence[Effect]) -> float:
    """Tasks done per second from the first effect to the last. Raises `BenchFailed` if that is no
    time."""
    times = [effect.at_ns for effect in effects if effect.kind == END]
    if len(times) < 2 or max(times) == min(times):
        raise BenchFailed(f"{len(times)} effects make no rate")
    return (len(times) - 1) / ((max(times) - min(times)) * SECONDS)


def middle_rate(effects: Sequence[Effect]) -> float:
    """The same of the middle 80 %: two workers neither begin nor end at one instant."""
    ends = sorted(
        (effect for effect in effects if effect.kind == END), key=lambda effect: effect.at_ns
    )
    tenth = len(ends) // 10
    return rate(ends[tenth : len(ends) - tenth])


def done(effects: Sequence[Effect]) -> Counter[int]:
    """How often was each task done?"""
    return Counter(effect.order_id for effect in effects if effect.kind == END)


def doubled(effects: Sequence[Effect]) -> int:
    """How many tasks were done more than once?"""
    return sum(times > 1 for times in done(effects).values())


def delays_ms(effects: Sequence[Effect], order_ids: range) -> list[float]:
    """From submission to handler of each of these tasks; the first time, if it ran more than
    once."""
    delays: dict[int, float] = {}
    for effect in effects:
        if effect.order_id in order_ids:
            delays.setdefault(effect.order_id, (effect.at_ns - effect.submitted_ns) * MILLISECONDS)
    return list(delays.values())


def within(effects: Sequence[Effect], *, began_ns: int, ended_ns: int) -> int:
    """How many tasks were done in this span?"""
    return len(
        {
            effect.order_id
            for effect in effects
            if effect.kind == END and began_ns <= effect.at_ns <= ended_ns
        }
    )


def judge(effects: Sequence[Effect], kills: Sequence[Kill], *, count: int) -> Recovery:
    """The fate of the tasks 0 to `count`, of which some were running when their worker was
    killed."""
    ends = done(effects)
    lost = sum(order_id not in ends for order_id in range(count))
    reruns = [
        _rerun(effects, kill, order_id) for kill in kills for order_id in _orphans(effects, kill)
    ]
    last_effect = max((effect.at_ns for effect in effects if effect.kind == END), default=0)
    last_kill = max((kill.at_ns for kill in kills), default=0)
    return Recovery(
        lost=lost,
        doubled=doubled(effects),
        orphans=len(reruns),
        never_rerun=reruns.count(None),
        rerun_seconds=[seconds for seconds in reruns if seconds is not None],
        done_seconds=None if lost else max((last_effect - last_kill) * SECONDS, 0.0),
    )


def _orphans(effects: Sequence[Effect], kill: Kill) -> set[int]:
    """Tasks that the killed processes had begun and not done."""
    theirs = [effect for effect in effects if effect.pid in kill.pids]
    begun = Counter(effect.order_id for effect in theirs if effect.kind == START)
    return set(begun - Counter(effect.order_id for effect in theirs if effect.kind == END))


def _rerun(effects: Sequence[Effect], kill: Kill, order_id: int) -> float | None:
    """Seconds until a worker began it again."""
    starts = (
        effect.at_ns
        for effect in effects
        if effect.kind == START
        and effect.order_id == order_id
        and effect.at_ns > kill.at_ns
        and effect.pid not in kill.pids
    )
    first = min(starts, default=None)
    return None if first is None else (first - kill.at_ns) * SECONDS
