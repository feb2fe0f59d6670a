"""Check a timing as a person wrote it.

A refusal names the field, the value and the reason.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from difflib import get_close_matches
from zoneinfo import available_timezones

from cronsim import CronSim, CronSimError
from cronsim.cronsim import FIELD_NAMES

from leaseq.errors import ScheduleInvalid
from leaseq.schedules.timing import Timing, ZonedCron, next_after, zone_of

MAX_LENGTH = 200
LEAST_SECONDS, MOST_SECONDS = 1.0, 366 * 86_400.0
FIRST_YEAR, LAST_YEAR = 1970, 9998
ZONE = re.compile(r"[A-Za-z0-9_+/-]{1,64}")
# Zones of a machine and not of a place.
LOCAL_ZONES = {"localtime", "posixrules", "Factory"}
WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
RANGES = {
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day-of-month": "1 to 31, L (the last day) or LW (the last weekday)",
    "month": "1 to 12 or JAN to DEC",
    "day-of-week": "0 to 7 or SUN to SAT, 5L (the last Friday) or 1#2 (the second Monday)",
}


def read_timing(
    *,
    cron: str | None,
    every_seconds: float | None,
    zone: str | None = None,
    start_at: datetime | None = None,
    end_at: datetime | None = None,
) -> Timing:
    """Check when a schedule occurs. An interval without a start gets its anchor later. Raises
    `ScheduleInvalid`."""
    if (cron is None) == (every_seconds is None):
        raise ScheduleInvalid("give a cron expression or an interval, one of the two", field="cron")
    if cron is None and zone is not None and zone != "UTC":
        raise ScheduleInvalid("an interval has no time zone: leave it out", field="tz")
    start, end = _moment("start_at", start_at), _moment("end_at", end_at)
    if start is not None and end is not None and end < start:
        raise ScheduleInvalid("end_at lies before start_at", field="end_at")
    if cron is None:
        every = _read_interval(every_seconds)
        return Timing(every_seconds=every, anchor_at=start, start_at=start, end_at=end)
    expression, zone = read_cron(cron), read_zone("UTC" if zone is None else zone)
    return Timing(cron=expression, zone=zone, start_at=start, end_at=end)


def read_cron(text: str) -> str:
    """An expression of five fields, or one of the words, as five fields. Raises
    `ScheduleInvalid`."""
    if not text.isascii() or len(text) > MAX_LENGTH:
        raise _bad_cron(text, f"it must be at most {MAX_LENGTH} ASCII characters")
    if text.strip().startswith("@"):
        if text.strip().lower() not in WORDS:
            raise _bad_cron(text, f"the words are {', '.join(WORDS)}")
        return WORDS[text.strip().lower()]
    fields = text.upper().split()
    if len(fields) != len(RANGES):
        reason = f"it has {len(fields)} fields, and needs five: {', '.join(RANGES)}"
        if len(fields) == len(RANGES) + 1:
            reason += "; for seconds give an interval instead"
        raise _bad_cron(text, reason)
    expression = " ".join(fields)
    try:
        ZonedCron(expression, datetime(2026, 1, 1, tzinfo=UTC))
    except (CronSimError, ValueError, AssertionError) as error:
        raise _bad_cron(text, _reason(fields, str(error))) from None
    return expression


def read_zone(name: str) -> str:
    """The name of a time zone of the IANA database. Raises `ScheduleInvalid`."""
    if ZONE.fullmatch(name) and name not in LOCAL_ZONES:
        try:
            zone_of(name)
        except (KeyError, ValueError, OSError):  # a folder of the database is an OSError
            pass
        else:
            return name
    near = get_close_matches(name[:64], available_timezones(), n=1)
    hint = f"; {near[0]} is one" if near else ""
    raise ScheduleInvalid(f"{name[:80]!r} is no time zone as Europe/Zurich{hint}", field="tz")


def require_occurrence(timing: Timing, now: datetime) -> datetime:
    """The first occurrence after `now`. Raises `ScheduleInvalid` where there is none."""
    found = next_after(timing, now)
    if found is None:
        if timing.end_at is not None:
            limits = f"between {timing.start_at or now:%Y-%m-%dT%H:%MZ} and {timing.end_at:%Y-%m-%dT%H:%MZ}"
        else:
            limits = "within fifty years"
        raise ScheduleInvalid(f"the schedule never fires: it has no time {limits}", field="cron")
    return found


def describe(timing: Timing) -> str:
    """The timing in English, for people."""
    if timing.cron is None:
        return f"Every {timing.every_seconds:g} seconds"
    return CronSim(timing.cron, datetime(2026, 1, 1, tzinfo=UTC)).explain()


def _read_interval(seconds: float | None) -> float:
    if not isinstance(seconds, int | float) or not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        raise ScheduleInvalid(
            f"an interval has 1 second to 366 days, not {seconds!r}", field="every_seconds"
        )
    return float(seconds)


def _moment(field: str, moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ScheduleInvalid(
            f"{field} must carry a time zone, as in 2026-01-31T09:00:00Z", field=field
        )
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ScheduleInvalid(
            f"{field} must lie between the years {FIRST_YEAR} and {LAST_YEAR}", field=field
        )
    return moment.astimezone(UTC)


def _bad_cron(text: str, reason: str) -> ScheduleInvalid:
    return ScheduleInvalid(
        f"the cron expression {text[:MAX_LENGTH]!r} cannot be read: {reason}", field="cron"
    )


def _reason(fields: list[str], message: str) -> str:
    """The place and the reason from a message of cronsim, which names a field only."""
    name = message.removeprefix("Bad ")
    if name not in RANGES:
        return message or "a step cannot be read"
    text = fields[FIELD_NAMES.index(name) - 1]
    if name == "day-of-month" and text.replace(",", "").isdigit():
        return f"no month of the expression has {name} {text}, so it never fires"
    return f"the {name}, {text!r}, is not {RANGES[name]}, or a list, range or step of these"


__all__ = ["describe", "read_cron", "read_timing", "read_zone", "require_occurrence"]
