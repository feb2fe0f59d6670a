"""The cost of counting a task, with the tally and with the library's counters.

`python -m bench.counting` prints nanoseconds of CPU for each task, in rounds that take turns, and
their share of the CPU that a worker needs for a drained task. Both sides count what a plain task
needs: a start with its wait, an ending with its outcome, the state of the task, and its duration. The library is
used as it is meant to be: a registry of the process, no multiprocess mode, labels resolved once for
each queue and type.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import process_time

from prometheus_client import CollectorRegistry, Counter, Histogram

from leaseq.metrics.exposition import EXPOSED
from leaseq.metrics.tally import Tally
from leaseq.model import Outcome, State

SUCCEEDED, SUCCESS = Outcome.SUCCEEDED, State.SUCCESS
ROUNDS = 9
TASKS = 200_000
# CPU of a worker for a drained task, in microseconds (`make bench ARGS="cpu"`, docs/benchmarks.md).
WORKER_MICROSECONDS = 44.0
# Tasks from one report of a worker process to the next.
IN_A_SECOND = 20_000
# Durations of a handler that does nothing, of one that asks a store, and of one that works.
DURATIONS = (0.0006, 0.012, 0.4)


def nothing() -> Callable[[float], None]:
    """The loop alone."""

    def count(seconds: float) -> None:
        return

    return count


def own() -> Callable[[float], None]:
    """The tally, as an attempt uses it."""
    tally = Tally()

    def count(seconds: float) -> None:
        counts = tally.of_task("billing", "charge")
        counts.starts.append(seconds)
        counts.successes.append(seconds)
        if len(counts.starts) == IN_A_SECOND:
            tally.take()

    return count


def library() -> Callable[[float], None]:
    """The library's counters and histogram, with labels that were resolved before."""
    registry = CollectorRegistry()
    names = ("queue", "type")
    started = Counter("started", "started", names, registry=registry).labels("billing", "charge")
    outcomes = Counter("attempts", "attempts", (*names, "outcome"), registry=registry)
    states = Counter("ended", "ended", (*names, "state"), registry=registry)
    of_outcome = {each: outcomes.labels("billing", "charge", each) for each in Outcome}
    of_state = {each: states.labels("billing", "charge", each) for each in State}
    ran, waited = (
        Histogram(name, name, names, buckets=EXPOSED, registry=registry).labels("billing", "charge")
        for name in ("ran", "waited")
    )

    def count(seconds: float) -> None:
        started.inc()
        waited.observe(seconds)
        of_outcome[SUCCEEDED].inc()
        of_state[SUCCESS].inc()
        ran.observe(seconds)

    return count


SIDES = {"the loop": nothing, "tally": own, "prometheus_client": library}


def measure(make: Callable[[], Callable[[float], None]]) -> float:
    """Nanoseconds of CPU for each task."""
    count = make()
    began = process_time()
    for number in range(TASKS):
        count(DURATIONS[number % len(DURATIONS)])
    return (process_time() - began) / TASKS * 1e9


def main() -> None:
    """Measure all sides in turn, and print the median of each."""
    found: dict[str, list[float]] = {name: [] for name in SIDES}
    for _ in range(ROUNDS):
        for name, make in SIDES.items():
            found[name].append(measure(make))
    loop = median(found["the loop"])
    for name, rounds in found.items():
        cost = median(rounds) - (0 if name == "the loop" else loop)
        share = cost / 1000 / WORKER_MICROSECONDS
        print(
            f"{name:18} {cost:6.0f} ns a task ({min(rounds):.0f} to {max(rounds):.0f}"
            f" with the loop), {share:.2%} of {WORKER_MICROSECONDS:.0f} us"
        )


if __name__ == "__main__":
    main()
