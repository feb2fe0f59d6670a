"""Find schedules that fire no more, or whose tasks run nowhere."""

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
    ledger = ScheduleLedger(session)
    found = await ledger.list_schedules(tenant=None, limit=LOOKED_AT)
    findings = [
        Finding("schedules", False, f"{each.name} of tenant {each.tenant} {trouble}")
        for each in found
        if (trouble := _trouble(each))
    ]
    return findings + [
        Finding(
            "schedules",
            False,
            f"{each.name} of tenant {each.tenant} was declared by {each.source}, and no open worker runs "
            f"its task type {each.type}. If the declaration is gone, `leaseq schedules sync` deletes it",
        )
        for each in await ledger.list_unserved(limit=LOOKED_AT)
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
