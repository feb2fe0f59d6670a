"""The times of a cron expression in a year, as a task queue computes them.

`python -m bench.peers.sides.next_times PEER` runs in the environment of a peer. It reads
`{"begin": ..., "end": ..., "wanted": [[zone, cron], ...]}` from stdin, with times in seconds since
1970, and prints a list of times for each wanted one. Each peer's own code is asked in the way in
which the peer asks it. Standard library only, but for the peer.
"""

import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from itertools import takewhile
from typing import Any
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
MILLISECONDS = 1000
# The zone, the expression, and the begin, after which the times lie.
Times = Callable[[str, str, datetime], Iterator[datetime]]


def leaseq(zone: str, cron: str, begin: datetime) -> Iterator[datetime]:
    """From the last time to the next, as a firing does."""
    timing = import_module("leaseq.schedules.timing")
    at, wanted = begin, timing.Timing(cron=cron, zone=zone)
    while True:
        at = timing.next_after(wanted, at)
        yield at


def dbos(zone: str, cron: str, begin: datetime) -> Iterator[datetime]:
    """A thread for each schedule keeps one iterator of croniter (its module `dbos._scheduler`)."""
    croniter: Any = import_module("croniter").croniter
    times = croniter(cron, begin.astimezone(ZoneInfo(zone)), second_at_beginning=True)
    while True:
        yield times.get_next(datetime)


def bullmq(zone: str, cron: str, begin: datetime) -> Iterator[datetime]:
    """From the last time to the next, as a job scheduler does."""
    scheduler: Any = import_module("bullmq.job_scheduler")
    at = int(begin.timestamp() * MILLISECONDS)
    while True:
        at = scheduler.default_repeat_strategy(at, {"pattern": cron, "tz": zone})
        yield datetime.fromtimestamp(at / MILLISECONDS, UTC)


def pgqueuer(zone: str, cron: str, begin: datetime) -> Iterator[datetime]:
    """From now to the next (its module `pgqueuer.core.executors`). It has no zones: all is UTC."""
    croniter: Any = import_module("croniter").croniter
    at = begin
    while True:
        at = datetime.fromtimestamp(croniter(cron, start_time=at).get_next(), UTC)
        yield at


def oban(zone: str, cron: str, begin: datetime) -> Iterator[datetime]:
    """Each minute is asked whether it is one of its times."""
    expression = import_module("oban._scheduler").Expression.parse(cron)
    place, at = ZoneInfo(zone), begin
    while True:
        at += MINUTE
        if expression.is_now(at.astimezone(place)):
            yield at


PEERS: dict[str, Times] = {
    "leaseq": leaseq,
    "pgqueuer": pgqueuer,
    "bullmq": bullmq,
    "oban": oban,
    "dbos": dbos,
}


def main() -> None:
    """Answer for each wanted expression."""
    asked = json.load(sys.stdin)
    times = PEERS[sys.argv[1]]
    # A time at the begin counts, and each peer looks for those after.
    begin = datetime.fromtimestamp(asked["begin"], UTC) - MINUTE
    end = datetime.fromtimestamp(asked["end"], UTC)
    print(
        json.dumps(
            [
                [round(at.timestamp()) for at in takewhile(end.__gt__, times(zone, cron, begin))]
                for zone, cron in asked["wanted"]
            ]
        )
    )


if __name__ == "__main__":
    main()
