"""The next times of schedules through both changes of clocks, and through a year.

A second computation, which knows nothing of cronsim, goes through a year five minutes at a time in UTC. It
has the same occurrences, so none is lost and none is doubled.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leaseq.errors import ScheduleInvalid
from leaseq.schedules.plan import Policy, jitter_seconds, plan
from leaseq.schedules.read_timing import describe, read_timing, require_occurrence
from leaseq.schedules.timing import Timing, next_after, next_ones
from support.examples import examples

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
SANTIAGO, ASUNCION = "America/Santiago", "America/Asuncion"
ZONES = [BERLIN, NEW_YORK, LORD_HOWE, SANTIAGO, ASUNCION, "UTC"]
MINUTE = timedelta(minutes=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# zone, expression, base in UTC, the next ones in UTC
TABLE = [
    # Berlin, 29 March 2026: 02:00 to 03:00 is missing from 01:00Z on.
    (BERLIN, "30 2 * * *", "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:30"]),
    (BERLIN, "30 2 * * *", "2026-03-29T01:00", ["2026-03-30T00:30"]),
    (BERLIN, "0,30 2 * * *", "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:00"]),
    (BERLIN, "30 3 * * *", "2026-03-29T01:00", ["2026-03-29T01:30"]),
    (BERLIN, "*/20 2 * * *", "2026-03-28T12:00", ["2026-03-30T00:00"]),
    (BERLIN, "0 * * * *", "2026-03-28T23:30", [f"2026-03-29T0{n}:00" for n in range(3)]),
    # Berlin, 25 October 2026: 02:00 to 03:00 is there twice, from 00:00Z and from 01:00Z on.
    (BERLIN, "30 2 * * *", "2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),
    (BERLIN, "30 2 * * *", "2026-10-25T00:10", ["2026-10-25T00:30"]),
    (BERLIN, "30 2 * * *", "2026-10-25T00:30", ["2026-10-26T01:30"]),
    (BERLIN, "30 2 * * *", "2026-10-25T01:10", ["2026-10-26T01:30"]),
    (BERLIN, "0,15,30,45 2 * * *", "2026-10-25T01:50", ["2026-10-26T01:00"]),
    (BERLIN, "*/30 * * * *", "2026-10-25T00:15", ["2026-10-25T00:30", "2026-10-25T01:00"]),
    (BERLIN, "*/30 * * * *", "2026-10-25T01:10", ["2026-10-25T01:30", "2026-10-25T02:00"]),
    (
        BERLIN,
        "0 1,2,3 * * *",
        "2026-10-24T22:30",
        ["2026-10-24T23:00", "2026-10-25T00:00", "2026-10-25T02:00"],
    ),
    # New York, 8 March and 1 November 2026.
    (NEW_YORK, "30 2 * * *", "2026-03-07T12:00", ["2026-03-08T07:00", "2026-03-09T06:30"]),
    (NEW_YORK, "30 1 * * *", "2026-11-01T04:00", ["2026-11-01T05:30", "2026-11-02T06:30"]),
    (NEW_YORK, "30 1 * * *", "2026-11-01T06:10", ["2026-11-02T06:30"]),
    (NEW_YORK, "0 6 1 * *", "2026-10-15T00:00", ["2026-11-01T11:00", "2026-12-01T11:00"]),
    # Lord Howe changes by half an hour: 01:30 to 02:00 twice on 5 April, 02:00 to 02:30 is missing
    # on 4 October 2026.
    (LORD_HOWE, "45 1 * * *", "2026-04-04T02:00", ["2026-04-04T14:45", "2026-04-05T15:15"]),
    (LORD_HOWE, "45 1 * * *", "2026-04-04T15:05", ["2026-04-05T15:15"]),
    (LORD_HOWE, "15 2 * * *", "2026-10-03T02:00", ["2026-10-03T15:30", "2026-10-04T15:15"]),
    (LORD_HOWE, "0 */3 * * *", "2026-04-04T13:00", ["2026-04-04T16:30", "2026-04-04T19:30"]),
    (LORD_HOWE, "0 */3 * * *", "2026-10-03T13:30", ["2026-10-03T16:00", "2026-10-03T19:00"]),
    (LORD_HOWE, "40 * * * *", "2026-04-04T14:40", ["2026-04-04T15:10", "2026-04-04T16:10"]),
    (LORD_HOWE, "*/15 3 * * *", "2026-04-04T15:00", ["2026-04-04T16:30", "2026-04-04T16:45"]),
    # Santiago and Asuncion change at midnight.
    (SANTIAGO, "0 0 * * *", "2026-09-05T12:00", ["2026-09-06T04:00", "2026-09-07T03:00"]),
    (SANTIAGO, "*/30 * * * SUN", "2026-09-05T12:00", ["2026-09-06T04:00", "2026-09-06T04:30"]),
    (SANTIAGO, "*/30 0 * * SUN", "2026-09-05T12:00", ["2026-09-13T03:00"]),
    (SANTIAGO, "30 23 * * *", "2026-04-04T12:00", ["2026-04-05T02:30", "2026-04-06T03:30"]),
    (ASUNCION, "30 0 * * *", "2023-09-30T12:00", ["2023-10-01T04:00", "2023-10-02T03:30"]),
    (ASUNCION, "30 23 * * *", "2024-03-23T12:00", ["2024-03-24T02:30", "2024-03-25T03:30"]),
    # A whole day is missing.
    ("Pacific/Apia", "0 6 30 12 *", "2011-12-01T00:00", ["2011-12-30T10:00", "2012-12-29T16:00"]),
    ("UTC", "0 0 29 2 *", "2026-01-01T00:00", ["2028-02-29T00:00", "2032-02-29T00:00"]),
    ("UTC", "0 9 * * 1#2", "2026-06-01T00:00", ["2026-06-08T09:00", "2026-07-13T09:00"]),
    ("UTC", "0 9 L * *", "2026-02-01T00:00", ["2026-02-28T09:00", "2026-03-31T09:00"]),
    ("UTC", "@weekly", "2026-06-01T00:00", ["2026-06-07T00:00"]),
]


@pytest.mark.parametrize(("zone", "cron", "base", "expected"), TABLE)
def test_next_times(zone: str, cron: str, base: str, expected: list[str]) -> None:
    timing = read_timing(cron=cron, every_seconds=None, zone=zone)
    assert next_ones(timing, at(base), len(expected)) == [at(text) for text in expected]


EXPRESSIONS = [
    "30 2 * * *",
    "0 0 * * *",
    "15,45 1,2,3 * * *",
    "*/20 * * * *",
    "0 */3 * * *",
    "40 * * * *",
    "*/15 0-3 * * *",
]


def by_minutes(cron: str, zone: str, begin: datetime, end: datetime) -> list[datetime]:
    """The occurrences by going through every fifth minute, without cronsim."""
    place = ZoneInfo(zone)
    texts = cron.split()
    minutes, hours, weekdays = (
        _values(texts[0], 60),
        _values(texts[1], 24),
        _values(texts[4], 7),
    )
    found = set()
    if texts[0].startswith("*") or texts[1].startswith("*"):
        now = begin
        while now <= end:
            local = now.astimezone(place)
            if (
                local.minute in minutes
                and local.hour in hours
                and local.isoweekday() % 7 in weekdays
            ):
                found.add(now)
            now += 5 * MINUTE
        return sorted(found)
    day = begin.date() - timedelta(days=1)
    while day <= end.date() + timedelta(days=1):
        if day.isoweekday() % 7 in weekdays:
            found |= {_first(day, time(h, m), place) for h in hours for m in minutes}
        day += timedelta(days=1)
    return sorted(moment for moment in found if begin <= moment <= end)


def _first(day: date, clock: time, place: ZoneInfo) -> datetime:
    local = datetime.combine(day, clock)
    while True:
        instant = local.replace(tzinfo=place).astimezone(UTC)
        if instant.astimezone(place).replace(tzinfo=None) == local:
            return instant
        local += MINUTE


def _values(text: str, size: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        low, high = (0, size - 1) if span == "*" else (int(first), int(last or first))
        found |= set(range(low, high + 1, int(step or 1)))
    return found


def changes(zone: str, begin: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """Three days before and after each change of clocks."""
    place, spans = ZoneInfo(zone), []
    while begin < end:
        after = begin + timedelta(days=1)
        if begin.astimezone(place).utcoffset() != after.astimezone(place).utcoffset():
            spans.append((begin - timedelta(days=3), begin + timedelta(days=4)))
        begin = after
    return spans


@pytest.mark.parametrize("zone", ZONES)
def test_a_year_loses_none_and_doubles_none(zone: str) -> None:
    year = 2024 if zone == ASUNCION else 2026
    begin, end = at(f"{year}-01-01"), at(f"{year + 1}-01-01")
    # One whole year, and the changes in the other zones.
    spans = [(begin, end)] if zone == BERLIN else changes(zone, begin, end)
    assert len(spans) == {BERLIN: 1, "UTC": 0}.get(zone, 2)
    for cron in EXPRESSIONS:
        timing = Timing(cron=cron, zone=zone)
        for first, last in spans:
            found, now = [], first - MINUTE
            while (after := next_after(timing, now)) is not None and after <= last:
                found.append(after)
                now = after
            assert all(before < after for before, after in pairwise(found))
            assert found == by_minutes(cron, zone, first, last), cron


field = st.one_of(st.just("*"), st.sampled_from(["*/7", "*/20", "0", "30", "5,35", "10-12", "59"]))
crons = st.tuples(
    field,
    st.sampled_from(["*", "*/2", "*/5", "0", "1,2,3", "23", "2"]),
    st.sampled_from(["*", "1", "15,31", "L"]),
    st.sampled_from(["*", "3,10", "4,9"]),
    st.sampled_from(["*", "0", "1-5", "5L"]),
).map(" ".join)
moments = st.one_of(
    st.integers(0, 6 * 366 * 86_400).map(lambda n: at("2023-01-01") + timedelta(seconds=n)),
    # around the changes of clocks
    st.tuples(
        st.sampled_from(
            [
                "2026-03-29T01:00",
                "2026-10-25T01:00",
                "2026-04-04T15:00",
                "2026-10-03T15:30",
                "2026-09-06T04:00",
                "2026-04-05T03:00",
            ]
        ),
        st.integers(-9000, 9000),
    ).map(lambda pair: at(pair[0]) + timedelta(seconds=pair[1])),
)


@settings(max_examples=examples(200))
@given(crons, st.sampled_from(ZONES), moments, st.floats(0, 1))
def test_next_is_later_and_the_same_from_any_base_before_it(
    cron: str, zone: str, base: datetime, share: float
) -> None:
    timing = Timing(cron=cron, zone=zone)
    after = next_after(timing, base)
    assert after is not None
    assert after > base
    between = base + (after - base) * share
    if between < after:
        assert next_after(timing, between) == after


@settings(max_examples=examples(100))
@given(st.floats(1, 1e6), moments, moments)
def test_intervals_are_aligned_to_their_anchor(
    every: float, anchor: datetime, base: datetime
) -> None:
    timing = Timing(every_seconds=every, anchor_at=anchor)
    after = next_after(timing, base)
    assert after is not None
    assert after > base
    assert (after - anchor) % timedelta(seconds=every) == timedelta(0)
    assert after == anchor or after - base <= timedelta(seconds=every)


def test_start_and_end_are_kept() -> None:
    timing = read_timing(
        cron="0 6 * * *",
        every_seconds=None,
        start_at=at("2026-05-02T06:00"),
        end_at=at("2026-05-03T06:00"),
    )
    expected = [at("2026-05-02T06:00"), at("2026-05-03T06:00")]
    assert next_ones(timing, at("2026-01-01"), 5) == expected
    assert next_after(timing, at("2026-05-03T06:00")) is None


REFUSED = [
    ({"cron": "61 6 * * *"}, "the minute, '61', is not 0 to 59"),
    ({"cron": "0 6 * * FUNDAY"}, "the day-of-week, 'FUNDAY'"),
    ({"cron": "0 6 *"}, "it has 3 fields, and needs five"),
    ({"cron": "0 0 6 * * *"}, "for seconds give an interval"),
    ({"cron": ""}, "it has 0 fields"),
    ({"cron": "@reboot"}, "the words are @hourly"),
    ({"cron": "0 6 * * *" + " " * 300}, "at most 200 ASCII"),
    ({"cron": "0 \u0666 * * *"}, "at most 200 ASCII"),
    ({"cron": "*/0 6 * * *"}, "the minute, '*/0'"),
    ({"cron": "0 0 30 2 *"}, "so it never fires"),
    ({"cron": "0 0 31 4,6 *"}, "so it never fires"),
    ({"cron": "0 6 * * *", "zone": "Europe/Zürich"}, "Europe/Zurich is one"),
    ({"cron": "0 6 * * *", "zone": "Europe"}, "is no time zone"),
    ({"cron": "0 6 * * *", "zone": "../etc/passwd"}, "is no time zone"),
    ({"cron": "0 6 * * *", "zone": "localtime"}, "is no time zone"),
    ({}, "one of the two"),
    ({"cron": "0 6 * * *", "every_seconds": 5.0}, "one of the two"),
    ({"every_seconds": 0.5}, "1 second to 366 days"),
    ({"every_seconds": float("nan")}, "1 second to 366 days"),
    ({"every_seconds": 5.0, "zone": "Europe/Berlin"}, "has no time zone"),
    ({"every_seconds": 5.0, "start_at": at("2026-01-01").replace(tzinfo=None)}, "must carry a time zone"),
    ({"every_seconds": 5.0, "start_at": at("2026-01-02"), "end_at": at("2026-01-01")}, "before start_at"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "message"), REFUSED)
def test_bad_timings_are_refused_with_place_and_reason(
    given: dict[str, object], message: str
) -> None:
    whole = {"cron": None, "every_seconds": None} | given
    with pytest.raises(ScheduleInvalid) as refused:
        read_timing(**whole)  # type: ignore[arg-type]
    assert message in str(refused.value)
    assert refused.value.field


def test_a_schedule_that_never_fires_is_refused() -> None:
    timing = read_timing(cron="0 6 1 1 *", every_seconds=None, end_at=at("2026-12-01"))
    with pytest.raises(ScheduleInvalid, match="never fires: it has no time between"):
        require_occurrence(timing, at("2026-02-01"))


def test_timings_are_described() -> None:
    assert "06:00" in describe(Timing(cron="0 6 * * *"))
    assert describe(Timing(every_seconds=30.0)) == "Every 30 seconds"


HOURLY = Timing(cron="0 * * * *")
WAS, NOW = at("2026-05-01T00:00"), at("2026-05-01T05:30")


@pytest.mark.parametrize(
    ("policy", "hours", "after", "missed"),
    [
        (Policy(), [5], 6, 5),
        (Policy(catch_up="skip"), [], 6, 6),
        (Policy(catch_up="all"), [0, 1, 2, 3, 4, 5], 6, 0),
        (Policy(catch_up="all", max_catch_up=2), [4, 5], 6, 4),
        (Policy(catch_up="all", max_catch_up=2, overlap="wait"), [4], 5, 4),
        (Policy(catch_up="all", overlap="skip"), [0], 1, 0),
    ],
)
def test_missed_occurrences_by_policy(
    policy: Policy, hours: list[int], after: int, missed: int
) -> None:
    planned = plan(HOURLY, policy, WAS, NOW)
    assert [moment.hour for moment in planned.fires] == hours
    assert planned.next_at == at(f"2026-05-01T0{after}:00")
    assert planned.missed == missed


@pytest.mark.parametrize("catch_up", ["skip", "once", "all"])
def test_an_occurrence_in_time_is_fired_by_each_policy(catch_up: str) -> None:
    policy = Policy(catch_up=catch_up)  # type: ignore[arg-type]
    planned = plan(HOURLY, policy, WAS, WAS + timedelta(seconds=2))
    assert (planned.fires, planned.missed) == ([WAS], 0)


@pytest.mark.parametrize(
    "timing",
    [
        Timing(cron="* * * * *"),
        Timing(every_seconds=1.0, anchor_at=WAS),
        Timing(cron="*/2 6 * * *"),
    ],
)
def test_a_year_of_missed_occurrences_is_not_counted_one_by_one(timing: Timing) -> None:
    first = next_after(timing, WAS)
    assert first is not None
    now = WAS + timedelta(days=365)
    planned = plan(timing, Policy(catch_up="all", max_catch_up=50), first, now)
    assert len(planned.fires) == 50
    assert planned.next_at is not None
    assert planned.fires == sorted(set(planned.fires))
    assert next_after(timing, planned.fires[-1]) == planned.next_at > now
    assert planned.missed == 50


def test_the_last_occurrence_leaves_none() -> None:
    timing = Timing(cron="0 * * * *", end_at=at("2026-05-01T02:00"))
    assert plan(timing, Policy(), WAS, NOW).next_at is None


def test_jitter_is_stable_and_spread() -> None:
    delays = [jitter_seconds("default", f"s{n}", 60) for n in range(1000)]
    assert delays == [jitter_seconds("default", f"s{n}", 60) for n in range(1000)]
    assert all(0 <= delay < 60 for delay in delays)
    assert len({round(delay) for delay in delays}) > 50
    assert jitter_seconds("default", "s", 0) == 0
