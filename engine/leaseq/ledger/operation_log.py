"""Operations in the ledger: who changed what, and with which outcome.

A row is committed before its operation begins, as unconfirmed, and gets the outcome afterwards
(docs/audit.md).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal, get_args

import msgspec
from msgspec import Struct

from leaseq.codec import tenant_cursor
from leaseq.ledger import rows
from leaseq.ledger.session import Rows, Session
from leaseq.model import Moment

ActionName = Literal[
    "cancel",
    "redrive",
    "replay",
    "erase",
    "reveal",
    "free_key",
    "pause",
    "resume",
    "acknowledge",
    "unacknowledge",
    "create_key",
    "rotate_key",
    "revoke_key",
    "limit_key",
    "limit_tenant",
    "create_tenant",
    "put_schedule",
    "pause_schedule",
    "resume_schedule",
    "run_schedule",
    "delete_schedule",
    "stop_operation",
    "resume_operation",
    "put_limit",
    "delete_limit",
    "put_queue",
]
ACTIONS: tuple[ActionName, ...] = get_args(ActionName)

# Operations that are looked at for one page of a list.
LOOKED_AT = 5000


class OperationOutcome(StrEnum):
    """How an operation ended."""

    # its process died, Postgres did not answer, or an error of leaseq ended it: it may have been
    # done
    UNCONFIRMED = "unconfirmed"
    DONE = "done"
    REFUSED = "refused"  # leaseq refused it, `code` says why; nothing was changed


class Actor(Struct, frozen=True, kw_only=True):
    """The key, or the person at a command line, behind an operation."""

    name: str
    key_id: str | None  # None: no API key
    tenant: str | None  # None: bound to no tenant


class OperationRecord(Struct, frozen=True, kw_only=True):
    """One operation, as the ledger has it. `tenant` and `key_id` are those of the actor."""

    operation_id: str
    kind: str
    action: str
    target: str
    tenant: str | None
    key_id: str | None
    actor: str
    outcome: OperationOutcome
    code: str | None
    detail: bytes | None
    began_at: Moment
    ended_at: Moment | None


class Recorded(Struct, frozen=True):
    """An operation that was recorded before under the same id of a request, and its outcome."""

    outcome: OperationOutcome
    code: str | None


class OperationFilter(Struct, frozen=True, kw_only=True):
    """Which operations to list; `None` means any. `cursor` is that of the page before."""

    action: str | None = None
    target: str | None = None
    key_id: str | None = None
    cursor: str | None = None
    limit: int = 50


class OperationListing(Struct, frozen=True):
    """A page of operations, newest first. With a `cursor` there may be more: the next page begins
    there, also where this one is empty."""

    operations: list[OperationRecord]
    cursor: str | None


class OperationLog:
    """Writes and reads operations in Postgres."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def record(
        self,
        operation_id: str,
        *,
        action: str,
        target: str,
        actor: Actor,
        request_id: str | None = None,
    ) -> Recorded | None:
        """Record an operation that has not begun. It must not begin where this raises, or returns
        the operation that has the same `request_id`."""
        params = {
            "id": operation_id,
            "action": action,
            "target": target,
            "tenant": actor.tenant,
            "key_id": actor.key_id,
            "actor": actor.name,
            "request_id": request_id,
        }
        recorded = await self._session.fetch("record_operation", params, idempotent=True)
        if recorded or request_id is None:
            return None
        return await self.find_request(request_id, action=action, target=target, own=operation_id)

    async def find_request(
        self, request_id: str, *, action: str, target: str, own: str | None = None
    ) -> Recorded | None:
        """Read the operation that has this id of a request. None: there is none, or it is `own`."""
        params = {"request_id": request_id, "action": action, "target": target}
        for row in await self._session.fetch("find_request", params, idempotent=True):
            if row.id != own:
                return Recorded(OperationOutcome(row.outcome), row.code)
        return None

    async def end(
        self,
        operation_id: str,
        outcome: OperationOutcome,
        *,
        target: str,
        code: str | None = None,
        detail: dict[str, Any] | None = None,
    ) -> None:
        """Record the outcome. `target` may be another than at the beginning: an id that was made
        meanwhile."""
        params = {
            "id": operation_id,
            "outcome": outcome,
            "code": code,
            "target": target,
            "detail": None if detail is None else msgspec.json.encode(detail).decode(),
        }
        await self._session.fetch("end_operation", params, idempotent=True)

    async def fold(self, operation_id: str, *, into: str) -> None:
        """Remove the row of an operation that was refused, and count it in another row."""
        await self._session.fetch(
            "fold_operation", {"id": operation_id, "into": into}, idempotent=True
        )

    async def list_on_task(self, task_id: str, *, tenant: str, limit: int) -> list[OperationRecord]:
        """The newest operations on a task of this tenant. Those of actors bound to another tenant are
        left out: they were refused, and their tenant is nothing that this one may learn."""
        params = {
            "tenant": tenant,
            "cursor": None,
            "action": None,
            "key_id": None,
            "rows": LOOKED_AT,
            "limit": limit,
        }
        found = await self._list_on(params | {"target": task_id, "with_unbound": True})
        listed = [_to_operation(row) for row in found if row.operation_id]
        return sorted(listed, key=lambda operation: operation.operation_id, reverse=True)

    async def list_operations(
        self, wanted: OperationFilter, *, tenant: str | None
    ) -> OperationListing:
        """One page of operations whose actor was bound to this tenant (None: any), newest first,
        from the next `LOOKED_AT`."""
        params = {
            "tenant": tenant,
            "cursor": wanted.cursor,
            "action": wanted.action,
            "key_id": wanted.key_id,
            "rows": max(LOOKED_AT, wanted.limit + 1),
            "limit": wanted.limit + 1,  # one more than is shown tells whether there is a next page
        }
        if wanted.target is None:
            found = await self._session.fetch("list_operations", params, idempotent=True)
        else:
            found = await self._list_on(params | {"target": wanted.target, "with_unbound": False})
        page = [_to_operation(row) for row in found if row.operation_id]
        page.sort(key=lambda operation: operation.operation_id, reverse=True)
        if len(page) > wanted.limit:
            return OperationListing(page[: wanted.limit], page[wanted.limit - 1].operation_id)
        cursor = found[0].cursor
        if tenant is not None:
            cursor = tenant_cursor(cursor, shown=page[-1].operation_id if page else None)
        return OperationListing(page, cursor)

    async def _list_on(self, params: dict[str, Any]) -> Rows:
        return await self._session.fetch("list_operations_on", params, idempotent=True)


_to_operation = rows.reader(OperationRecord)

__all__ = [
    "ACTIONS",
    "ActionName",
    "Actor",
    "OperationFilter",
    "OperationListing",
    "OperationLog",
    "OperationOutcome",
    "OperationRecord",
    "Recorded",
]
