"""The positions in the schedule from which promote reads due tasks.

A promoted row leaves an entry in the index `scheduled_due`, at the head of its place (a queue and a
priority). While a long transaction anywhere (pg_dump, a forgotten session) still sees that row,
every look from the beginning reads the entry again: after 400,000 promotions a look takes more than
a second, ten times a second.

So most looks begin where the promotions of a place stood REREAD_SECONDS ago, and read no entry
twice for longer than that. Why no row is missed:
- Promotions follow `run_at`, and only due tasks are promoted, so a position is never ahead of the
  moment at which it was noted. A row that becomes visible within REREAD_SECONDS of its `run_at`
  therefore lies behind the position, and the next look finds it.
- A row that becomes visible later (a caller's own transaction that commits long after its
  submission, a row that another reaper had locked, a clock of Postgres that was set back) may lie
  before it. A whole look, from the beginning of every place, finds it. A whole look that took t
  seconds is repeated after WHOLE_REST * t: in every pass while looks are quick, and for a tenth of
  the time where they are not.
- A place without a position is looked at from its beginning.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from heapq import nlargest

from leaseq.ledger.due_tasks import Due, DuePlace
from leaseq_reaper.duties.suspicion import Clock

REREAD_SECONDS = 5.0
WHOLE_REST = 10.0
WHOLE_REST_CAP_SECONDS = 60.0
# A whole look this quick shows that few entries are left: positions of places that have been quiet
# are forgotten.
QUICK_SECONDS = 0.02
# A place needs a position only where much was promoted, and a statement can only name so many.
MOST_PLACES = 1000


class Track:
    """The recent positions of one place, oldest first, each with the time at which it was noted."""

    def __init__(self) -> None:
        self.noted: deque[tuple[float, Due]] = deque()
        self.promoted = 0

    def as_of(self, moment: float) -> Due | None:
        """The last position that was noted before this moment; the older ones are forgotten."""
        while len(self.noted) > 1 and self.noted[1][0] <= moment:
            self.noted.popleft()
        return self.noted[0][1] if self.noted and self.noted[0][0] <= moment else None


class DuePositions:
    """Remembers how far the promotions of each place have come."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._tracks: dict[DuePlace, Track] = {}
        self._whole_at = clock()
        self._whole_began: float | None = None

    def begin(self) -> list[Due]:
        """A look begins: the positions to begin at; none for a whole look."""
        now = self._clock()
        self._whole_began = None
        if now >= self._whole_at:
            self._whole_began = now
            return []
        known = [
            (track.promoted, place, due)
            for place, track in self._tracks.items()
            if (due := track.as_of(now - REREAD_SECONDS))
        ]
        return [due for _, _, due in nlargest(MOST_PLACES, known, key=lambda one: one[0])]

    def end(self) -> None:
        """The look that began has its answer."""
        if self._whole_began is None:
            return
        now = self._clock()
        took = now - self._whole_began
        self._whole_at = now + min(WHOLE_REST * took, WHOLE_REST_CAP_SECONDS)
        if took < QUICK_SECONDS:
            quiet = now - WHOLE_REST_CAP_SECONDS
            self._tracks = {
                place: track for place, track in self._tracks.items() if track.noted[-1][0] > quiet
            }

    def promoted(self, rests: Sequence[tuple[Due, int]]) -> None:
        """Promotions have come to these positions; how many there were."""
        now = self._clock()
        for due, count in rests:
            track = self._tracks.setdefault(due.place, Track())
            track.promoted += count
            track.noted.append((now, due))
            track.as_of(now - REREAD_SECONDS)


__all__ = ["DuePositions"]
