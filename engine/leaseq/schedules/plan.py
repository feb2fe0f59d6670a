"""Decide which occurrences of a due schedule become tasks, and the next one.

A schedule is looked at late: by some milliseconds as a rule, by days after an outage. Then its
policy decides about the occurrences that were missed. A pure function of timing, policy and time.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct

from leaseq.schedules.timing import MICROSECOND, Timing, next_after

CatchUp = Literal["skip", "once", "all"]
Overlap = Literal["allow", "skip", "wait"]
CATCH_UPS: tuple[CatchUp, ...] = ("skip", "once", "all")
OVERLAPS: tuple[Overlap, ...] = ("allow", "skip", "wait")
MOST_CAUGHT_UP = 100
# An occurrence that is later than this was missed, for the policy `skip`.
GRACE = timedelta(seconds=60)
# Occurrences that are counted one by one. Where more were missed, `missed` is at least this.
COUNTED = 100
MOST_JITTER_SECONDS = 86_400


class Policy(Struct, frozen=True, kw_only=True):
    """How missed occurrences are treated, and one whose predecessor has not ended."""

    catch_up: CatchUp = "once"
    max_catch_up: int = 10
    overlap: Overlap = "allow"


class Plan(Struct, frozen=True):
    """The occurrences that become tasks, oldest first, the next one that is looked at, and how many
    were missed."""

    fires: list[datetime]
    next_at: datetime | None
    missed: int


def plan(timing: Timing, policy: Policy, was: datetime, now: datetime) -> Plan:
    """Decide for a schedule whose next occurrence was `was`, at `now`, which is not before it.

    `once` fires the last of the missed occurrences, `skip` that one only if it is not late, `all`
    the last `max_catch_up` of them. Where a task may not begin before its predecessor has ended,
    one occurrence is fired, and the others are looked at later.
    """
    found, after = _missed(timing, was, now, policy)
    kept = _kept(found, policy, now)
    missed = len(found) - len(kept)
    if policy.overlap != "allow" and len(kept) > 1:
        return Plan(kept[:1], kept[1], missed)
    return Plan(kept, after, missed)


def jitter_seconds(tenant: str, name: str, most: int) -> float:
    """The delay of each firing of this schedule, less than `most` seconds: the same at any time, and
    spread among schedules."""
    if not most:
        return 0.0
    digest = hashlib.sha256(f"{tenant}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % (most * 1000) / 1000


def _missed(
    timing: Timing, was: datetime, now: datetime, policy: Policy
) -> tuple[list[datetime], datetime | None]:
    """The occurrences from `was` to `now`, and the one after. Of very many the last ones, after
    COUNTED that are counted only."""
    found = [was]
    after = next_after(timing, was)
    while after is not None and after <= now:
        if len(found) == COUNTED:
            wanted = policy.max_catch_up if policy.catch_up == "all" else 1
            return found[: COUNTED - wanted] + _last(timing, was, now, wanted), next_after(
                timing, now
            )
        found.append(after)
        after = next_after(timing, after)
    return found, after


def _last(timing: Timing, was: datetime, now: datetime, count: int) -> list[datetime]:
    """The last `count` occurrences until `now`, of more than that since `was`. Looks back twice as
    far each time."""
    window = timedelta(hours=1)
    if timing.every_seconds is not None:
        window = timedelta(seconds=timing.every_seconds * count)
    while True:
        begin = max(was - MICROSECOND, now - window)
        found = []
        at = next_after(timing, begin)
        while at is not None and at <= now:
            found.append(at)
            at = next_after(timing, at)
        if len(found) >= count or begin < was:
            return found[-count:]
        window *= 2


def _kept(found: list[datetime], policy: Policy, now: datetime) -> list[datetime]:
    if policy.catch_up == "all":
        return found[-policy.max_catch_up :]
    if policy.catch_up == "skip" and now - found[-1] > GRACE:
        return []
    return found[-1:]


__all__ = [
    "CATCH_UPS",
    "MOST_CAUGHT_UP",
    "MOST_JITTER_SECONDS",
    "OVERLAPS",
    "CatchUp",
    "Overlap",
    "Plan",
    "Policy",
    "jitter_seconds",
    "plan",
]
