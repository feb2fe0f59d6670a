"""The checkers by name, and the findings of all of them for one run."""

from __future__ import annotations

from collections.abc import Mapping

from leaseq_chaos.checkers import (
    accepted,
    accounts,
    bulk,
    cancel,
    charges,
    convergence,
    dead_letters,
    effects,
    erasures,
    fences,
    keys,
    labels,
    limits,
    linear,
    occurrences,
    paused,
    poison,
    reads,
    reaps,
    recovery,
    schedule,
    sessions,
    sometimes,
    standbys,
    tenants,
    terminal,
    transitions,
)
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.verdict import Checker, Finding

__all__ = ["CHECKERS", "judge"]

CHECKERS: Mapping[str, Checker] = {
    "accepted": accepted.check,
    "keys": keys.check,
    "effects": effects.check,
    "terminal": terminal.check,
    "fences": fences.check,
    "transitions": transitions.check,
    "reads": reads.check,
    "accounts": accounts.check,
    "convergence": convergence.check,
    "dead_letters": dead_letters.check,
    "poison": poison.check,
    "schedule": schedule.check,
    "cancel": cancel.check,
    "paused": paused.check,
    "reaps": reaps.check,
    "charges": charges.check,
    "sessions": sessions.check,
    "standbys": standbys.check,
    "tenants": tenants.check,
    "erasures": erasures.check,
    "labels": labels.check,
    "bulk": bulk.check,
    "limits": limits.check,
    "occurrences": occurrences.check,
    "linear": linear.check,
    "recovery": recovery.check,
    "sometimes": sometimes.check,
}


def judge(evidence: Evidence) -> list[Finding]:
    """The findings of all checkers, in the order of the catalogue."""
    return [check(evidence) for check in CHECKERS.values()]
