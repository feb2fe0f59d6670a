"""Build the finding of a checker.

Invariants: missing evidence makes a finding unknown, regardless of other results, since half the
evidence accuses the innocent. A run without violations is valid only if nothing was missing. Of a
thousand violations the first hundred are kept, and all are counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from leaseq_chaos.verdict import Finding, Verdict, Violation

__all__ = ["KEPT", "answer", "milliseconds"]

KEPT = 100


def answer(
    checker: str,
    invariant: str,
    *,
    said: str,
    missing: str | None = None,
    violations: Iterable[Violation] = (),
    facts: Mapping[str, float] | None = None,
) -> Finding:
    """A finding: unknown if something is missing, else invalid if something is wrong, else
    valid."""
    if missing is not None:
        return Finding(
            checker=checker,
            invariant=invariant,
            verdict=Verdict.UNKNOWN,
            said=missing,
            facts=dict(facts or {}),
        )
    wrong = list(violations)
    return Finding(
        checker=checker,
        invariant=invariant,
        verdict=Verdict.INVALID if wrong else Verdict.VALID,
        said=said,
        facts={**(facts or {}), "violations": len(wrong)},
        violations=wrong[:KEPT],
    )


def milliseconds(nanoseconds: int) -> str:
    """A length of time, for a sentence."""
    return f"{nanoseconds / 1e6:,.0f} ms"
