"""Judge which workers look dead, from their beats over time.

This is pure judgement: it takes observations, and reads no store. Invariants: every time span is
measured on this reaper's own monotonic clock. The clock of dispatch counts at one instant only,
when a beat is first seen, for the rest of its lease (docs/pitfalls.md#p7, #p8: a later step of that
clock changes nothing). A beat that was not seen moving is no evidence until it has been watched for
a whole lease, so a reaper that has just started, or was itself away, suspects no worker. Continuous
trouble (a starved reaper, a Redis that fails now and then) suspends it for at most TROUBLED_LEASES.
The next look then judges, by beats that did not move over all the looks before it. A wrong
judgement is legal (the ledger's compare-and-set and the fences handle it), but it costs a run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from leaseq.dispatch.leases import LeaseView

Clock = Callable[[], float]

# More left of a lease than this many leases is no lease but the trace of a clock that was set back.
FURTHEST_LEASES = 6
# Continuous trouble keeps the reaper quiet for at most TROUBLED_LEASES. A look later than
# AWAY_LEASES begins it again.
TROUBLED_LEASES = 3
AWAY_LEASES = 2


class HeartbeatObservation(Struct, frozen=True):
    """One value of a beat counter: when it was first seen, and for how long it may stand still from
    then on."""

    beat: int
    since: float
    good_for: float


class Suspicion:
    """Watches beats, queue by queue."""

    def __init__(self, *, lease_seconds: float, clock: Clock = time.monotonic) -> None:
        self._lease = lease_seconds
        self._clock = clock
        self._observations: dict[str, dict[str, HeartbeatObservation]] = {}
        self._gone: dict[str, dict[str, float]] = {}
        self._watched: dict[str, float] = {}
        self._asked = clock()
        self._suspended_until = -1.0
        self._trouble: str | None = None
        self._troubled_since: float | None = None

    def suspend(self, reason: str) -> None:
        """Note an event after which silence proves nothing: from the next look on, suspect no
        worker for a whole lease."""
        self._trouble = self._trouble or reason

    def look(self, seen: Mapping[str, Sequence[LeaseView]], *, asked: float) -> str | None:
        """Take in the leases of each queue that could be read. `asked` is when the first question
        was sent, by `clock`.

        Returns the reason if a quiet period begins now, and is not the continuation of one.
        """
        now = self._clock()
        late = now - self._asked if self._watched else 0.0
        if late > self._lease / 2:
            # We were frozen or starved, and perhaps all workers with us: wait for their next beats.
            self.suspend("this reaper did not look for half a lease")
        self._asked = asked
        for queue in set(self._watched) - set(seen):
            self._forget(queue)
        for queue, views in seen.items():
            self._watched.setdefault(queue, now)
            self._take_in(queue, views, now)
        return self._keep_suspended(now, away=late > AWAY_LEASES * self._lease)

    def _keep_suspended(self, now: float, *, away: bool) -> str | None:
        reason, self._trouble = self._trouble, None
        if reason is None:
            if self._asked >= self._suspended_until:
                self._troubled_since = None
            return None
        since, self._troubled_since = self._troubled_since, None
        if since is not None and not away and now - since >= TROUBLED_LEASES * self._lease:
            self._suspended_until = -1.0
            return None
        begins = since is None or away
        self._troubled_since = now if begins else since
        self._suspended_until = now + self._lease
        return reason if begins else None

    @property
    def is_suspended(self) -> bool:
        """Whether no worker is suspected at present."""
        return self._trouble is not None or self._asked < self._suspended_until

    def lapsed(self, worker_id: str, queues: Iterable[str]) -> bool:
        """Whether this worker has been silent in each of its queues for as long as its leases there
        could last."""
        return not self.is_suspended and all(self._silent(queue, worker_id) for queue in queues)

    def absent(self, worker_id: str, queues: Iterable[str]) -> bool:
        """Whether at least one of these does not know it. Then its list there may have been lost
        with its lease."""
        return any(worker_id not in self._observations.get(queue, {}) for queue in queues)

    def _silent(self, queue: str, worker_id: str) -> bool:
        if queue not in self._watched:
            return False
        sighting = self._observations[queue].get(worker_id)
        if sighting is not None:
            return self._asked - sighting.since >= sighting.good_for
        # It may have been there before we came, so an absence counts from when we began to watch.
        return self._asked - self._gone[queue].get(worker_id, self._watched[queue]) >= self._lease

    def _take_in(self, queue: str, views: Sequence[LeaseView], now: float) -> None:
        before = self._observations.get(queue, {})
        after: dict[str, HeartbeatObservation] = {}
        for view in views:
            known = before.get(view.worker_id)
            if known is None or known.beat != view.beat:
                left = min(view.left_ms / 1000, FURTHEST_LEASES * self._lease)
                known = HeartbeatObservation(view.beat, now, max(self._lease, left))
            after[view.worker_id] = known
        old = self._gone.get(queue, {})
        gone = {
            worker_id: since for worker_id, since in old.items() if now - since < 2 * self._lease
        }
        gone |= dict.fromkeys(before.keys() - after.keys(), now)
        self._observations[queue] = after
        self._gone[queue] = gone

    def _forget(self, queue: str) -> None:
        for book in (self._observations, self._gone, self._watched):
            book.pop(queue, None)


class MassFailureBrake:
    """Tells an outage from deaths: when most of the fleet lapses together, look again after a
    further lease.

    The workers of one host die together when it does, and that is a death like any other, promised
    back within a lease and two seconds (G5); so the brake asks for more than one host.
    """

    def __init__(self, *, lease_seconds: float, clock: Clock = time.monotonic) -> None:
        self._lease = lease_seconds
        self._clock = clock
        self._since: float | None = None

    def holds(self, *, lapsed: int, of: int, hosts: int) -> bool:
        """Whether `lapsed` workers of `of` open ones, on so many hosts, may not be recovered yet."""
        if not is_mass_failure(lapsed=lapsed, of=of) or hosts < 2:
            self._since = None
            return False
        if self._since is None:
            self._since = self._clock()
        return self._clock() - self._since < self._lease


def is_mass_failure(*, lapsed: int, of: int) -> bool:
    """Whether more than half of the workers have lapsed, and at least three."""
    return lapsed >= 3 and 2 * lapsed > of


__all__ = ["Clock", "HeartbeatObservation", "MassFailureBrake", "Suspicion", "is_mass_failure"]
