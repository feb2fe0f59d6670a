"""Wait for tasks to end or to change.

All watches of a process share the polls of the ledger. One poll asks about every watched task, and
Postgres answers only with those that have ended or changed, so a poll about thousands of tasks of
which none did costs this process as little as a poll about one. A new watch is looked at often in
its first moments, and then with all others at one pace (`Pace`). Every few seconds a poll reads all
of them: it finds the tasks that are gone, and the changes of a failover of Postgres. Where many
wait, polls have a budget: a burst of them, and so many a second in the long run, however many
callers come and go. The ledger is asked, not dispatch: the answer is the truth, and holds while
Redis is away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from msgspec import Struct

from leaseq.errors import ServerUnreachable
from leaseq.ledger.arrays import words
from leaseq.ledger.followed import Changes, FollowedTasks
from leaseq.loop import end
from leaseq.model import TERMINAL
from leaseq.observability.telemetry import emit
from leaseq.safe_text.exceptions import told

FIRST_POLL_SECONDS = 0.002
SLOWEST_POLL_SECONDS = 0.25
GROWTH = 1.5
# While this many tasks are watched, polls have a budget. A few need none: the quick looks of each
# end soon.
CROWD = 32
BURST = 16.0
POLLS_PER_SECOND = 20.0
# In a crowd a new watch has no quick looks where the look at all of them comes this soon: they would
# use up the budget, and all others would be looked at less often.
SOON_SECONDS = 0.1
# From one poll that reads all tasks to the next.
WHOLE_SECONDS = 5.0
AWAY_SECONDS = 0.25
FAULT_SECONDS = 1.0


class Pace(Struct, frozen=True):
    """How often all watched tasks are looked at: every `seconds`, or `share` times as long as a
    look takes, if that is more, and at least every `SLOWEST_POLL_SECONDS`."""

    seconds: float = SLOWEST_POLL_SECONDS
    share: float = 0.0

    def interval(self, took: float) -> float:
        """The seconds from one look to the next, where a look takes `took` seconds."""
        return min(max(self.seconds, self.share * took), SLOWEST_POLL_SECONDS)


class Watch:
    """One caller that waits for one task. `news` is set when there may be something to read."""

    __slots__ = ("ended", "ends_only", "news", "task_id", "version")

    def __init__(self, task_id: str, *, ends_only: bool) -> None:
        self.task_id = task_id
        self.ends_only = ends_only
        self.news = asyncio.Event()
        self.ended = False
        # of the row that the caller has read last
        self.version: str | None = None

    def tell(self, version: str | None, *, ended: bool) -> None:
        """Take what a poll has found; without a `version`, the task is gone."""
        self.ended = self.ended or ended
        if ended if self.ends_only else version is None or version != self.version:
            self.news.set()


class _Watched:
    """The watches of one task, and the time of its next quick look."""

    __slots__ = ("due", "interval", "watches")

    def __init__(self) -> None:
        self.watches: set[Watch] = set()
        self.interval = FIRST_POLL_SECONDS
        self.due = 0.0


class Waiter:
    """Wakes callers when the ledger says that their tasks have ended or changed, or no longer has
    them."""

    def __init__(self, ledger: FollowedTasks) -> None:
        self.pace = Pace()
        self._ledger = ledger
        self._watched: dict[str, _Watched] = {}
        # Those that came lately and are looked at more often.
        self._quick: dict[str, _Watched] = {}
        self._all_ids: str | None = None
        self._since: str | None = None
        self._due = self._whole_due = float("-inf")
        self._took = 0.0
        self._poller: asyncio.Task[None] | None = None
        self._came = asyncio.Event()
        self._budget = BURST
        self._spent_at = monotonic()
        self._released = False

    async def wait(self, task_id: str, *, timeout: float) -> bool:
        """Wait until the task has ended; False if `timeout` seconds pass first, or all watches are
        released."""
        with self.watch(task_id, ends_only=True) as watch:
            try:
                async with asyncio.timeout(timeout):
                    await watch.news.wait()
            except TimeoutError:
                return False
            return watch.ended

    @contextmanager
    def watch(self, task_id: str, *, ends_only: bool = False) -> Iterator[Watch]:
        """Watch a task within the block. Read the task after the watch has begun: what changes
        later is news."""
        watch = Watch(task_id, ends_only=ends_only)
        if self._released:
            watch.news.set()
        watched = self._watched.get(task_id)
        if watched is None:
            watched = self._watched[task_id] = _Watched()
            self._all_ids = None
        watched.watches.add(watch)
        watched.interval = FIRST_POLL_SECONDS
        watched.due = monotonic()
        self._quick[task_id] = watched
        self._came.set()
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll())
        try:
            yield watch
        finally:
            watched.watches.discard(watch)
            if not watched.watches and self._watched.get(task_id) is watched:
                del self._watched[task_id]
                self._quick.pop(task_id, None)
                self._all_ids = None

    def release(self) -> None:
        """Wake all callers, now and from now on: this process is about to stop."""
        self._released = True
        for watched in self._watched.values():
            for watch in watched.watches:
                watch.news.set()

    async def aclose(self) -> None:
        """End the polls; callers that still wait run into their time-out."""
        if self._poller is not None:
            await end(self._poller)

    async def _poll(self) -> None:
        while self._watched:
            await self._until_due()
            now = monotonic()
            try:
                if now >= self._due:
                    await self._look_at_all(now)
                else:
                    await self._look_at_quick(now)
            except ServerUnreachable:
                self._put_off(AWAY_SECONDS)
            except Exception as error:
                emit("loop.failed", loop="wait", error=told(error))
                self._put_off(FAULT_SECONDS)

    def _put_off(self, seconds: float) -> None:
        """Look again after so many seconds, at all of them."""
        self._since = None
        self._due = monotonic() + seconds
        self._quick.clear()

    async def _look_at_all(self, now: float) -> None:
        if now >= self._whole_due:
            self._since = None
        asked, since = [*self._watched], self._since
        self._slow_down(now)
        if self._all_ids is None:
            self._all_ids = words(asked)
        changes = await self._ledger.find_changed(self._all_ids, since=since)
        after = monotonic()
        self._took += ((after - now) - self._took) / 4
        self._due = after + self.pace.interval(self._took)
        self._since = changes.horizon
        if since is None:
            self._whole_due = after + WHOLE_SECONDS
            self._tell_gone(asked, changes)
        self._tell(changes)

    async def _look_at_quick(self, now: float) -> None:
        due = [task_id for task_id, watched in self._quick.items() if watched.due <= now]
        if due:
            self._slow_down(now)
            self._tell(await self._ledger.find_changed(words(due), since=self._since))

    def _slow_down(self, now: float) -> None:
        """Set the next quick looks of those that are looked at now."""
        slow = self.pace.interval(self._took)
        for task_id, watched in [*self._quick.items()]:
            if watched.due <= now:
                watched.due = now + watched.interval
                watched.interval *= GROWTH
                if watched.interval >= slow:
                    del self._quick[task_id]

    def _tell(self, changes: Changes) -> None:
        for change in changes.found:
            watched = self._watched.get(change.task_id)
            for watch in watched.watches if watched is not None else ():
                watch.tell(change.version, ended=change.state in TERMINAL)

    def _tell_gone(self, asked: list[str], changes: Changes) -> None:
        for task_id in {*asked} - {change.task_id for change in changes.found}:
            watched = self._watched.get(task_id)
            for watch in watched.watches if watched is not None else ():
                watch.tell(None, ended=True)

    async def _until_due(self) -> None:
        """Sleep until a look is due and the budget has a poll."""
        self._refill()
        if self._budget < 1.0 and len(self._watched) >= CROWD:
            await asyncio.sleep((1.0 - self._budget) / POLLS_PER_SECOND)
            self._refill()
        while self._watched:
            self._came.clear()
            left = self._due - monotonic()
            if left > SOON_SECONDS or len(self._watched) < CROWD:
                quick = (watched.due for watched in self._quick.values())
                left = min([self._due, *quick]) - monotonic()
            if left <= 0:
                break
            try:
                async with asyncio.timeout(left):
                    await self._came.wait()
            except TimeoutError:
                break
        self._budget = max(self._budget - 1.0, 0.0)

    def _refill(self) -> None:
        now = monotonic()
        self._budget = min(BURST, self._budget + (now - self._spent_at) * POLLS_PER_SECOND)
        self._spent_at = now


__all__ = ["Pace", "Waiter", "Watch"]
