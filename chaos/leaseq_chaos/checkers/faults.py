"""The faults of a run, for checkers that must know when a component was broken.

From the events of the nemeses alone. Invariant: a fault that could have had an effect is in the
list, also when its injection or its healing was never reported as complete; only a fault with
`fail` did not happen.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from leaseq_chaos.evidence import Evidence
from leaseq_chaos.history import Event, Kind

__all__ = ["LIVING_ON", "Calendar", "Fault", "faults_of"]


# Where an old server lives on. The new one serves from the moment of the injection's end, so that
# recovery begins there; the heal only ends the old one, and must not be what work waits for.
LIVING_ON = frozenset({
    "failover-postgres", "failover-postgres-sync", "failover-frozen-postgres", "failover-killed-postgres",
    "failover-readonly-postgres", "demote-valkey", "split-valkey",
})  # fmt: skip


class Fault(Struct, frozen=True, kw_only=True):
    """One fault, in nanoseconds of the clock of the history."""

    number: str
    nemesis: str
    # from here on there may be effects: its injection began, or where that takes long, did its
    # first harm
    began: int
    struck: int  # its injection was complete
    ended: (
        # when it has to be over: at the heal, or immediately if only an old server lives on; the
        # end of the run if unhealed
        int
    )
    healing: int  # its healing began
    # its healing was complete, or given up; without any word of that, the end of the run
    healed: int
    workers: frozenset[str] = frozenset()  # the workers that it hit, where that is known
    told: bool = True  # whether the injection was reported as successful
    detail: Mapping[str, Any] = {}

    @property
    def hits_until(self) -> int:
        """Until when it may hit what begins: its end, or where an old server lives on, the moment
        in which that one is ended."""
        return max(self.ended, self.healing) if self.nemesis in LIVING_ON else self.ended


def faults_of(evidence: Evidence) -> list[Fault]:
    """Every fault, in the order of their beginnings."""
    said: dict[str, dict[tuple[str, bool], Event]] = {}
    refused: set[str] = set()
    for event in evidence.events:
        if event.op in ("fault", "heal") and event.key is not None:
            if event.op == "fault" and event.kind is Kind.FAIL:
                refused.add(event.key)
            said.setdefault(event.key, {}).setdefault((event.op, event.kind is Kind.INVOKE), event)
    faults = [
        _fault(number, events, end=evidence.run.ended)
        for number, events in said.items()
        if number not in refused
    ]
    return sorted(faults, key=lambda fault: fault.began)


def _fault(number: str, events: dict[tuple[str, bool], Event], *, end: int) -> Fault:
    invoked, answered = events.get(("fault", True)), events.get(("fault", False))
    healed = events.get(("heal", False))
    first = min(events.values(), key=lambda event: event.at)
    value = {**_value(invoked or first), **_value(answered)}
    began = first.at if invoked is None else invoked.at
    nemesis = str(value.get("nemesis", ""))
    struck = began if answered is None else answered.at
    over = end if healed is None else healed.at
    heal = events.get(("heal", True))
    return Fault(
        number=number,
        nemesis=nemesis,
        began=int((value.get("detail") or {}).get("since", began)),
        struck=struck,
        ended=struck
        if nemesis in LIVING_ON and answered is not None and answered.kind is Kind.OK
        else over,
        healing=over if heal is None else heal.at,
        healed=over,
        workers=frozenset(value.get("workers") or ()),
        told=answered is not None and answered.kind is Kind.OK,
        detail=value.get("detail") or {},
    )


def _value(event: Event | None) -> dict[str, Any]:
    return event.value if event is not None and isinstance(event.value, dict) else {}


class Calendar:
    """Finds the faults that were open in a stretch of time, among thousands. `until` says how long
    one is."""

    def __init__(
        self, faults: Sequence[Fault], *, until: Callable[[Fault], int] = lambda fault: fault.ended
    ) -> None:
        self._faults = sorted(faults, key=lambda fault: fault.began)
        self._begins = [fault.began for fault in self._faults]
        self._until = until
        # the latest end of any fault up to this one: where a search may stop
        self._latest: list[int] = []
        for fault in self._faults:
            self._latest.append(
                max(until(fault), self._latest[-1]) if self._latest else until(fault)
            )

    def open_in(self, start: int, end: int) -> Iterator[Fault]:
        """Those that were open at some moment from `start` to `end`, the latest beginning first."""
        for i in range(bisect_right(self._begins, end) - 1, -1, -1):
            if self._latest[i] < start:
                return
            if self._until(self._faults[i]) >= start:
                yield self._faults[i]
