"""Notices in the ledger: what happened to the cluster, for people.

A notice is an event of a process. No decision about a task rests on one: some may be missing, and
one may be there twice (docs/operations.md#notices).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from leaseq.ledger import rows
from leaseq.ledger.arrays import numbers, quoted
from leaseq.ledger.session import Session
from leaseq.model import Moment

NoticeRole = Literal["api", "reaper", "supervisor", "worker"]
LevelName = Literal["info", "warning", "error"]

# Notices that are looked at for one page of a list, and of one task.
LOOKED_AT = 5000
MOST_OF_TASK = 200
# Marks of one kind, the events that are marks, and workers among which versions are looked for.
MOST_MARKS = 100
MARKED = ("worker.reaped", "epoch.changed", "queue.paused", "queue.resumed")
MOST_OPENED = 2000


class NewNotice(Struct, frozen=True, kw_only=True):
    """An event to be recorded. `age_seconds`: since it happened; `count`: more of them that are left
    out."""

    age_seconds: float
    name: str
    level: LevelName
    queue: str | None
    task_id: str | None
    worker_id: str | None
    fields: dict[str, Any]
    count: int = 0


class NoticeRecord(Struct, frozen=True, kw_only=True):
    """One notice, as the ledger has it. `fields` is a JSON object."""

    notice_id: int
    at: Moment
    name: str
    level: LevelName
    role: NoticeRole
    host: str
    pid: int
    queue: str | None
    task_id: str | None
    worker_id: str | None
    fields: bytes
    count: int


class NoticeFilter(Struct, frozen=True, kw_only=True):
    """Which notices to list; `None` means any. `until` is exclusive. `cursor` is that of the page
    before."""

    name: str | None = None
    queue: str | None = None
    worker_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    cursor: int | None = None
    limit: int = 50


class NoticeListing(Struct, frozen=True):
    """A page of notices, newest first. With a `cursor` there may be more: the next page begins there,
    also where this one is empty."""

    notices: list[NoticeRecord]
    cursor: int | None


class Mark(Struct, frozen=True, kw_only=True):
    """A notice that explains a change in a chart: an event of `MARKED`, or `deployed`, the first
    worker of a version of the application. `about`: the worker, the queue or the version."""

    notice_id: int
    at: Moment
    kind: str
    about: str | None


class NoticeLedger:
    """Writes and reads notices in Postgres."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def record(self, role: NoticeRole, noticed: Sequence[NewNotice]) -> None:
        """Record what this process noticed. After an error they may be recorded or not."""
        encoded = [msgspec.json.encode(each.fields).decode() for each in noticed]
        params = {
            "role": role,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "ages": numbers([each.age_seconds for each in noticed]),
            "names": quoted([each.name for each in noticed]),
            "levels": quoted([each.level for each in noticed]),
            "queues": quoted([each.queue for each in noticed]),
            "task_ids": quoted([each.task_id for each in noticed]),
            "worker_ids": quoted([each.worker_id for each in noticed]),
            "fields": quoted(encoded),
            "counts": numbers([each.count for each in noticed]),
        }
        await self._session.fetch("record_notices", params)

    async def list_notices(self, wanted: NoticeFilter) -> NoticeListing:
        """One page of notices, newest first, from the next `LOOKED_AT`."""
        params = {
            "name": wanted.name,
            "queue": wanted.queue,
            "worker_id": wanted.worker_id,
            "since": wanted.since,
            "until": wanted.until,
            "cursor": wanted.cursor,
            "rows": LOOKED_AT,
            "limit": wanted.limit + 1,  # one more than is shown tells whether there is a next page
        }
        found = await self._session.fetch("list_notices", params, idempotent=True)
        page = [_to_notice(row) for row in found if row.notice_id is not None]
        if len(page) > wanted.limit:
            return NoticeListing(page[: wanted.limit], page[wanted.limit - 1].notice_id)
        more = bool(found) and found[0].looked == LOOKED_AT
        return NoticeListing(page, found[0].last if more else None)

    async def list_marks(self) -> list[Mark]:
        """The newest marks of each kind, newest first."""
        params = {"names": quoted(MARKED), "limit": MOST_MARKS, "workers": MOST_OPENED}
        found = await self._session.fetch("list_marks", params, idempotent=True)
        return [_to_mark(row) for row in found]

    async def list_of_task(self, task_id: str) -> list[NoticeRecord]:
        """The newest notices about a task, newest first."""
        params = {"task_id": task_id, "limit": MOST_OF_TASK}
        found = await self._session.fetch("list_task_notices", params, idempotent=True)
        return [_to_notice(row) for row in found]


_to_notice = rows.reader(NoticeRecord)
_to_mark = rows.reader(Mark)

__all__ = [
    "LOOKED_AT",
    "MARKED",
    "LevelName",
    "Mark",
    "NewNotice",
    "NoticeFilter",
    "NoticeLedger",
    "NoticeListing",
    "NoticeRecord",
    "NoticeRole",
]
