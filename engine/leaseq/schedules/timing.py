"""The occurrences of a schedule: a pure function of its timing and of a moment.

A timing is a cron expression in a time zone, or an interval. Occurrences are instants in UTC.

A cron expression follows Debian's cron where clocks change. An expression that names its minute and
its hour runs once for each of its times: a time that does not exist runs at the first moment after
the gap, and a time that exists twice runs at the first of the two. An expression whose minute or
hour begins with `*` runs by elapsed time, in both of two equal hours and in no missing one.

Invariants: `next_after` returns a later instant than its base, and the same instant from every base
between two occurrences. cronsim alone keeps neither in a repeated hour, and loses occurrences where
clocks change by half an hour (docs/decisions/0065-schedules.md).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim
from msgspec import Struct

# Of an expression in a zone, so that a repeated hour is left behind, also one as long as a day.
MAX_STEPS = 3000
HOUR, MINUTE = 3600, 60
SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)


class Timing(Struct, frozen=True, kw_only=True):
    """When a schedule occurs: by `cron` in `zone`, or each `every_seconds` from `anchor_at` on.

    There is no occurrence before `start_at` or after `end_at`. All times are in UTC.
    """

    cron: str | None = None
    zone: str = "UTC"
    every_seconds: float | None = None
    anchor_at: datetime | None = None
    start_at: datetime | None = None
    end_at: datetime | None = None


class ZonedCron(CronSim):
    """An expression whose hours and minutes are looked for one after the other in real time.

    cronsim adds whole hours and jumps to a minute. Where clocks change by half an hour, or in the
    middle of an hour, it passes the beginning of an hour, or a minute of a repeated one.
    """

    def advance_hour(self) -> bool:
        """Go to the next hour of the expression, at most to the end of the day. Returns whether
        anything changed."""
        if self._is_even:
            return super().advance_hour()
        if self.dt.hour in self.hours:
            return False
        day = self.dt.day
        while self.dt.hour not in self.hours and self.dt.day == day:
            self.tick(HOUR - self.dt.minute * MINUTE - self.dt.second)
        return True

    def advance_minute(self) -> bool:
        """Go to the next minute of the expression, at most to the end of the hour. Returns whether
        anything changed."""
        if self._is_even:
            return super().advance_minute()
        if self.dt.minute in self.minutes:
            return False
        hour = self.dt.hour
        self.tick(MINUTE - self.dt.second)
        while self.dt.minute not in self.minutes and self.dt.hour == hour:
            self.tick(MINUTE)
        return True

    @property
    def _is_even(self) -> bool:
        return self.dt.tzinfo in (None, UTC)


def next_after(timing: Timing, base: datetime) -> datetime | None:
    """The first occurrence after `base`, in UTC. None: there is none any more, or none within fifty
    years."""
    if timing.start_at is not None:
        base = max(base, timing.start_at - MICROSECOND)
    found = _by_interval(timing, base) if timing.cron is None else _by_cron(timing, base)
    late = found is not None and timing.end_at is not None and found > timing.end_at
    return None if late else found


def next_ones(timing: Timing, base: datetime, count: int) -> list[datetime]:
    """The first `count` occurrences after `base`, fewer if there are no more."""
    found: list[datetime] = []
    at: datetime | None = base
    while at is not None and len(found) < count:
        at = next_after(timing, at)
        if at is not None:
            found.append(at)
    return found


def _by_interval(timing: Timing, base: datetime) -> datetime | None:
    anchor, step = timing.anchor_at, timedelta(seconds=timing.every_seconds or 0)
    if anchor is None or not step:
        raise ValueError("a timing without an expression needs an interval and its anchor")
    if base < anchor:
        return anchor
    try:
        return anchor + step * ((base - anchor) // step + 1)
    except OverflowError:  # past the year 9999
        return None


def _by_cron(timing: Timing, base: datetime) -> datetime | None:
    # Memoized by the minute: many schedules share an expression and are due at the same moment.
    minute = base.replace(second=0, microsecond=0)
    found = _next_of(timing.cron or "", timing.zone, minute)
    # The expression has minutes, so a moment within one has the same next occurrence as its begin.
    return None if found is None else found.astimezone(UTC)


@lru_cache(maxsize=4096)
def _next_of(cron: str, zone: str, base: datetime) -> datetime | None:
    place = UTC if zone == "UTC" else zone_of(zone)
    expression = ZonedCron(cron, base.astimezone(place))
    try:
        for _ in range(MAX_STEPS):
            candidate = next(expression)
            instant = candidate.astimezone(UTC)
            if expression.fixup_tz is None and not _exists(candidate, instant):
                # The begin of a day that is missing: look again from the first moment after the gap.
                expression = ZonedCron(cron, (instant - SECOND).astimezone(place))
            elif instant > base:
                return instant
    except (StopIteration, OverflowError):  # not within fifty years, past the year 9999
        pass
    return None


def _exists(candidate: datetime, instant: datetime) -> bool:
    """Whether clocks show this time at this instant."""
    shown = instant.astimezone(candidate.tzinfo)
    return shown.replace(tzinfo=None) == candidate.replace(tzinfo=None)


@lru_cache(maxsize=1024)
def zone_of(name: str) -> ZoneInfo:
    """The time zone of this name."""
    return ZoneInfo(name)


__all__ = ["Timing", "next_after", "next_ones", "zone_of"]
