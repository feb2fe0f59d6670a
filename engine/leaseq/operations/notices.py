"""Record the events of this process that a person may want to know of.

A listener keeps them in memory, at most `PER_SECOND` of a name in a second and `CAPACITY` in all,
and counts the others. They are written every FLUSH_SECONDS, and at the end of the process. A process
that is killed loses the last two seconds of them. While Postgres is away they wait in memory. No
task and no worker depends on any of this, and no event of a plain task is among them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from leaseq.codec import is_task_id
from leaseq.errors import LeaseqError
from leaseq.ledger.notices import LevelName, NewNotice, NoticeLedger, NoticeRole
from leaseq.loop import end, run_forever
from leaseq.observability.events import CATALOGUE, WARNING
from leaseq.observability.telemetry import Event, subscribe
from leaseq.safe_text.printable import printable

FLUSH_SECONDS = 2.0
PER_SECOND = 10
CAPACITY = 500
# A server that does not answer must not delay the end of the process.
END_SECONDS = 0.3
TEXT_LENGTH, MOST_LISTED = 300, 20

# Each FAILED task has a row of its own, and a request that failed may quote the client.
_LEFT_OUT = frozenset({"task.failed", "log.dropped", "request.failed", "handler.overran"})
_BESIDES = (
    *("worker.opened", "worker.closed", "worker.draining", "queue.paused", "queue.resumed"),
    *("backlog.began", "backlog.ended", "child.started", "child.exited"),
    *("supervisor.started", "supervisor.draining", "supervisor.stopped"),
    *("reaper.started", "reaper.stopped", "api.started", "api.stopped"),
    *("ledger.returned", "dispatch.returned"),
)
NAMES = frozenset(
    {name for name, kind in CATALOGUE.items() if kind.level >= WARNING} - _LEFT_OUT | {*_BESIDES}
)
_LEVELS: dict[int, LevelName] = {logging.WARNING: "warning", logging.ERROR: "error"}


class _Kept(Struct, frozen=True):
    """An event, and when it happened by the monotonic clock of this process."""

    at: float
    notice: NewNotice


class NoticeBuffer:
    """The events that are not recorded yet. `hear` may be called by any thread."""

    def __init__(self, ledger: NoticeLedger, role: NoticeRole) -> None:
        self._ledger = ledger
        self._role = role
        self._kept: list[_Kept] = []
        self._second = 0
        self._heard: dict[str, int] = defaultdict(int)  # in this second
        self._left_out: dict[str, int] = defaultdict(int)

    def hear(self, event: Event) -> None:
        """Keep an event, or count it."""
        now = monotonic()
        if int(now) != self._second:
            self._second = int(now)
            self._heard.clear()
        self._heard[event.name] += 1
        if self._heard[event.name] > PER_SECOND or len(self._kept) >= CAPACITY:
            self._left_out[event.name] += 1
            return
        self._kept.append(_Kept(now, _notice_of(event)))

    async def flush(self) -> None:
        """Record the events that are kept. After an error they are kept for the next time."""
        kept, self._kept = self._kept, []
        left_out, self._left_out = self._left_out, defaultdict(int)
        if not kept:
            self._left_out = left_out
            return
        now, counted = monotonic(), dict(left_out)
        noticed = []
        for each in reversed(kept):  # the last one of a name carries the count
            count = counted.pop(each.notice.name, 0)
            noticed.append(replace(each.notice, age_seconds=now - each.at, count=count))
        try:
            await self._ledger.record(self._role, noticed[::-1])
        except BaseException:
            self._kept = [*kept, *self._kept][:CAPACITY]
            for name, count in left_out.items():
                self._left_out[name] += count
            raise

    async def end(self) -> None:
        """Record the rest, if the ledger answers in time."""
        with suppress(LeaseqError, TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await self.flush()


@asynccontextmanager
async def noticed(ledger: NoticeLedger, role: NoticeRole) -> AsyncIterator[NoticeBuffer]:
    """Record the events of this process for as long as the block lasts."""
    buffer = NoticeBuffer(ledger, role)
    unsubscribe = subscribe(buffer.hear, names=NAMES)

    async def flush() -> None:
        # An outage of Postgres is reported by the code that needs it.
        with suppress(LeaseqError):
            await buffer.flush()

    stop = asyncio.Event()
    flushes = asyncio.create_task(
        run_forever(flush, name="notices", interval_seconds=FLUSH_SECONDS, stop=stop)
    )
    try:
        yield buffer
    finally:
        unsubscribe()
        # A flush that is under way may be recorded already, and would be sent again.
        stop.set()
        await asyncio.wait([flushes], timeout=END_SECONDS)
        await end(flushes)
        await buffer.end()


def _notice_of(event: Event) -> NewNotice:
    fields = event.fields
    task_id, queue = fields.get("task_id"), fields.get("queue")
    worker_id = fields.get("worker_id")
    shown = {name: _short(value) for name, value in fields.items() if name != "traceback"}
    return NewNotice(
        age_seconds=0.0,
        name=event.name,
        level=_LEVELS.get(event.level, "info"),
        queue=printable(queue) if isinstance(queue, str) else None,
        task_id=task_id if isinstance(task_id, str) and is_task_id(task_id) else None,
        worker_id=printable(worker_id) if isinstance(worker_id, str) else None,
        fields=shown,
    )


def _short(value: Any) -> Any:
    """The value of a field as JSON that Postgres can store, and short."""
    if value is None or isinstance(value, bool | int | float):
        return value if not isinstance(value, float) or value == value else None
    if isinstance(value, list | tuple | set | frozenset):
        return [_short(each) for each in list(value)[:MOST_LISTED]]
    text = printable(str(value))
    return text if len(text) <= TEXT_LENGTH else f"{text[: TEXT_LENGTH - 1]}…"


__all__ = ["NAMES", "NoticeBuffer", "noticed"]
