"""Show the changes of tasks in general to those who listen.

No index leads to the tasks that have changed, and the path of a task does nothing for a listener.
So the feed looks at a part of the table, while there are listeners: at the newest tasks, and at older
ones that it has seen before they ended. All listeners of a process share each look. Changes
that a listener does not take in time are counted and left out, so that it holds a bounded part of
memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct

from leaseq.errors import ServerUnreachable
from leaseq.ledger.followed import FollowedTasks, Written, WrittenTask
from leaseq.loop import end
from leaseq.model import TERMINAL
from leaseq.observability.telemetry import emit
from leaseq.safe_text.exceptions import told

LOOK_SECONDS = 0.25
AWAY_SECONDS = 1.0
# Tasks that are looked at: the newest ones, and older ones that have not ended.
NEWEST = 5_000
UNFINISHED = 5_000
# Tasks whose last version is remembered.
REMEMBERED = 20_000
# Changes that wait for one listener.
WAITING = 1_000


class FeedFilter(Struct, frozen=True):
    """The tasks that one listener is interested in; None means any."""

    tenant: str | None
    queue: str | None
    type: str | None

    def wants(self, task: WrittenTask) -> bool:
        """Whether a change of this task is for the listener."""
        return (
            self.tenant in (None, task.tenant)
            and self.queue in (None, task.queue)
            and self.type in (None, task.type)
        )


class Listener:
    """One listener. `news` is set when there is something to take."""

    def __init__(self, wanted: FeedFilter, *, since: str | None = None) -> None:
        self.wanted = wanted
        # the horizon after which a listener that comes back continues; None: it has done so
        self.since = since
        self.news = asyncio.Event()
        # of the last look whose changes were all taken; the client continues after it
        self.horizon: str | None = None
        self._waiting: deque[WrittenTask] = deque(maxlen=WAITING)
        self._next_horizon: str | None = None
        self._missed = 0

    def put(self, tasks: list[WrittenTask], horizon: str) -> None:
        """Add the changes of one look."""
        wanted = [task for task in tasks if self.wanted.wants(task)]
        self._missed += max(len(self._waiting) + len(wanted) - WAITING, 0)
        self._waiting.extend(wanted)
        self._next_horizon = horizon
        if wanted:
            self.news.set()

    def take(self) -> tuple[list[WrittenTask], int]:
        """All changes that wait, and the number of those that were left out before them."""
        taken, missed = [*self._waiting], self._missed
        self._waiting.clear()
        self._missed = 0
        self.horizon = self._next_horizon
        return taken, missed


class Feed:
    """The feed of one process."""

    def __init__(self, ledger: FollowedTasks) -> None:
        self._ledger = ledger
        self._listeners: set[Listener] = set()
        self._looking: asyncio.Task[None] | None = None
        self._since: str | None = None
        self._known: dict[str, tuple[object, ...]] = {}
        self._unfinished: dict[str, None] = {}
        self._released = False

    @contextmanager
    def listen(self, wanted: FeedFilter, *, since: str | None = None) -> Iterator[Listener]:
        """Listen within the block, from the next look on, or from the horizon of an earlier one by
        any process: then some changes may come again, and only those among the newest tasks."""
        listener = Listener(wanted, since=since)
        if self._released:
            listener.news.set()
        self._listeners.add(listener)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_again_and_again())
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    def release(self) -> None:
        """Wake all listeners, now and from now on: this process is about to stop."""
        self._released = True
        for listener in self._listeners:
            listener.news.set()

    async def aclose(self) -> None:
        """End the looks."""
        if self._looking is not None:
            await end(self._looking)

    async def _look_again_and_again(self) -> None:
        """Look as long as there are listeners. Changes before the first look are no news."""
        self._since = None
        self._known.clear()
        self._unfinished.clear()
        is_first = True
        while self._listeners:
            try:
                written = await self._list(self._since)
                listeners = {*self._listeners}
                back = [listener for listener in listeners if listener.since is not None]
                # After the look, so that nothing lies between the two.
                missed = await self._list(_oldest(back)) if back else written
            except Exception as error:
                # After a failover the numbers of transactions may be lower: look at all.
                self._since = None
                if not isinstance(error, ServerUnreachable):
                    emit("loop.failed", loop="feed", error=told(error))
                await asyncio.sleep(AWAY_SECONDS)
                continue
            self._since = written.horizon
            news = self._note(written)
            for listener in listeners:
                is_back = listener.since is not None
                listener.since = None
                changed = missed.tasks if is_back else news
                listener.put([] if is_first and not is_back else changed, written.horizon)
            is_first = False
            await asyncio.sleep(LOOK_SECONDS)

    async def _list(self, since: str | None) -> Written:
        return await self._ledger.list_written(self._unfinished, rows=NEWEST, since=since)

    def _note(self, written: Written) -> list[WrittenTask]:
        """Remember the versions of tasks. Returns those that differ in what a listener sees: not a
        task whose progress has changed."""
        news = []
        for task in written.tasks:
            seen = (
                task.state,
                task.attempt,
                task.run_at,
                task.finished_at,
                task.cancel_requested_at,
            )
            if self._known.pop(task.task_id, None) != seen:
                news.append(task)
            self._known[task.task_id] = seen
            if task.state in TERMINAL:
                self._unfinished.pop(task.task_id, None)
            else:
                self._unfinished[task.task_id] = None
        for known, most in ((self._known, REMEMBERED), (self._unfinished, UNFINISHED)):
            while len(known) > most:
                del known[next(iter(known))]
        return news


def _oldest(listeners: list[Listener]) -> str:
    """The first of the horizons from which these continue: one look serves all of them."""
    return min((listener.since or "" for listener in listeners), key=int)


__all__ = ["Feed", "FeedFilter", "Listener"]
