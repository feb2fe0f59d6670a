"""The faults of a run for the report, with their times and details.

The checkers define faults and their durations (`checkers/faults.py`); here a fault gets its family,
its target, and a remark where it did not go as planned. Times are seconds from the beginning of the
run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct

from leaseq_chaos.checkers import faults
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.history import Event, Kind

__all__ = [
    "FAMILIES",
    "Fault",
    "Phase",
    "Refusal",
    "clock",
    "faults_of",
    "kinds_of",
    "phases_of",
    "refusals_of",
]

# The families of faults, each with what its names look like; the first that fits counts.
FAMILIES: dict[str, str] = {
    "combined": r".*-and-.*",
    "poison": r"poison-.*",
    "network": r"(delay|stall|reset|one-way|half-open|drop-reply|cut|refuse)-.*",
    "machine": r"clock-.*|.*-disk",
    "valkey": r".*valkey.*|flushall",
    "postgres": r".*postgres.*|.*backends?\b.*|lock-tasks",
    "process": r".*",
}
_ORDER = ["process", "valkey", "postgres", "network", "machine", "poison", "combined"]
SHORTEST = 0.4  # seconds; a shorter fault is drawn as a point


class Fault(Struct, frozen=True, kw_only=True):
    """One fault that was injected."""

    number: str  # f-17
    nemesis: str
    family: str
    target: str
    began: float
    ended: float
    remark: str = ""  # what did not go as planned

    @property
    def instant(self) -> bool:
        return self.ended - self.began < SHORTEST


class Refusal(Struct, frozen=True):
    """A fault that could not be done at its moment."""

    number: str
    nemesis: str
    at: float
    reason: str


class Phase(Struct, frozen=True):
    """A stretch of the run."""

    name: str
    began: float
    ended: float


def faults_of(evidence: Evidence) -> list[Fault]:
    """Every fault that may have had an effect, in the order of its beginning."""
    targets: dict[str, str] = {}
    remarks: dict[str, str] = {}
    healed: set[str] = set()
    for event in _said(evidence, "fault", "heal"):
        number = event.key or ""
        if event.kind is Kind.INFO:
            remarks.setdefault(
                number,
                f"{'injected' if event.op == 'fault' else 'healed'} by halves: {_value(event, 'error')}",
            )
        if event.op == "fault":
            targets[number] = _value(event, "target") or targets.get(number, "")
        elif event.kind is not Kind.INVOKE:
            healed.add(number)
    start = evidence.run.began
    return [
        Fault(
            number=fault.number,
            nemesis=fault.nemesis,
            family=_family(fault.nemesis),
            target=targets.get(fault.number, ""),
            began=(fault.began - start) / 1e9,
            ended=(fault.ended - start) / 1e9,
            remark=remarks.get(fault.number, "" if fault.number in healed else "never healed"),
        )
        for fault in faults.faults_of(evidence)
    ]


def refusals_of(evidence: Evidence) -> list[Refusal]:
    """Scheduled faults that could not be injected."""
    return [
        Refusal(
            event.key or "",
            _value(event, "nemesis"),
            (event.at - evidence.run.began) / 1e9,
            _value(event, "reason"),
        )
        for event in _said(evidence, "fault")
        if event.kind is Kind.FAIL
    ]


def phases_of(evidence: Evidence) -> list[Phase]:
    """The stretches of the run, one after the other."""
    end = (evidence.run.ended - evidence.run.began) / 1e9
    begins = [
        (_value(event, "phase"), (event.at - evidence.run.began) / 1e9)
        for event in _said(evidence, "phase")
    ]
    ends = [at for _, at in begins[1:]] + [end]
    return [
        Phase(name, at, max(at, after))
        for (name, at), after in zip(begins, ends, strict=False)
        if name != "end"
    ]


def kinds_of(every: Iterable[Fault]) -> dict[str, list[Fault]]:
    """The faults by nemesis: family by family, and within one by name."""
    kinds: dict[str, list[Fault]] = {}
    for fault in sorted(every, key=lambda fault: (_ORDER.index(fault.family), fault.nemesis)):
        kinds.setdefault(fault.nemesis, []).append(fault)
    return kinds


def clock(seconds: float, digits: int = 1) -> str:
    """A moment of the run as people read it: 3:07.4."""
    sign, seconds = ("-" if seconds < 0 else ""), round(abs(seconds), digits)
    return f"{sign}{int(seconds // 60)}:{seconds % 60:0{3 + digits if digits else 2}.{digits}f}"


def _said(evidence: Evidence, *ops: str) -> list[Event]:
    return [event for event in evidence.events if event.op in ops]


def _value(event: Event, name: str) -> str:
    value = event.value.get(name) if isinstance(event.value, dict) else None
    return "" if value is None else str(value)


def _family(nemesis: str) -> str:
    return next(family for family, form in FAMILIES.items() if re.fullmatch(form, nemesis))
