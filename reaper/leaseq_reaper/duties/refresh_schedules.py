"""Compute next times again, once after the start of a reaper.

The rules of a time zone may have changed since a next time was computed. A process reads the rules
when it starts, so the duty `fire` looks at one batch in each of its passes, until it has looked at
all schedules. A wrong next time is corrected only if the schedule is still as it was read. A
schedule that is due is left alone: its firing computes the time after it by the new rules.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

from leaseq.ledger.schedules import NextTime, ScheduleLedger
from leaseq.schedules.plan import jitter_seconds
from leaseq.schedules.schedule import DueSchedule, timing_of
from leaseq.schedules.timing import next_after

BATCH = 500
# Other duties run after each so many computed schedules.
COMPUTED_AT_ONCE = 50


class RefreshSchedules:
    """A part of the duty to fire."""

    def __init__(self, ledger: ScheduleLedger) -> None:
        self._ledger = ledger
        self._after: tuple[str, str] | None = ("", "")

    async def run_once(self) -> None:
        """Correct the next times of one batch. Does nothing after the last one."""
        if self._after is None:
            return
        found = await self._ledger.list_zoned(after=self._after, limit=BATCH)
        computed: list[NextTime] = []
        for count, one in enumerate(found, 1):
            with suppress(Exception):  # reported when it is due
                computed.append(_next_time(one))
            if count % COMPUTED_AT_ONCE == 0:
                await asyncio.sleep(0)
        changed = [each for each in computed if each.next_at != each.seen.next_at]
        if changed:
            await self._ledger.refresh(changed)
        self._after = (found[-1].tenant, found[-1].name) if len(found) == BATCH else None


def _next_time(seen: DueSchedule) -> NextTime:
    next_at = next_after(timing_of(seen), seen.now)
    delay = timedelta(seconds=jitter_seconds(seen.tenant, seen.name, seen.jitter_seconds))
    return NextTime(seen, next_at, None if next_at is None else next_at + delay)


__all__ = ["RefreshSchedules"]
