"""Fires that are lost and doubled in a year in which clocks change twice.

The times that a peer computes are compared with the rules of docs/schedules.md, which are those of
Debian's cron. They are computed here in the plainest way: by a look at the clock of the zone in
each minute of the year. A peer that follows another rule is described: what it does with a time
that does not exist, and with one that exists twice.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

from bench.peers.environments import Environment
from bench.processes import ROOT, BenchFailed

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe")
CRONS = ("30 2 * * *", "45 1 * * *", "0 6 * * *", "0 */3 * * *", "*/15 * * * *")
YEAR = 2027
# Those whose own code is asked. PgQueuer has no zones.
PEERS = ("leaseq", "pgqueuer", "bullmq", "oban", "dbos")
WITHOUT_ZONES = ("pgqueuer",)
SECONDS = 300.0
MINUTE = timedelta(minutes=1)


class Verdict(Struct, frozen=True):
    """`lost` and `doubled` fires by the rules of docs/schedules.md, `moved` ones, which come once
    on their day but at another time, and what happened on the days on which clocks changed."""

    lost: int
    doubled: int
    moved: int
    days: dict[str, list[str]]


class Clock:
    """The clock of a zone in each minute of whole days: the instant, and what it shows."""

    def __init__(self, zone: str, begin: date, end: date) -> None:
        self.place = ZoneInfo(zone)
        self.begin, self.end = (
            datetime(day.year, day.month, day.day, tzinfo=self.place).astimezone(UTC)
            for day in (begin, end)
        )
        count = (self.end - self.begin) // MINUTE
        self.minutes = [
            (at, at.astimezone(self.place).replace(tzinfo=None))
            for at in (self.begin + number * MINUTE for number in range(count))
        ]

    def changes(self) -> set[date]:
        """The days on which it is set."""
        pairs = zip(self.minutes, self.minutes[1:], strict=False)
        return {shown.date() for (_, before), (_, shown) in pairs if shown - before != MINUTE}

    def expected(self, cron: str) -> list[datetime]:
        """The times of an expression of the minute and the hour, by the rules."""
        minute, hour, *_ = cron.split()
        minutes, hours = _values(minute, 60), _values(hour, 24)
        if minute.startswith("*") or hour.startswith("*"):
            return [at for at, m in self.minutes if m.minute in minutes and m.hour in hours]
        found: dict[date, datetime] = {}
        for at, shown in self.minutes:
            # The first moment that shows this time or, in a gap, a later one.
            if (shown.hour, shown.minute) >= (min(hours), min(minutes)):
                found.setdefault(shown.date(), at)
        return list(found.values())


def judge(clock: Clock, cron: str, found: Sequence[datetime]) -> Verdict:
    """Compare the times that a peer has found with the rules."""
    expected = clock.expected(cron)
    changed = clock.changes()
    days: dict[str, list[str]] = {f"{day}": [] for day in sorted(changed)}
    for at in found:
        shown = at.astimezone(clock.place)
        if shown.date() in changed:
            days[f"{shown.date()}"].append(f"{shown:%H:%M%z}")
    if cron.startswith("*") or cron.split()[1].startswith("*"):
        wanted, given = Counter(expected), Counter(found)
        return Verdict((wanted - given).total(), (given - wanted).total(), 0, days)
    wanted_on = {at.astimezone(clock.place).date(): at for at in expected}
    on = Counter(at.astimezone(clock.place).date() for at in found)
    lost = sum(on[day] == 0 for day in wanted_on)
    doubled = sum(max(times - 1, 0) for times in on.values())
    exact = set(found)
    moved = sum(on[day] == 1 and at not in exact for day, at in wanted_on.items())
    return Verdict(lost, doubled, moved, days)


def compare_years(peers: Sequence[str] = PEERS) -> dict[str, dict[str, Verdict]]:
    """The verdict on each peer, by zone and expression. Raises `BenchFailed`."""
    clocks = {zone: Clock(zone, date(YEAR, 1, 1), date(YEAR + 1, 1, 1)) for zone in ("UTC", *ZONES)}
    verdicts: dict[str, dict[str, Verdict]] = {}
    for peer in peers:
        zones = ("UTC",) if peer in WITHOUT_ZONES else ZONES
        verdicts[peer] = {
            f"{zone} {cron}": judge(clocks[zone], cron, times)
            for zone in zones
            for cron, times in zip(CRONS, _ask(peer, zone, clocks[zone]), strict=True)
        }
    return verdicts


def year_lines(verdicts: dict[str, dict[str, Verdict]]) -> list[str]:
    """A table in Markdown, and the days on which a peer differs from the rules."""
    lines = ["| contender | zone and expression | lost | doubled | at another time |"]
    lines.append("|---|---|---:|---:|---:|")
    for peer, by_name in verdicts.items():
        wrong = {n: v for n, v in by_name.items() if v.lost or v.doubled or v.moved}
        if not wrong:
            lines.append(f"| {peer} | all {len(by_name)} | 0 | 0 | 0 |")
        for name, one in wrong.items():
            lines.append(f"| {peer} | `{name}` | {one.lost} | {one.doubled} | {one.moved} |")
    lines.append("")
    for peer, by_name in verdicts.items():
        for name, one in by_name.items():
            if (one.lost or one.doubled or one.moved) and max(map(len, one.days.values())) < 12:
                days = "; ".join(f"{day}: {' '.join(at) or 'none'}" for day, at in one.days.items())
                lines.append(f"- {peer} `{name}`: {days}")
    return lines


def _values(field: str, end: int) -> range:
    """The values of `*`, `*/5` or `5`."""
    first, _, step = field.partition("/")
    if first == "*":
        return range(0, end, int(step or 1))
    return range(int(first), int(first) + 1)


def _ask(peer: str, zone: str, clock: Clock) -> list[list[datetime]]:
    wanted = [(zone, cron) for cron in CRONS]
    begin, end = (int(at.timestamp()) for at in (clock.begin, clock.end))
    ended = subprocess.run(
        [Environment(peer).program("python"), "-m", "bench.peers.sides.next_times", peer],
        cwd=ROOT,
        input=json.dumps({"begin": begin, "end": end, "wanted": wanted}),
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    if ended.returncode:
        raise BenchFailed(f"{peer}: {(ended.stderr.splitlines() or ['no output'])[-1]}")
    return [[datetime.fromtimestamp(at, UTC) for at in times] for times in json.loads(ended.stdout)]
