"""Check that the run provoked the rare events of its scenario (I25).

A guarantee about stale workers is not tested if no worker was ever stale. Each name below is a rare
event that a run can hit, and a scenario names those that it has to hit. Invariants: a missing event
makes the run unknown, which is no pass; every name is counted in every run, expected or not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from leaseq_chaos.checkers.index import index
from leaseq_chaos.evidence import Evidence, Heard
from leaseq_chaos.history import Kind
from leaseq_chaos.verdict import Finding, Verdict

__all__ = ["NAMES", "check"]

INVARIANT = "The rare events of this scenario happened, so the other invariants were really tested."

Said = Mapping[str, Any]

# The lines of the services that count as a hit, by event; a condition where the event alone does
# not say it.
_EVENTS: dict[str, tuple[str, ...]] = {
    "fenced": ("attempt.fenced",),
    "skipped": ("delivery.skipped",),
    "reaped": ("attempt.reaped", "worker.reaped"),
    "ambiguous": ("attempt.ambiguous",),
    "stranded": ("task.redispatched",),
    "stray": ("delivery.stray",),
    "restored": ("delivery.restored",),
    "parked": ("delivery.parked",),
    "suspected": ("worker.suspected",),
    "isolated": ("child.started",),
    "self-fenced": ("worker.fenced",),
    "stalled": ("child.stalled",),
    "died": ("child.died",),
    "orphaned": ("supervisor.lost",),
    "handed-back": ("worker.drained",),
    "lapsed": ("lease.lapsed",),
    "reopened": ("lease.reopened",),
    "braked": ("reaper.braked",),
    "quieted": ("reaper.quieted",),
    "overrun": ("handler.overran",),
    "unpushed": ("push.failed",),
    "overflowed": ("backlog.began",),
    "refilled": ("backlog.ended",),
    "without-ledger": ("ledger.unreachable",),
    "without-dispatch": ("dispatch.unreachable",),
}
_CONDITIONS: dict[str, Callable[[Said], bool]] = {
    "isolated": lambda said: said.get("isolated") is True,
    "stranded": lambda said: said.get("reason") != "orphaned",
    "handed-back": lambda said: said.get("handed_back", 0) > 0,
}
_HITS: dict[str, list[str]] = {}
for _name, _events in _EVENTS.items():
    for _event in _events:
        _HITS.setdefault(_event, []).append(_name)

NAMES: tuple[str, ...] = tuple(
    sorted([*_EVENTS, "rebuilt", "replayed", "retried", "refused", "cancelled"])
)


def check(evidence: Evidence) -> Finding:
    """Count every name, and look at those that the run expects."""
    hits = _logged(evidence.logs) + _done(evidence)
    expected = evidence.run.expects
    missing = [
        f"{name} cannot be counted: there is no such name" for name in expected if name not in NAMES
    ]
    unhit = [name for name in expected if name in NAMES and not hits[name]]
    missing += [f"a run in which nothing was {name} proves nothing about it" for name in unhit]
    if not evidence.logs and not evidence.events:
        missing.append("there are neither logs of services nor histories of clients")
    return Finding(
        checker="sometimes",
        invariant=INVARIANT,
        verdict=Verdict.UNKNOWN if missing else Verdict.VALID,
        said="; ".join(missing)
        or f"all {len(expected)} that had to be hit were hit, of {len(NAMES)} that are counted",
        facts={name: hits[name] for name in NAMES},
    )


def _logged(logs: Iterable[Heard]) -> Counter[str]:
    hits: Counter[str] = Counter()
    changed = 0
    for heard in logs:
        event = heard.said.get("event", "")
        for name in _HITS.get(event, ()):
            if name not in _CONDITIONS or _CONDITIONS[name](heard.said):
                hits[name] += 1
        if event == "epoch.changed":
            changed += 1
        elif event == "task.redispatched" and changed:
            hits["rebuilt"] += changed  # lost deliveries are being made again
            changed = 0
    return hits


def _done(evidence: Evidence) -> Counter[str]:
    """Rare events of clients: a key that was already known, an answer that had been lost, another
    body."""
    found = index(evidence)
    hits: Counter[str] = Counter()
    unanswered = {
        op.key: op.began
        for op in reversed(found.ops["submit"])
        if op.kind is Kind.INFO and op.key is not None
    }
    for op in found.ops["submit"]:
        if op.kind is Kind.OK:
            hits["replayed"] += op.heard.get("replayed") is True
            hits["retried"] += op.key in unanswered and op.began > unanswered[op.key]
        elif op.heard.get("code") == "idempotency_key_reused":
            hits["refused"] += 1
    hits["cancelled"] = sum(1 for op in found.ops["cancel"] if op.kind is Kind.OK)
    return hits
