"""The allowed endings for each task type of the workload.

`FATES` is the table: the states, with the code of the error where that matters. A cancel that was
asked for allows CANCELLED to every type. Where a fault may decide (a loop blocked under a dead
supervisor goes on when it is done), more than one end is right.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

__all__ = ["CRASHED", "FATES", "PLAIN", "POISON", "TRANSACTIONAL", "Fate"]

CRASHED = "crashed"


class Fate(Struct, frozen=True):
    """One right end. Without a code any but `crashed` will do."""

    state: str
    code: str | None = None

    def allows(self, state: str, code: str | None) -> bool:
        return state == self.state and (code != CRASHED if self.code is None else code == self.code)

    def __str__(self) -> str:
        return self.state if self.code is None else f"{self.state} ({self.code})"


_SUCCESS = Fate("SUCCESS")
_CRASHED = Fate("FAILED", CRASHED)
_TIMED_OUT = Fate("FAILED", "timeout")

TRANSACTIONAL: frozenset[str] = frozenset({
    "transfer", "note", "thread", "slow", "flaky", "later", "meddle", "observe", "keep", "linger",
    "bounded", "fired",
})  # fmt: skip
PLAIN: frozenset[str] = frozenset({"plain", "bounded_plain"})
POISON: frozenset[str] = frozenset({"segfault", "bomb", "block"})

FATES: Mapping[str, tuple[Fate, ...]] = {
    **dict.fromkeys(sorted(TRANSACTIONAL | PLAIN), (_SUCCESS,)),
    **dict.fromkeys(("refuse", "sever", "finish", "leave"), (Fate("FAILED"),)),
    "hang": (_TIMED_OUT,),
    "segfault": (_CRASHED,),
    "bomb": (_CRASHED,),
    "block": (_CRASHED, _TIMED_OUT, _SUCCESS),
}
