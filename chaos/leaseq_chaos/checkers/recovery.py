"""How long does work stand still after each kind of fault, and does it always go on (G5, I9)?

Whose time is measured, and from when to when, is told in `victims.py`. Judged is the longest stretch of that time in which no
other fault came or was open: wherever such a stretch begins, everything is healed, and within the bound work has to go on. Where
another fault touches the time, or ended so shortly before that its own bound is not yet over, the larger of the bounds counts.
What cannot hold up a recorded task for long (`_harmless`) excuses nobody. And liveness: after the last heal, everything ends.

In the facts, `count` are all victims of a nemesis, and `judged` is the longest stretch of any. `p50`, `p99` and `max` are of the
`alone`: those during whose time no other fault came or was open (absent if there are none). `longest` is the longest time as it was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from math import ceil

from msgspec import Struct, field

from leaseq_chaos.checkers.answer import answer
from leaseq_chaos.checkers.faults import Calendar, Fault, faults_of
from leaseq_chaos.checkers.index import ENDED, Index, index, no_commits
from leaseq_chaos.checkers.victims import HOLDERS, Victim, interrupts, victims_of
from leaseq_chaos.evidence import Evidence, Run
from leaseq_chaos.verdict import Finding, Violation

__all__ = ["bound_of", "check"]

INVARIANT = "After a fault, work goes on within the bound of its kind; after the last one, everything ends."

CHILD_SECONDS = 3.0  # another child takes over at once; starting one takes that long where processors are scarce
SLACK_SECONDS = 3.0  # two for the reaper's look and the next claim, one for scarce processors


class _Tally(Struct):
    """What was measured of one nemesis, in seconds."""

    count: int = 0
    judged: float = 0.0
    longest: float = 0.0
    alone: list[float] = field(default_factory=list)
    faults: set[str] = field(default_factory=set)


def bound_of(nemesis: str, run: Run) -> float:
    """Seconds within which work has to go on after such a fault: as the run says, else by the lease.

    What holds work and dies or stands still is missed after a lease; a child that stands still, after a stall. If a store was
    away, reapers suspect nobody for one more lease, and only then miss what died meanwhile.
    """
    if nemesis in run.bounds:
        return run.bounds[nemesis]
    lease = float(run.config.get("LEASEQ_LEASE_SECONDS", "10"))
    if nemesis == "kill-child":
        return CHILD_SECONDS
    if nemesis == "freeze-child":
        return max(lease, float(run.config.get("LEASEQ_LOOP_STALL_SECONDS", "30"))) + SLACK_SECONDS
    if nemesis in HOLDERS:
        return lease + SLACK_SECONDS
    return max(8.0, 2 * lease + SLACK_SECONDS)


def check(evidence: Evidence) -> Finding:
    """Measure all victims of all faults, then look at what is left after the last heal."""
    found = index(evidence)
    faults = faults_of(evidence)
    tallies: dict[str, _Tally] = defaultdict(_Tally)
    judge = _Judge(evidence.run, faults)
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
            "seconds from the last heal to the last end": round(max(0, max(ends, default=healed) - healed) / 1e9, 3),
            **_facts(tallies, evidence.run),
        },
    )


class _Judge:
    """Measures victims against all the faults of a run."""

    def __init__(self, run: Run, faults: Sequence[Fault]) -> None:
        self._run = run
        self._bounds = {fault.nemesis: bound_of(fault.nemesis, run) for fault in faults}
        excusing = [fault for fault in faults if not _harmless(fault.nemesis)]
        self._open = Calendar(excusing)
        self._margin = int(max((self._bounds[fault.nemesis] for fault in excusing), default=0) * 1e9)

    def all(self, victims: Iterable[Victim], tallies: dict[str, _Tally]) -> Iterator[Violation]:
        """Write every victim into its tally; returns those that waited too long."""
        for victim in victims:
            others = self._others(victim)
            stretch, bound = self._stretch(victim, others), max(self._bounds[fault.nemesis] for fault in (victim.fault, *others))
            tally = tallies[victim.fault.nemesis]
            tally.count += 1
            tally.faults.add(victim.fault.number)
            tally.judged = max(tally.judged, stretch)
            tally.longest = max(tally.longest, waited := _seconds(victim.waited))
            if stretch == waited:
                tally.alone.append(waited)
            if stretch > bound:
                yield self._violation(victim, others, stretch=stretch, bound=bound)

    def _others(self, victim: Victim) -> list[Fault]:
        """What else was open meanwhile, or may still have been recovered from."""
        near = self._open.open_in(victim.since - self._margin, victim.until)
        return [
            fault
            for fault in near
            if fault is not victim.fault and fault.ended + self._bounds[fault.nemesis] * 1e9 > victim.since
        ]

    def _stretch(self, victim: Victim, others: Sequence[Fault]) -> float:
        """The longest time without another open fault."""
        longest, at = 0, victim.since
        for fault in sorted(others, key=lambda fault: fault.began):
            longest = max(longest, fault.began - at)
            at = max(at, fault.ended)
        return _seconds(max(longest, victim.until - at, 0))

    def _violation(self, victim: Victim, others: Sequence[Fault], *, stretch: float, bound: float) -> Violation:
        fault = victim.fault
        went_on = f"went on only after {_seconds(victim.waited):.1f} s" if victim.went_on else "never went on"
        meanwhile = f", {stretch:.1f} s of it without another fault" if others else ""
        said = f"{victim.state} when {fault.number} ({fault.nemesis}) came, it {went_on}{meanwhile}; the bound is {bound:g} s"
        return Violation(said, victim.task, victim.until)


def _harmless(nemesis: str) -> bool:
    """Can it not hold up a recorded task for longer than it takes another child to claim it?"""
    return nemesis.endswith("-api") or nemesis.startswith("poison-") or nemesis in ("kill-child", "more-reapers")


def _left(found: Index, healed: int) -> Iterator[Violation]:
    """What has not ended after the drain."""
    snapshot = found.evidence.snapshot
    for task, row in found.rows.items():
        if row.get("state") not in ENDED:
            said = f"still {row.get('state')} {_seconds(snapshot.at - healed):.1f} s after the last heal"
            yield Violation(said, task, snapshot.at)


def _facts(tallies: dict[str, _Tally], run: Run) -> dict[str, float]:
    facts: dict[str, float] = {}
    for nemesis, tally in sorted(tallies.items()):
        alone = sorted(tally.alone)
        values: dict[str, float] = {"count": tally.count, "faults": len(tally.faults), "alone": len(alone)}
        if alone:
            values |= {"p50": _rank(alone, 0.5), "p99": _rank(alone, 0.99), "max": alone[-1]}
        values |= {"judged": tally.judged, "longest": tally.longest, "bound": bound_of(nemesis, run)}
        facts |= {f"{nemesis} {name}": round(value, 3) for name, value in values.items()}
    return facts


def _rank(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least this share does not exceed."""
    return ordered[ceil(share * len(ordered)) - 1]


def _seconds(nanoseconds: int) -> float:
    return nanoseconds / 1e9
