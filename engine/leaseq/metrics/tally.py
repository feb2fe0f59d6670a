"""The counts of a process, in plain memory.

A count costs an addition, and an observation a bisection and two additions; the two of each attempt
are made once a second, for all of its type. The library's own counters take a lock for each of
several numbers (docs/decisions/0052-own-counts-the-librarys-words.md).

A worker process hands its counts to its supervisor every second (`take`), which adds them to its
own (`add`). So counts outlive the process, and one that is killed takes those of the last second
with it.

Invariant: a tally has at most `MOST_PAIRS` pairs of queue and type, and as many queues. Further
types are counted as `(other)` in their queue, and further queues as `(other)`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

from msgspec import Struct

from leaseq.metrics.catalogue import METRICS
from leaseq.model import TERMINAL, Outcome, State

MOST_PAIRS = 500
OTHER = "(other)"
# Half steps of powers of two, from 1 ms to 68 minutes. Every second one is exposed.
BOUNDS = tuple(2.0 ** (half / 2) for half in range(-20, 25))

Labels = tuple[str, ...]

# Only a success leads there.
_SUCCESS = State.SUCCESS


class Histogram:
    """How many values were at most as large as each of `BOUNDS`, and their sum."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(BOUNDS, value)] += 1
        self.total += value


class Series(Struct, frozen=True, array_like=True):
    """One series of a metric. `counts`: of a histogram, by the index of the bound, without
    zeros."""

    name: str
    labels: Labels
    value: float
    counts: tuple[tuple[int, int], ...] = ()


class TaskCounts:
    """The counts of one type in one queue. An attempt keeps a reference to it."""

    __slots__ = (
        *("created", "ended", "labels", "ran_seconds", "replayed", "runs"),
        *("starts", "succeeded", "successes", "waited_seconds", "waits"),
    )

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.clear()

    def clear(self) -> None:
        """Begin to count again."""
        self.created = 0
        self.replayed = 0
        self.succeeded = 0
        self.ended: dict[tuple[Outcome, State], int] = {}
        # An attempt only appends to these, and `series` counts them: the seconds that started
        # attempts had waited, and those that successful ones took.
        self.starts: list[float] = []
        self.successes: list[float] = []
        # Two histograms, without what the lists hold.
        self.waits = [0] * (len(BOUNDS) + 1)
        self.waited_seconds = 0.0
        self.runs = [0] * (len(BOUNDS) + 1)
        self.ran_seconds = 0.0

    def settled(self, outcome: Outcome, state: State, seconds: float) -> None:
        """Count the ending of an attempt that was no success, and the state of its task."""
        self._end(outcome, state)
        self.runs[bisect_left(BOUNDS, seconds)] += 1
        self.ran_seconds += seconds

    def lost(self, state: State) -> None:
        """Count an attempt that was settled as lost. It has no known duration."""
        self._end(Outcome.LOST, state)

    def series(self) -> Iterator[Series]:
        """The counts since the last `clear`."""
        self._count_lists()
        if self.created:
            yield Series("leaseq_submissions_total", (*self.labels, "created"), self.created)
        if self.replayed:
            yield Series("leaseq_submissions_total", (*self.labels, "replayed"), self.replayed)
        if started := sum(self.waits):
            yield Series("leaseq_attempts_started_total", self.labels, started)
            yield _packed("leaseq_wait_seconds", self.labels, self.waits, self.waited_seconds)
        endings = dict(self.ended)
        if self.succeeded:
            endings[Outcome.SUCCEEDED, _SUCCESS] = self.succeeded
        if not endings:
            return
        outcomes: dict[str, int] = {}
        states: dict[str, int] = {}
        for (outcome, state), count in endings.items():
            outcomes[outcome] = outcomes.get(outcome, 0) + count
            if state in TERMINAL:
                states[state] = states.get(state, 0) + count
        for name, count in outcomes.items():
            yield Series("leaseq_attempts_total", (*self.labels, name), count)
        for name, count in states.items():
            yield Series("leaseq_tasks_ended_total", (*self.labels, name), count)
        yield _packed("leaseq_attempt_duration_seconds", self.labels, self.runs, self.ran_seconds)

    def _count_lists(self) -> None:
        _count_into(self.waits, self.starts)
        _count_into(self.runs, self.successes)
        self.waited_seconds += sum(self.starts)
        self.ran_seconds += sum(self.successes)
        self.succeeded += len(self.successes)
        self.starts.clear()
        self.successes.clear()

    def _end(self, outcome: Outcome, state: State) -> None:
        self.ended[outcome, state] = self.ended.get((outcome, state), 0) + 1


class Tally:
    """All counts of a process."""

    def __init__(self) -> None:
        self._tasks: dict[Labels, TaskCounts] = {}
        self._counters: dict[tuple[str, Labels], float] = {}
        self._gauges: dict[tuple[str, Labels], float] = {}
        self._histograms: dict[tuple[str, Labels], Histogram] = {}
        self._pairs: set[Labels] = set()
        self._queues: set[str] = set()

    def of_task(self, queue: str, type_name: str) -> TaskCounts:
        """The counts of a type in a queue."""
        found = self._tasks.get((queue, type_name))
        if found is None:
            labels = self._bound_pair(queue, type_name)
            found = self._tasks.get(labels) or self._tasks.setdefault(labels, TaskCounts(labels))
        return found

    def count(self, name: str, *labels: str, amount: float = 1) -> None:
        """Add to a counter."""
        key = name, labels
        before = self._counters.get(key)
        if before is None:
            key = name, self._bound(name, labels)
            before = self._counters.get(key, 0)
        self._counters[key] = before + amount

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Count a value in a histogram."""
        self._histogram(name, labels).observe(value)

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge. It stays with this process: `take` leaves it out."""
        self._gauges[name, self._bound(name, labels)] = value

    def add(self, taken: Iterable[Series]) -> None:
        """Add the counts that another tally has handed over."""
        for series in taken:
            if series.name not in METRICS:  # of a newer version of leaseq
                continue
            if METRICS[series.name].kind == "counter":
                self.count(series.name, *series.labels, amount=series.value)
                continue
            histogram = self._histogram(series.name, series.labels)
            histogram.total += series.value
            for index, count in series.counts:
                histogram.counts[index] += count

    def take(self) -> list[Series]:
        """Hand over all counts, and begin again."""
        taken = list(self._counts())
        for counts in self._tasks.values():
            counts.clear()
        self._counters.clear()
        self._histograms.clear()
        return taken

    def series(self) -> Iterator[Series]:
        """All counts so far, and the gauges."""
        yield from self._counts()
        for (name, labels), value in self._gauges.items():
            yield Series(name, labels, value)

    def _counts(self) -> Iterator[Series]:
        for counts in self._tasks.values():
            yield from counts.series()
        for (name, labels), value in self._counters.items():
            yield Series(name, labels, value)
        for (name, labels), histogram in self._histograms.items():
            yield _packed(name, labels, histogram.counts, histogram.total)

    def _histogram(self, name: str, labels: Labels) -> Histogram:
        found = self._histograms.get((name, labels))
        if found is None:
            key = name, self._bound(name, labels)
            found = self._histograms.setdefault(key, Histogram())
        return found

    def _bound(self, name: str, labels: Labels) -> Labels:
        """The labels under which a series is counted."""
        match METRICS[name].labels:
            case ("queue", "type", *_):
                return (*self._bound_pair(labels[0], labels[1]), *labels[2:])
            case ("queue", *_):
                return (self._bound_queue(labels[0]), *labels[1:])
        return labels

    def _bound_pair(self, queue: str, type_name: str) -> Labels:
        pair = queue, type_name
        if pair in self._pairs:
            return pair
        if len(self._pairs) < MOST_PAIRS:
            self._pairs.add(pair)
            self._queues.add(queue)
            return pair
        return self._bound_queue(queue), OTHER

    def _bound_queue(self, queue: str) -> str:
        if queue not in self._queues:
            if len(self._queues) >= MOST_PAIRS:
                return OTHER
            self._queues.add(queue)
        return queue


# The tally of this process.
TALLY = Tally()


def _count_into(counts: list[int], values: list[float]) -> None:
    """Count values, which it sorts: that is several times cheaper than a bisection for each."""
    values.sort()
    begin = 0
    while begin < len(values):
        index = bisect_left(BOUNDS, values[begin])
        end = bisect_right(values, BOUNDS[index]) if index < len(BOUNDS) else len(values)
        counts[index] += end - begin
        begin = end


def _packed(name: str, labels: Labels, counts: list[int], total: float) -> Series:
    packed = tuple((index, count) for index, count in enumerate(counts) if count)
    return Series(name, labels, total, packed)


__all__ = [
    "BOUNDS",
    "MOST_PAIRS",
    "OTHER",
    "TALLY",
    "Histogram",
    "Labels",
    "Series",
    "Tally",
    "TaskCounts",
]
