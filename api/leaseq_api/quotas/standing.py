"""The quotas of one tenant, and its use of them, as one process knows them.

The use is what the ledger had at the last look, and what this process has accepted since. A task is
added before it is recorded, so that submissions that come at the same time do not share the same
room.
"""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from math import ceil

from msgspec import Struct

from leaseq.model import Submission, TenantQuotas
from leaseq_api.quotas.headers import POLICY, STANDING, Header

DAY_SECONDS = 86_400
# Tasks that have ended are noticed within so long.
RETRY_SECONDS = 3


class Day(Struct, frozen=True):
    """A UTC day by the clock of Postgres, and its end by the clock of the event loop."""

    date: date
    ends_at: float

    def at(self, now: float) -> Day:
        """The day at a moment, which may be a later one than at the last look."""
        if now < self.ends_at:
            return self
        late = 1 + int((now - self.ends_at) // DAY_SECONDS)
        return Day(self.date + timedelta(days=late), self.ends_at + late * DAY_SECONDS)


class Excess(Struct, frozen=True):
    """The quota that a submission exceeds."""

    policy: str
    code: str
    detail: str
    retry_after: int


class Standing:
    """The quotas of one tenant and its use of them."""

    def __init__(self, tenant: str, day: Day, own_bytes: Counter[date]) -> None:
        self.tenant = tenant
        self.set_limits(TenantQuotas())
        self.day = day
        self.stale_at = float("-inf")
        self.told_at: dict[str, float] = {}
        # Unfinished tasks by queue: listed in the ledger at the last look, and added since by this
        # process. Those in flight are a part of these, and may not be recorded.
        self.listed: Counter[str] = Counter()
        self.added: Counter[str] = Counter()
        self.in_flight: Counter[str] = Counter()
        self._total = 0  # of `listed` and `added`: a tenant may have very many queues
        # Bytes: of other processes on `day`, at the last look; of this process, by day.
        self.other_bytes = 0
        self.own_bytes = own_bytes
        self.bytes_in_flight = 0

    def set_limits(self, limits: TenantQuotas) -> None:
        """Take over the quotas of the ledger."""
        self.limits = limits
        policies = [
            f'"{name}";q={most};{more}'
            for name, most, more in (
                ("unfinished", limits.unfinished, 'qu="tasks"'),
                ("unfinished-per-queue", limits.unfinished_per_queue, 'qu="tasks"'),
                (
                    "payload-bytes",
                    limits.payload_bytes_per_day,
                    f'qu="content-bytes";w={DAY_SECONDS}',
                ),
            )
            if most is not None
        ]
        self._policy = (POLICY, ", ".join(policies).encode())

    @property
    def lists_tasks(self) -> bool:
        """Whether unfinished tasks of the tenant are listed."""
        return self.limits.unfinished is not None or self.limits.unfinished_per_queue is not None

    def see_listed(self, listed: Counter[str]) -> None:
        """Take over the count of the ledger. Tasks in flight are added, because they may not be in
        it. A task that began and was recorded while the ledger counted is missed until the next look."""
        self.listed = listed
        self.added = Counter(self.in_flight)
        self._total = self.listed.total() + self.added.total()

    def unfinished(self, queue: str | None = None) -> int:
        """The unfinished tasks in one queue, or in all."""
        if queue is not None:
            return self.listed[queue] + self.added[queue]
        return self._total

    def fullest_queues(self, most: int) -> list[tuple[str, int]]:
        """The queues with most unfinished tasks, and how many each has, by name."""
        used = self.listed + self.added
        return sorted(used.most_common(most))

    def payload_bytes(self, now: float) -> int:
        """The bytes of payloads that were accepted today."""
        today = self.day.at(now)
        others = self.other_bytes if today.date == self.day.date else 0
        return others + self.own_bytes[today.date] + self.bytes_in_flight

    def excess(self, submission: Submission, now: float) -> Excess | None:
        """The first quota that a submission exceeds; None: it may be recorded."""
        limits, queue = self.limits, submission.queue
        if limits.unfinished is not None and self.unfinished() >= limits.unfinished:
            return Excess(
                "unfinished",
                "unfinished_limited",
                f"the tenant may have {limits.unfinished:,} unfinished tasks, and has as many",
                RETRY_SECONDS,
            )
        most = limits.unfinished_per_queue
        if most is not None and self.unfinished(queue) >= most:
            return Excess(
                "unfinished-per-queue",
                "unfinished_limited",
                f"the tenant may have {most:,} unfinished tasks in a queue, and has as many in queue {queue}",
                RETRY_SECONDS,
            )
        most, size = limits.payload_bytes_per_day, len(submission.payload)
        if most is not None and self.payload_bytes(now) + size > most:
            left = max(0, most - self.payload_bytes(now))
            return Excess(
                "payload-bytes",
                "payload_bytes_limited",
                f"the tenant may submit {most:,} bytes of payloads in a UTC day: {left:,} are left, and "
                f"this payload has {size:,}",
                self.seconds_left(now),
            )
        return None

    def seconds_left(self, now: float) -> int:
        """The seconds until the bytes of a day begin again."""
        return max(1, ceil(self.day.at(now).ends_at - now))

    def begin(self, submission: Submission) -> None:
        """Note that a submission is being recorded."""
        self.add(submission.queue, 1)
        self.in_flight[submission.queue] += 1
        self.bytes_in_flight += len(submission.payload)

    def end(self, submission: Submission, *, counts: bool, day: date | None) -> None:
        """Note the end of `begin`. `counts`: the task is recorded, or may be. `day`: when it was
        recorded; None: its bytes do not count."""
        queue = submission.queue
        self.in_flight[queue] -= 1
        self.bytes_in_flight -= len(submission.payload)
        if not counts:
            self.add(queue, -1)
        if day is not None:
            self.add_bytes(submission, day)
        if not self.in_flight[queue]:
            del self.in_flight[queue]

    def add(self, queue: str, tasks: int) -> None:
        """Add unfinished tasks that the last look did not see."""
        self.added[queue] += tasks
        self._total += tasks

    def add_bytes(self, submission: Submission, day: date) -> None:
        """Count the bytes of a task that was recorded on a UTC day."""
        self.own_bytes[day] += len(submission.payload)

    def headers(self, queue: str, now: float) -> list[Header]:
        """The quotas and the rest of each, for the answer to a submission."""
        limits, rests = self.limits, []
        if limits.unfinished is not None:
            rests.append(b'"unfinished";r=%d' % max(0, limits.unfinished - self.unfinished()))
        if limits.unfinished_per_queue is not None:
            left = limits.unfinished_per_queue - self.unfinished(queue)
            rests.append(b'"unfinished-per-queue";r=%d' % max(0, left))
        if limits.payload_bytes_per_day is not None:
            left = limits.payload_bytes_per_day - self.payload_bytes(now)
            rests.append(b'"payload-bytes";r=%d;t=%d' % (max(0, left), self.seconds_left(now)))
        return [self._policy, (STANDING, b", ".join(rests))]


__all__ = ["Day", "Excess", "Standing"]
