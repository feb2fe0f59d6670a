"""Check that work continues within the bound of each kind of fault (G5, I9).

`victims.py` defines whose time is measured, and from when to when. The judged time is the longest
stretch of it in which no other fault came or was open, and some worker was up. Wherever such a
stretch begins, everything is healed, and work has to continue within the bound. Where another fault
touches the time, or ended so shortly before that its own bound is not over, the larger of the
bounds counts. A task of which a failover lost a commit has `LOST_SECONDS`, because the reconciler
has to find it. A fault that cannot delay a recorded task for long (`_harmless`) excuses no delay.
Liveness: after the last heal, everything ends.

A free worker is not guaranteed. A task that waits longer than the bound while other tasks that
waited like it are claimed, one after the other, stands in a line. In a line, the longest time
without a claim is judged. A backlog is taken in the order of ids, which clients make: where a clock
was wrong, the line also has tasks that came later with a smaller id (`_Passers`). If the workers
have room for everything (`Run.has_room`), there are no lines.

In the facts, `count` are all victims of a nemesis, `queued` those that stood in such a line,
`judged` is the longest stretch of any that kept to the bound or that no larger one applied to,
`longest` the longest time as it was. `p50`, `p99` and `max` are of the `alone`: those during whose
time nothing excused the wait (absent if there are none).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from math import ceil

from msgspec import Struct, field

from leaseq_chaos.checkers.answer import answer
from leaseq_chaos.checkers.faults import Fault, faults_of
from leaseq_chaos.checkers.index import ENDED, Index, index, no_commits
from leaseq_chaos.checkers.standstill import Pause, Standstill, workerless
from leaseq_chaos.checkers.victims import HOLDERS, Victim, interrupts, victims_of
from leaseq_chaos.evidence import Evidence, Run
from leaseq_chaos.verdict import Finding, Violation

__all__ = ["bound_of", "check"]

INVARIANT = (
    "After a fault, work goes on within the bound of its kind; after the last one, everything ends."
)

# another child takes over immediately; starting one takes that long on a busy machine
CHILD_SECONDS = 3.0
HARMLESS = frozenset(
    {"kill-child", "more-reapers", "long-snapshot", "many-queues", "many-backlogs"}
)
# For a claim or an ending that a failover lost: three until the reaper knows of the new primary,
# five between its two looks at an attempt that its worker seems to have forgotten, three until that
# worker sweeps its own list, and passes in between.
LOST_SECONDS = 16.0
SLACK_SECONDS = 3.0  # two for the reaper's look and the next claim, one for scarce processors

Lane = tuple[str, int]  # queue and priority


class _Tally(Struct):
    """The measurements of one nemesis, in seconds."""

    count: int = 0
    judged: float = 0.0
    longest: float = 0.0
    alone: list[float] = field(default_factory=list)
    queued: int = 0
    faults: int = 0

    def add(self, victim: Victim, stretch: float, *, queued: bool, counts: bool) -> None:
        """One more victim; `counts`: what it waited is to be compared with the bound of this
        nemesis."""
        waited = _seconds(victim.waited)
        self.count += 1
        self.queued += queued
        self.longest = max(self.longest, waited)
        if counts:
            self.judged = max(self.judged, stretch)
        if stretch == waited:
            self.alone.append(waited)


def bound_of(nemesis: str, run: Run) -> float:
    """Seconds within which work has to go on after such a fault: as the run says, else by the
    lease.

    What holds work and dies or stands still is missed after a lease; a child that stands still,
    after a stall. If a store was away, reapers suspect no worker for one more lease, and only then
    miss what died meanwhile. All of it takes longer on a slow machine.
    """
    return run.slowness * _unscaled(nemesis, run)


def _unscaled(nemesis: str, run: Run) -> float:
    if nemesis in run.bounds:
        return run.bounds[nemesis]
    lease = float(run.config.get("LEASEQ_LEASE_SECONDS", "10"))
    if nemesis == "kill-child":
        return CHILD_SECONDS
    if nemesis in ("freeze-child", "hang-child"):
        return max(lease, float(run.config.get("LEASEQ_LOOP_STALL_SECONDS", "30"))) + SLACK_SECONDS
    if nemesis in HOLDERS:
        return lease + SLACK_SECONDS
    return max(8.0, 2 * lease + SLACK_SECONDS)


def check(evidence: Evidence) -> Finding:
    """Measure all victims of all faults, then check liveness after the last heal."""
    found = index(evidence)
    faults = faults_of(evidence)
    tallies: dict[str, _Tally] = defaultdict(_Tally)
    judge = _Judge(found, faults)
    violations = list(judge.all(victims_of(found, faults), tallies))
    healed = max((fault.ended for fault in faults), default=evidence.run.began)
    violations += _left(found, healed)
    ends = [steps[-1].at for steps in found.lives.values() if steps[-1].state in ENDED]
    victims = sum(tally.count for tally in tallies.values())
    missing = no_commits(found)
    if missing is None and not victims and not violations and any(map(interrupts, faults)):
        missing = f"{len(faults)} faults interrupted no work, so nothing had to be recovered"
    return answer(
        "recovery",
        INVARIANT,
        missing=missing,
        said=f"{victims:,} interruptions were measured, by faults of {len(tallies)} kinds; there were {len(faults):,} faults",
        violations=violations,
        facts={
            "seconds from the last heal to the last end": round(
                max(0, max(ends, default=healed) - healed) / 1e9, 3
            ),
            **_facts(tallies, evidence.run),
        },
    )


class _Judge:
    """Measures victims against all the faults of a run."""

    def __init__(self, found: Index, faults: Sequence[Fault]) -> None:
        evidence = found.evidence
        self._bounds = {fault.nemesis: bound_of(fault.nemesis, evidence.run) for fault in faults}
        self._excusing = [fault for fault in faults if not _harmless(fault.nemesis)]
        self._workerless = workerless(evidence, faults)
        self._lost = found.lost.touched
        self._passers = _Passers(found)
        self._has_lines = not evidence.run.has_room
        self._lost_seconds = evidence.run.slowness * LOST_SECONDS

    def all(self, victims: Iterable[Victim], tallies: dict[str, _Tally]) -> Iterator[Violation]:
        """Write every victim into its tally; returns those that waited too long."""
        by_fault: dict[str, list[Victim]] = defaultdict(list)
        for victim in victims:
            by_fault[victim.fault.number].append(victim)
        for sharing in by_fault.values():
            tally = tallies[sharing[0].fault.nemesis]
            tally.faults += 1
            yield from self._one(sharing, tally)

    def _one(self, victims: Sequence[Victim], tally: _Tally) -> Iterator[Violation]:
        """The victims of one fault."""
        fault, since = victims[0].fault, min(victim.since for victim in victims)
        own = self._bounds[fault.nemesis]
        others = [
            other for other in self._excusing if other is not fault and self._over(other) > since
        ]
        pauses = [*((other.began, other.ended) for other in others), *self._workerless]
        line = [
            (victim.until, victim.until) for victim in victims if victim.waits and victim.went_on
        ]
        still, in_line = Standstill(since, pauses), Standstill(since, [*pauses, *line])
        for victim in victims:
            bound = max(
                [
                    own,
                    *(
                        self._bounds[other.nemesis]
                        for other in others
                        if other.began < victim.until
                    ),
                ]
            )
            if victim.task in self._lost:
                bound = max(bound, self._lost_seconds)
            stretch = _seconds(min(still.until(victim.until), victim.waited))
            queued = self._has_lines and victim.waits and stretch > bound
            if queued:
                stretch = _seconds(min(in_line.until(victim.until), victim.waited))
            if queued and stretch > bound and (passed := self._passers.before(victim)):
                passing = Standstill(since, [*pauses, *line, *passed])
                stretch = _seconds(min(passing.until(victim.until), victim.waited))
            tally.add(
                victim,
                stretch,
                queued=queued and stretch <= bound,
                counts=stretch <= own or bound == own,
            )
            if stretch > bound:
                yield _violation(victim, stretch=stretch, bound=bound)

    def _over(self, fault: Fault) -> float:
        """When what it did has to be over."""
        return fault.ended + self._bounds[fault.nemesis] * 1e9


class _Passers:
    """The tasks that came later and passed a task in the backlog of their lane, because they have
    smaller ids."""

    def __init__(self, found: Index) -> None:
        self._rows = found.rows
        self._created = {task: steps[0].order for task, steps in found.lives.items()}
        self._claims: dict[Lane, list[tuple[int, str]]] = defaultdict(list)
        for (task, _), step in found.claims.items():
            self._claims[self._lane(task)].append((step.at, task))

    def before(self, victim: Victim) -> list[Pause]:
        """When such tasks were claimed while this one waited."""
        task, created = victim.task, self._created[victim.task]
        return [
            (at, at)
            for at, other in self._claims[self._lane(task)]
            if victim.since <= at < victim.until and other < task and self._created[other] > created
        ]

    def _lane(self, task: str) -> Lane:
        row = self._rows.get(task, {})
        return str(row.get("queue")), int(row.get("priority") or 0)


def _violation(victim: Victim, *, stretch: float, bound: float) -> Violation:
    fault, waited = victim.fault, _seconds(victim.waited)
    went_on = (
        f"went on only after {waited:.1f} s"
        if victim.went_on
        else f"did not go on in {waited:.1f} s"
    )
    meanwhile = (
        "" if stretch == waited else f", {stretch:.1f} s of it without anything that excuses it"
    )
    said = f"{victim.state} when {fault.number} ({fault.nemesis}) came, it {went_on}{meanwhile}; the bound is {bound:g} s"
    return Violation(said, victim.task, victim.until)


def _harmless(nemesis: str) -> bool:
    """Can it not hold up a recorded task for longer than it takes another child to claim it?"""
    return nemesis.endswith("-api") or nemesis.startswith("poison-") or nemesis in HARMLESS


def _left(found: Index, healed: int) -> Iterator[Violation]:
    """The tasks that have not ended after the drain."""
    snapshot = found.evidence.snapshot
    for task, row in found.rows.items():
        if row.get("state") not in ENDED:
            said = f"still {row.get('state')} {_seconds(snapshot.at - healed):.1f} s after the last heal"
            yield Violation(said, task, snapshot.at)


def _facts(tallies: dict[str, _Tally], run: Run) -> dict[str, float]:
    facts: dict[str, float] = {}
    for nemesis, tally in sorted(tallies.items()):
        alone = sorted(tally.alone)
        values: dict[str, float] = {
            "count": tally.count,
            "faults": tally.faults,
            "queued": tally.queued,
            "alone": len(alone),
        }
        if alone:
            values |= {"p50": _rank(alone, 0.5), "p99": _rank(alone, 0.99), "max": alone[-1]}
        values |= {
            "judged": tally.judged,
            "longest": tally.longest,
            "bound": bound_of(nemesis, run),
        }
        facts |= {f"{nemesis} {name}": round(value, 3) for name, value in values.items()}
    return facts


def _rank(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least this share does not exceed."""
    return ordered[ceil(share * len(ordered)) - 1]


def _seconds(nanoseconds: int) -> float:
    return nanoseconds / 1e9
