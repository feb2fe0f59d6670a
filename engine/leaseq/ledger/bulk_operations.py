"""Operations on many tasks in the ledger, and the statements of a step.

A step is one transaction of `Session.transaction`: `take` locks the operation, `find_next` finds
the next tasks of its set, the caller changes them, and `move` records the step. So each task of the
set is changed once, whichever process dies (docs/bulk-operations.md).
"""

from __future__ import annotations

import hashlib
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal
from urllib.parse import quote

import msgspec
from msgspec import Struct

from leaseq.ledger import rows
from leaseq.ledger.arrays import quoted, words
from leaseq.ledger.operation_log import Actor
from leaseq.ledger.session import Connection, Session
from leaseq.model import Moment

BulkAction = Literal["cancel", "redrive"]

# Rows that one statement looks at: of `tasks` for a step and for a preview.
STEP_ROWS = 5_000
PREVIEW_ROWS = 10_000
# The same of `dead_letters`, which is narrow.
PREVIEW_LETTERS = 100_000
# The same of tasks with a label. Each is looked up.
STEP_LABELLED = 2_000
PREVIEW_LABELLED = 500
# Positions before the first task: of a list of ids, and of a walk from the newest task back.
FIRST_ID = "00000000-0000-0000-0000-000000000000"
LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"


class BulkState(StrEnum):
    """The state of a bulk operation."""

    RUNNING = "running"
    STOPPED = "stopped"
    DONE = "done"


class BulkFilter(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The tasks of a bulk operation. `ids` is a list of them; else every field that is given has to
    match. `error` is the fingerprint of a failure. `running`: cancel tasks that run, too. A task has
    all of the `labels`."""

    ids: list[str] | None = None
    queue: str | None = None
    type: str | None = None
    error: str | None = None
    running: bool = False
    labels: dict[str, str] = {}

    def describe(self) -> str:
        """The filter as the target of the row in `operations`: printable, without blanks."""
        if self.ids is not None:
            return f"ids={len(self.ids)}"
        named = {"queue": self.queue, "type": self.type, "error": self.error}
        parts = [f"{name}={value}" for name, value in named.items() if value is not None]
        parts += [f"label:{name}={quote(value, safe='')}" for name, value in self.labels.items()]
        return ",".join(parts + ["running"] * self.running)[:255]


class BulkRequest(Struct, frozen=True, kw_only=True):
    """A bulk operation that a client wants. `as_of` None: of the time at which it starts."""

    operation_id: str
    action: BulkAction
    filter: BulkFilter
    rate: float
    reason: str | None = None
    as_of: datetime | None = None

    def digest(self, tenant: str | None) -> str:
        """Two requests of one tenant that want the same have the same digest."""
        return hashlib.sha256(msgspec.json.encode([tenant, self])).hexdigest()


class Sample(Struct, frozen=True, kw_only=True):
    """A task of a preview. `at`: when it ended, for a redrive; when it was submitted, for a
    cancel."""

    task_id: str
    queue: str
    type: str
    state: str
    at: Moment


class Preview(Struct, frozen=True, kw_only=True):
    """The tasks that an operation would change. Not `exact`: there are at least `count`."""

    as_of: Moment
    count: int
    exact: bool
    oldest_at: Moment | None
    newest_at: Moment | None
    samples: list[Sample]


class BulkRecord(Struct, frozen=True, kw_only=True):
    """One bulk operation, as the ledger has it."""

    operation_id: str
    action: BulkAction
    tenant: str | None
    filter: bytes
    id_count: int | None
    request: str
    as_of: Moment
    rate: float
    reason: str | None
    state: BulkState
    total: int
    total_exact: bool
    looked: int
    done: int
    refused: int
    refusals: bytes
    touched_at: Moment | None
    touched_by: str | None
    actor: str
    key_id: str | None
    began_at: Moment
    ended_at: Moment | None


class Step(Struct, kw_only=True):
    """The input of one step: an operation as it was before. `due`: the tasks that its rate allows
    now. `listed`: the set is a list of ids."""

    operation_id: str
    action: BulkAction
    tenant: str | None
    filter: BulkFilter
    listed: bool
    as_of: datetime
    position: str | None
    refusals: dict[str, int]
    done: int
    refused: int
    total: int
    total_exact: bool
    due: int


class NextTasks(Struct, frozen=True):
    """The next tasks of the set. `position`: where the next step begins. `ended`: there are no
    more."""

    task_ids: list[str]
    position: str | None
    looked: int
    ended: bool


class BulkOperationLedger:
    """Bulk operations in Postgres."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def preview(
        self, action: BulkAction, wanted: BulkFilter, *, tenant: str | None, as_of: datetime | None
    ) -> Preview:
        """Count the tasks that an operation would change, within a bounded look."""
        if wanted.ids is not None:
            params = _conditions(wanted, tenant, as_of=as_of) | {"redrives": action == "redrive"}
            params |= {"ids": words(wanted.ids)}
            found = await self._session.fetch("count_listed", params, idempotent=True)
        elif wanted.labels:
            params = _conditions(wanted, tenant, as_of=as_of, rows=PREVIEW_LABELLED)
            params |= _labels_of(wanted) | {"redrives": action == "redrive"}
            found = await self._session.fetch("preview_labelled", params, idempotent=True)
        elif action == "cancel":
            params = _conditions(wanted, tenant, as_of=as_of, rows=PREVIEW_ROWS)
            found = await self._session.fetch("count_waiting", params, idempotent=True)
        elif _is_group(wanted):
            params = _conditions(wanted, tenant, as_of=as_of, rows=PREVIEW_LETTERS)
            found = await self._session.fetch("preview_failures", params, idempotent=True)
        else:
            params = _conditions(wanted, tenant, as_of=as_of, rows=PREVIEW_LETTERS)
            found = await self._session.fetch("preview_dead_letters", params, idempotent=True)
        (row,) = found
        return Preview(
            as_of=row.as_of,
            count=row.count,
            exact=row.exact,
            oldest_at=row.oldest_at,
            newest_at=row.newest_at,
            samples=msgspec.json.decode(row.samples, type=list[Sample]),
        )

    async def start(self, request: BulkRequest, preview: Preview, *, actor: Actor) -> bool:
        """Record an operation and let it run. False: its id is taken, or far from now."""
        wanted, ids = request.filter, request.filter.ids
        shown = msgspec.to_builtins(msgspec.structs.replace(wanted, ids=None))
        detail = {"filter": shown, "rate": request.rate, "reason": request.reason}
        params = {
            "id": request.operation_id,
            "action": request.action,
            "target": wanted.describe(),
            "tenant": actor.tenant,
            "key_id": actor.key_id,
            "actor": actor.name,
            "detail": _json(detail),
            "filter": _json(shown),
            "ids": None if ids is None else words(ids),
            "request": request.digest(actor.tenant),
            "as_of": preview.as_of,
            "rate": request.rate,
            "reason": request.reason,
            "total": preview.count,
            "total_exact": preview.exact,
        }
        return bool(await self._session.fetch("start_bulk_operation", params, idempotent=True))

    async def find(self, operation_id: str, *, tenant: str | None) -> BulkRecord | None:
        """Read an operation of actors bound to a tenant (None: to any)."""
        params = {"id": operation_id, "tenant": tenant}
        found = await self._session.fetch("find_bulk_operation", params, idempotent=True)
        return _to_record(found[0]) if found else None

    async def stop(self, operation_id: str, *, tenant: str | None) -> bool:
        """Stop an operation; False: it does not run."""
        params = {"id": operation_id, "tenant": tenant}
        return bool(await self._session.fetch("stop_bulk_operation", params, idempotent=True))

    async def resume(self, operation_id: str, *, tenant: str | None) -> bool:
        """Let a stopped operation run again; False: it is not stopped."""
        params = {"id": operation_id, "tenant": tenant}
        return bool(await self._session.fetch("resume_bulk_operation", params, idempotent=True))

    async def list_work(self, process: str, *, lease_seconds: float) -> list[str]:
        """The operations that this process may work on."""
        params = {"process": process, "lease": lease_seconds}
        found = await self._session.fetch("list_bulk_work", params, idempotent=True)
        return [row.operation_id for row in found]

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        """The transaction of a step."""
        return self._session.transaction()

    async def take(
        self, operation_id: str, process: str, *, lease_seconds: float, conn: Connection
    ) -> Step | None:
        """Lock an operation for a step. None: it is not for this process, or not now."""
        params = {"id": operation_id, "process": process, "lease": lease_seconds}
        found = await self._session.fetch("take_bulk_operation", params, conn=conn)
        if not found:
            return None
        row = found[0]
        return Step(
            operation_id=operation_id,
            action=row.action,
            tenant=row.tenant,
            filter=msgspec.json.decode(row.filter, type=BulkFilter),
            listed=row.listed,
            as_of=row.as_of,
            position=row.position,
            refusals=msgspec.json.decode(row.refusals, type=dict[str, int]),
            done=row.done,
            refused=row.refused,
            total=row.total,
            total_exact=row.total_exact,
            due=row.due,
        )

    async def find_next(self, step: Step, *, limit: int, conn: Connection) -> NextTasks:
        """The next tasks of the set of a step, at most `limit`."""
        if step.listed:
            return await self._find_listed(step, limit=limit, conn=conn)
        rows = STEP_LABELLED if step.filter.labels else STEP_ROWS
        params = _conditions(step.filter, step.tenant, as_of=step.as_of, rows=rows)
        params |= {"limit": limit}
        if step.filter.labels:
            task_id, _, tenant = (step.position or f"{FIRST_ID}|").partition("|")
            params |= _labels_of(step.filter) | {"position": task_id, "position_tenant": tenant}
            params |= {"redrives": step.action == "redrive"}
            found = await self._session.fetch("walk_labelled", params, conn=conn)
        elif step.action == "redrive" and _is_group(step.filter):
            at, _, task_id = (step.position or f"-infinity|{FIRST_ID}").partition("|")
            params |= {"position_at": at, "position": task_id}
            found = await self._session.fetch("walk_failures", params, conn=conn)
        elif step.action == "redrive":
            params |= {"position": step.position or FIRST_ID}
            found = await self._session.fetch("walk_dead_letters", params, conn=conn)
        else:
            params |= {"position": step.position or LAST_ID}
            found = await self._session.fetch("find_waiting", params, conn=conn)
        (row,) = found
        if len(row.task_ids) == limit:  # there may be more among the rows that were looked at
            return NextTasks(row.task_ids, row.found_place, limit, ended=False)
        place = row.last_place or step.position
        return NextTasks(row.task_ids, place, row.looked, ended=row.looked < rows)

    async def _find_listed(self, step: Step, *, limit: int, conn: Connection) -> NextTasks:
        params = {
            "id": step.operation_id,
            "position": step.position or FIRST_ID,
            "limit": limit,
        }
        found = await self._session.fetch("find_listed_ids", params, conn=conn)
        ids = [row.task_id for row in found]
        place = ids[-1] if ids else step.position
        return NextTasks(ids, place, len(ids), ended=len(ids) < limit)

    async def judge_refused(
        self, step: Step, task_ids: list[str], *, conn: Connection
    ) -> dict[str, str]:
        """Why a step did not change these tasks, by id."""
        params = {
            "ids": words(task_ids),
            "tenant": step.tenant,
            "redrives": step.action == "redrive",
            "as_of": step.as_of,
        }
        found = await self._session.fetch("judge_refused", params, conn=conn)
        return {row.task_id: row.reason for row in found}

    async def move(
        self,
        step: Step,
        found: NextTasks,
        *,
        done: int,
        refused: int,
        process: str,
        conn: Connection,
    ) -> None:
        """Record a step. `step.refusals` has the reasons of all refusals."""
        params = {
            "id": step.operation_id,
            "position": found.position,
            "looked": found.looked,
            "done": done,
            "refused": refused,
            "refusals": _json(step.refusals),
            "process": process,
            "ended": found.ended,
            "detail": _json({"done": step.done + done, "refused": step.refused + refused}),
        }
        await self._session.fetch("move_bulk_operation", params, conn=conn)


def _conditions(
    wanted: BulkFilter, tenant: str | None, *, as_of: datetime | None, rows: int = 0
) -> dict[str, Any]:
    """The parameters that the statements about sets share; each uses some of them."""
    fields = {"queue": wanted.queue, "type": wanted.type, "error": wanted.error}
    return fields | {"tenant": tenant, "running": wanted.running, "as_of": as_of, "rows": rows}


def _labels_of(wanted: BulkFilter) -> dict[str, Any]:
    """The parameters of labels. The index is followed along the first."""
    name, value = next(iter(wanted.labels.items()))
    named = {"names": quoted(wanted.labels), "values": quoted(wanted.labels.values())}
    return named | {"name": name, "value": value}


def _is_group(wanted: BulkFilter) -> bool:
    """Whether a redrive is of one type and fingerprint, which have an index."""
    return wanted.type is not None and wanted.error is not None


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


_to_record = rows.reader(BulkRecord)

__all__ = [
    "BulkAction",
    "BulkFilter",
    "BulkOperationLedger",
    "BulkRecord",
    "BulkRequest",
    "BulkState",
    "NextTasks",
    "Preview",
    "Sample",
    "Step",
]
