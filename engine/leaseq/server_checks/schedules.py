"""Find schedules that fire no more, or that this machine cannot compute."""

from __future__ import annotations

from leaseq.errors import ScheduleInvalid
from leaseq.ledger.schedules import ScheduleLedger
from leaseq.ledger.session import Session
from leaseq.schedules.read_timing import read_zone
from leaseq.schedules.schedule import Schedule
from leaseq.server_checks.findings import Finding

# Schedules that are looked at.
LOOKED_AT = 1000


async def check_schedules(session: Session) -> list[Finding]:
    """Warnings about schedules of any tenant."""
    found = await ScheduleLedger(session).list_schedules(tenant=None, limit=LOOKED_AT)
    return [
        Finding("schedules", False, f"{each.name} of tenant {each.tenant} {trouble}")
        for each in found
        if (trouble := _trouble(each))
    ]


def _trouble(schedule: Schedule) -> str:
    if schedule.next_at is None:
        return "never fires again: its end has passed. Delete it, or put it with a later end"
    try:
        read_zone(schedule.tz)
    except ScheduleInvalid as error:
        return f"cannot be fired by a reaper on this machine: {error}"
    return ""


__all__ = ["check_schedules"]
