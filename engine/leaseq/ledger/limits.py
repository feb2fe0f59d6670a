"""Limits in the ledger, with the lines and the permits of their tasks.

A permit is a row of `leaseq.limited`, named by its task. `admit` is the only statement that gives
permits, and counts them under the version of the guard
(docs/decisions/0063-four-rules-of-read-committed.md).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

import msgspec
import psycopg

from leaseq.codec import FIRST_ID
from leaseq.errors import LimitInUse, LimitNotFound
from leaseq.failpoints import reach
from leaseq.ledger import rows
from leaseq.ledger.arrays import numbers, words
from leaseq.ledger.limit_columns import declared_text, limit_row
from leaseq.ledger.session import Session
from leaseq.lifecycle import LANES, SUSPECT_CRASHES
from leaseq.limits import LimitBounds, fair_queue
from leaseq.model import Claim, Lane, Moment, Priority, State

# Permits that one statement gives.
MOST_ADMITTED = 500
# Keys that one statement visits, at most.
MOST_VISITS = 1_000
# Tasks of a limit that a list counts.
MOST_COUNTED = 10_000
# Waiting tasks that are looked at for the ones of one queue: of each limit, and of all.
MOST_OF_LIMIT, MOST_OF_ALL = 1_000, 5_000
# Admissions that one statement reads, of those that were not pushed within so many seconds.
MOST_HANDOFFS, HANDOFF_SECONDS = 100, 0.1
# For a token, before the task waits in its line again.
LEAST_WAIT_SECONDS, MOST_WAIT_SECONDS = 0.1, 1.0
# Behind every tenant and every key.
LAST = "\U0010ffff"


class AdmittedTasks(msgspec.Struct, frozen=True):
    """Tasks of one lane that were admitted, and are to be pushed."""

    queue: str
    lane: Lane
    task_ids: list[str]


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one statement. `won`: no other statement was first. `stuck`: tasks that had their
    turn and could not be promoted. `more`: every key that was visited is full, and there are more.
    `handoff`: the row that stays until the tasks are pushed."""

    lanes: list[AdmittedTasks]
    won: bool = True
    wanted: int = 0
    stuck: list[str] = []
    more: bool = False
    handoff: int | None = None

    @property
    def is_last(self) -> bool:
        """Whether no further statement is needed now."""
        return self.won and not self.more and self.wanted < MOST_ADMITTED


class Handoffs(msgspec.Struct, frozen=True):
    """Admissions that were not pushed in time, and those of their tasks that no worker has claimed."""

    ids: list[int]
    lanes: list[AdmittedTasks]


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """A limit, the permits that are given, and the tasks that wait; at most MOST_COUNTED of each are
    counted."""

    name: str
    concurrency: int | None
    key_concurrency: int | None
    rate: str | None
    burst: int | None
    key_rate: str | None
    key_burst: int | None
    strict: bool
    weights: dict[str, int]
    updated_at: Moment
    admitted: int
    waiting: int
    oldest_at: Moment | None


class LimitKey(msgspec.Struct, frozen=True, kw_only=True):
    """The permits and the waiting tasks of one key."""

    tenant: str
    key: str
    admitted: int
    waiting: int


class LimitTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task that has a permit, since `at`, or waits for one since then."""

    task_id: str
    tenant: str
    key: str
    is_admitted: bool
    at: Moment
    state: State
    type: str
    queue: str
    priority: Priority


class QueueWait(msgspec.Struct, frozen=True):
    """The tasks of a queue that wait for the permits of one limit; a few thousand are looked at."""

    limit: str
    waiting: int
    since: datetime


class Repaired(msgspec.Struct, frozen=True):
    """A row of `limited` that was wrong, by its task and its limit."""

    task_id: str
    limit: str


class AuditPosition(msgspec.Struct, frozen=True):
    """Where the next pass of the audit begins: among the permits, and among all rows."""

    limit_id: int
    tenant: str
    key: str
    admitted: str
    after: str


BEGINNING = AuditPosition(0, "", "", FIRST_ID, FIRST_ID)


_to_limit = rows.reader(Limit)
_to_key = rows.reader(LimitKey)
_to_task = rows.reader(LimitTask)


class LimitLedger:
    """The limits in Postgres."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def admit(
        self, name: str, *, skipped: Collection[str] = (), pushed: Collection[int] = ()
    ) -> Admission:
        """Give the permits of a limit that are free to the tasks whose turn it is, but not to
        `skipped`, and delete the handoffs of admissions that were `pushed`. An answer without rows:
        there is no such limit."""
        params = {
            "limit": name,
            "most": MOST_ADMITTED,
            "visits": MOST_VISITS,
            "skipped": words(sorted(skipped)),
            "suspect": SUSPECT_CRASHES,
            "pushed": numbers(pushed),
        }
        found = await self._session.fetch("admit_tasks", params)
        if not found:
            return Admission(lanes=[])
        *admitted, last = found
        if admitted:
            reach("admit.committed")
        is_fair = fair_queue(name) is not None
        return Admission(
            lanes=[_admitted(*row[:4], is_fair=is_fair) for row in admitted],
            won=last[4],
            wanted=last[5],
            stuck=last[6].split(",") if last[6] else [],
            more=last[7],
            handoff=last[8],
        )

    async def find_admissible(self) -> tuple[list[str], bool]:
        """The names of the limits in whose lines a task waits, and whether an admission was not
        pushed in time."""
        params = {"age": HANDOFF_SECONDS}
        found = await self._session.fetch("find_admissible", params, idempotent=True)
        names = [row[0] for row in found if row[0] is not None]
        return names, len(names) < len(found)

    async def find_handoffs(self) -> Handoffs:
        """The oldest admissions that were not pushed in time."""
        params = {"age": HANDOFF_SECONDS, "limit": MOST_HANDOFFS, "suspect": SUSPECT_CRASHES}
        found = await self._session.fetch("find_handoffs", params, idempotent=True)
        return Handoffs(
            ids=list({row[0]: None for row in found}),
            lanes=[
                _admitted(queue, priority, is_suspect, ids, is_fair=fair_queue(limit) is not None)
                for _, queue, priority, is_suspect, limit, ids in found
                if queue is not None
            ],
        )

    async def drop_handoffs(self, pushed: Collection[int]) -> None:
        """Delete admissions that were pushed."""
        await self._session.fetch("drop_handoffs", {"pushed": numbers(pushed)}, idempotent=True)

    async def declare(self, limits: Sequence[LimitBounds]) -> list[str]:
        """Record the limits that an app declares. Returns those that are new or have changed."""
        sent = [
            limit_row(limit) | {"weights": limit.weights, "declared": declared_text(limit)}
            for limit in limits
        ]
        params = {"limits": msgspec.json.encode(sent).decode()}
        found = await self._session.fetch("declare_limits", params, idempotent=True)
        return [row[0] for row in found]

    async def put(self, bounds: LimitBounds) -> None:
        """Make a limit, or change it."""
        await self._session.fetch("put_limit", limit_row(bounds), idempotent=True)

    async def start(self, claims: Sequence[Claim]) -> dict[str, float]:
        """Take a token for each of these attempts, all of one worker, whose limits have a rate. By task
        id, the seconds that it has to wait for one; 0: it has it."""
        params = {
            "ids": words([claim.task_id for claim in claims]),
            "attempts": words([str(claim.attempt) for claim in claims]),
            "worker_id": claims[0].worker_id,
            "least": LEAST_WAIT_SECONDS,
            "most": MOST_WAIT_SECONDS,
        }
        found = dict(await self._session.fetch("start_limited", params, idempotent=True))
        return {claim.task_id: found.get(claim.task_id, LEAST_WAIT_SECONDS) for claim in claims}

    async def delete(self, name: str) -> None:
        """Delete a limit. Raises `LimitNotFound`, and `LimitInUse` while an unfinished task has
        it."""
        try:
            found = await self._session.fetch("delete_limit", {"name": name})
        except psycopg.errors.ForeignKeyViolation as error:
            if error.diag.table_name == "queue_limits":
                raise LimitInUse(
                    f"tasks of a queue take the limit {name}: make the queue plain first, "
                    "`leaseq queues set QUEUE --plain`"
                ) from error
            raise LimitInUse(
                f"unfinished tasks have the limit {name}: raise it, and wait for their end, or cancel them"
            ) from error
        if not found:
            raise LimitNotFound(f"there is no limit {name}")

    async def exists(self, name: str) -> bool:
        """Whether there is a limit of this name."""
        (row,) = await self._session.fetch("has_limit", {"name": name}, idempotent=True)
        return bool(row.found)

    async def find(self, name: str, *, tenant: str | None) -> Limit:
        """One limit, with the numbers of a tenant, or of all. Raises `LimitNotFound`."""
        found = await self._list(name=name, after="", limit=1, tenant=tenant)
        if not found:
            raise LimitNotFound(f"there is no limit {name}")
        return found[0]

    async def list_limits(self, *, after: str, limit: int, tenant: str | None) -> list[Limit]:
        """The next limits by name."""
        return await self._list(name=None, after=after, limit=limit, tenant=tenant)

    async def _list(
        self, *, name: str | None, after: str, limit: int, tenant: str | None
    ) -> list[Limit]:
        params = {
            "name": name,
            "after": after,
            "limit": limit,
            "tenant": tenant,
            "most": MOST_COUNTED,
        }
        found = await self._session.fetch("list_limits", params, idempotent=True)
        return [_to_limit(row) for row in found]

    async def list_keys(self, name: str, *, tenant: str | None, limit: int) -> list[LimitKey]:
        """The keys of a limit with most waiting tasks, of a tenant or of all."""
        params = {"name": name, "tenant": tenant, "limit": limit, "most": MOST_COUNTED}
        found = await self._session.fetch("list_limit_keys", params, idempotent=True)
        return [_to_key(row) for row in found]

    async def list_tasks(
        self, name: str, *, tenant: str | None, key: str | None, limit: int
    ) -> list[LimitTask]:
        """Tasks of a limit: those with a permit, then those that wait, at most `limit` of each. Of one
        key of a tenant, of a tenant, or of all."""
        params = {
            "name": name,
            "limit": limit,
            "from_tenant": tenant or "",
            "to_tenant": tenant or LAST,
            "from_key": key or "",
            "to_key": LAST if key is None else key,
        }
        found = await self._session.fetch("list_limit_tasks", params, idempotent=True)
        return [_to_task(row) for row in found]

    async def count_waits(self, queue: str, *, tenant: str | None) -> list[QueueWait]:
        """The limits that tasks of a queue wait for, of a tenant or of all."""
        params = {
            "queue": queue,
            "from_tenant": tenant or "",
            "to_tenant": tenant or LAST,
            "most": MOST_OF_LIMIT,
            "rows": MOST_OF_ALL,
        }
        found = await self._session.fetch("count_queue_waits", params, idempotent=True)
        return [QueueWait(*row) for row in found]

    async def audit(
        self, position: AuditPosition, *, limit: int
    ) -> tuple[list[Repaired], AuditPosition]:
        """Repair the wrong ones among the next permits and the next rows; returns them, and the position
        for the next call. At its end a list begins again."""
        params = {
            "limit_id": position.limit_id,
            "tenant": position.tenant,
            "key": position.key,
            "admitted": position.admitted,
            "after": position.after,
            "limit": limit,
        }
        found = await self._session.fetch("list_limited", params, idempotent=True)
        permits = [row for row in found if row.is_admitted]
        others = [row for row in found if not row.is_admitted]
        following = BEGINNING
        if len(permits) == limit:
            last = permits[-1]
            following = msgspec.structs.replace(
                following,
                limit_id=last.limit_id,
                tenant=last.tenant,
                key=last.key,
                admitted=last.task_id,
            )
        if len(others) == limit:
            following = msgspec.structs.replace(following, after=others[-1].task_id)
        return await self.repair({row.task_id for row in found}), following

    async def repair(self, task_ids: Collection[str]) -> list[Repaired]:
        """Repair the rows of these tasks where they are wrong."""
        if not task_ids:
            return []
        params = {"ids": words(sorted(task_ids))}
        found = await self._session.fetch("audit_limited", params, idempotent=True)
        return [Repaired(*row) for row in found]


def _admitted(
    queue: str, priority: int, is_suspect: bool, ids: str, *, is_fair: bool
) -> AdmittedTasks:
    """The tasks of a queue that is fair share one lane, or the tenant with the most urgent tasks would
    be served before every other one. Their priority has ordered the line of their tenant."""
    lane = LANES[Priority.NORMAL if is_fair else Priority(priority)]
    lane = Lane.SUSPECT if is_suspect else lane
    return AdmittedTasks(queue, lane, ids.split(","))


__all__ = [
    "BEGINNING",
    "LAST",
    "MOST_COUNTED",
    "MOST_OF_LIMIT",
    "Admission",
    "AdmittedTasks",
    "AuditPosition",
    "Handoffs",
    "Limit",
    "LimitKey",
    "LimitLedger",
    "LimitTask",
    "QueueWait",
    "Repaired",
]
