"""Bound the rows that refused changes leave.

A key can send changes that are refused as quickly as it likes: for ids that do not exist, or for
tasks of other tenants. Of each actor the first refusals of an hour keep their rows. A further one
is counted in the last row that was kept, and its own row is removed. Changes that were made, and
those whose outcome is not known, always keep their rows.
"""

from __future__ import annotations

from collections import OrderedDict
from time import monotonic

from msgspec import Struct

from leaseq.ledger.operation_log import Actor
from leaseq.observability.telemetry import emit

# In one process.
KEPT = 100
HOUR_SECONDS = 3_600.0
REMEMBERED = 10_000


class RefusalHour(Struct):
    """The refusals of one actor within an hour. `last` is the row that counts those without one."""

    ends_at: float
    kept: int = 0
    last: str | None = None
    told: bool = False


class Refusals:
    """The refusals of all actors of this process."""

    def __init__(self) -> None:
        self._hours: OrderedDict[Actor, RefusalHour] = OrderedDict()

    def counting_row(self, actor: Actor) -> str | None:
        """The row in which the next refusal of an actor is counted. None: it keeps its own."""
        hour = self._hour_of(actor)
        if hour.kept < KEPT or hour.last is None:
            return None
        if not hour.told:
            hour.told = True
            emit("operation.refusals", actor=actor.name, kept=KEPT, key_id=actor.key_id)
        return hour.last

    def note_kept(self, actor: Actor, operation_id: str) -> None:
        """Note that a refusal has kept its row, whose outcome is written."""
        hour = self._hour_of(actor)
        hour.kept += 1
        hour.last = operation_id

    def _hour_of(self, actor: Actor) -> RefusalHour:
        now = monotonic()
        hour = self._hours.get(actor)
        if hour is None or hour.ends_at <= now:
            hour = self._hours[actor] = RefusalHour(now + HOUR_SECONDS)
            self._hours.move_to_end(actor)
            if len(self._hours) > REMEMBERED:
                self._hours.popitem(last=False)
        return hour


__all__ = ["Refusals"]
