"""The verdict of a checker.

One of three: `valid`, `invalid` (with the violations), `unknown` (the evidence does not suffice).
Invariant: an unknown is never a pass, alone or merged with others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum

from msgspec import Struct, field

from leaseq_chaos.evidence import Evidence

__all__ = ["Checker", "Finding", "Verdict", "Violation", "merged"]


class Verdict(StrEnum):
    """The answer to one question."""

    VALID = "valid"
    INVALID = "invalid"
    UNKNOWN = "unknown"


class Violation(Struct, frozen=True, omit_defaults=True):
    """One thing that must not be."""

    said: str  # a sentence with the evidence in it: states, attempts, times
    task: str | None = None
    at: int | None = None  # when, by the clock of the history


class Finding(Struct, frozen=True, kw_only=True):
    """The finding of one checker."""

    checker: str
    invariant: str  # the sentence that has to hold
    verdict: Verdict
    said: str  # the examined evidence, in one sentence with numbers
    facts: dict[str, float] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)


Checker = Callable[[Evidence], Finding]


def merged(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of all together: one invalid makes it invalid, else one unknown makes it unknown;
    of nothing, unknown."""
    found = set(verdicts)
    if Verdict.INVALID in found:
        return Verdict.INVALID
    return Verdict.VALID if found == {Verdict.VALID} else Verdict.UNKNOWN
