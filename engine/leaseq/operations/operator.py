"""Changes by people and their programs, each recorded before it is done.

The API and the command line change nothing except through an `Operator` (`Engine.as_operator`).
Each change leaves one row in `leaseq.operations`. The row is committed before the change begins, so
there is no change without a row. The outcome is written afterwards; where it is missing, the change
may have been made (docs/audit.md). Submissions are not recorded there: the task is their record.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

from msgspec import Struct

from leaseq.api_keys import ApiKey, IssuedKey, RequestLimit
from leaseq.codec import new_task_id
from leaseq.errors import (
    LeaseqError,
    OperationInDoubt,
    ReasonInvalid,
    ServerUnreachable,
    TaskConflict,
)
from leaseq.failpoints import reach
from leaseq.ledger.operation_log import (
    ActionName,
    Actor,
    OperationLog,
    OperationOutcome,
    Recorded,
)
from leaseq.model import QueueRecord, State, Submission, Submitted, Task, Tenant
from leaseq.observability.telemetry import emit
from leaseq.operations.access import NAME_LENGTH, Access
from leaseq.operations.refusals import Refusals
from leaseq.operations.seen import Seen
from leaseq.operations.tenant_client import TenantClient
from leaseq.safe_text.printable import printable

REASON_LENGTH = 500
# A request that comes twice at the same time waits for the outcome of the first, this long.
OUTCOME_TRIES, OUTCOME_SECONDS = 20, 0.1


class Pause(Protocol):
    """`Engine.pause`."""

    def __call__(
        self, queue: str, *, paused: bool, by: str | None = None, reason: str | None = None
    ) -> Awaitable[QueueRecord]: ...


class Operation(Struct):
    """The part of a row that an operation fills in while it is done. `detail` is small, and holds
    neither contents of tasks nor secrets."""

    target: str
    detail: dict[str, Any] | None = None
    refused: str | None = None  # the code of a refusal that is not an error of leaseq


class Repeated(Exception):
    """The operation of a request was done before."""


class Operator:
    """The changes that one actor may make."""

    def __init__(
        self,
        actor: Actor,
        *,
        log: OperationLog,
        tasks: TenantClient,
        access: Access,
        pause: Pause,
        refusals: Refusals,
    ) -> None:
        self._actor = actor
        self._log = log
        self._tasks = tasks
        self._access = access
        self._pause = pause
        self._refusals = refusals

    async def cancel(
        self, task_id: str, *, seen: Seen | None = None, request_id: str | None = None
    ) -> State:
        """Stop a task, as `TenantClient.cancel` does; once, if the request comes twice."""
        try:
            async with self.recorded("cancel", task_id, request_id=request_id) as operation:
                state = await self._tasks.cancel(task_id, seen=seen)
                operation.detail = {"state": state}
                return state
        except Repeated:
            return (await self._tasks.find(task_id)).state

    async def redrive(
        self, task_id: str, *, seen: Seen | None = None, request_id: str | None = None
    ) -> Task:
        """Put a task back, as `TenantClient.redrive` does; once, if the request comes twice. Returns
        the task as it is then."""
        try:
            async with self.recorded("redrive", task_id, request_id=request_id):
                await self._tasks.redrive(task_id, seen=seen)
        except Repeated:
            pass
        return await self._tasks.find(task_id)

    async def replay(
        self,
        task_id: str,
        build: Callable[[Task], Awaitable[Submission]],
        submit: Callable[[Submission, Operation], Awaitable[Submitted]],
    ) -> tuple[Submission, Submitted]:
        """Submit a task again as a new one. `build` makes the submission from the original, and
        `submit` records it. The row names the new task."""
        async with self.recorded("replay", task_id) as operation:
            submission = await build(await self._tasks.find(task_id))
            submitted = await submit(submission, operation)
            operation.detail = {"task_id": submitted.task_id, "replayed": submitted.replayed}
            return submission, submitted

    async def erase(self, task_id: str) -> None:
        """Remove the content of a task that has ended, as `TenantClient.erase` does."""
        async with self.recorded("erase", task_id):
            await self._tasks.erase(task_id)

    async def reveal(self, task_id: str, *, part: str | None = None) -> Task:
        """Read a task with the values that the dashboard masks. The row is committed before they are
        read, and each look has a row. `part`: the value that is downloaded."""
        async with self.recorded("reveal", task_id) as operation:
            operation.detail = None if part is None else {"part": part}
            return await self._tasks.find(task_id)

    async def free_key(self, task_id: str) -> None:
        """Free the idempotency key of a task, as `TenantClient.free_key` does."""
        async with self.recorded("free_key", task_id):
            await self._tasks.free_key(task_id)

    async def pause(
        self, queue: str, *, reason: str | None = None, request_id: str | None = None
    ) -> QueueRecord:
        """Pause a queue. The actor and the reason are shown while it is paused. Raises
        `ReasonInvalid`, and `Repeated` where the request was done before."""
        if reason is not None and not (0 < len(reason) <= REASON_LENGTH and reason.isprintable()):
            raise ReasonInvalid(
                f"a reason has 1 to {REASON_LENGTH} printable characters, in one line"
            )
        async with self.recorded("pause", queue, request_id=request_id) as operation:
            operation.detail = None if reason is None else {"reason": reason}
            return await self._pause(queue, paused=True, by=self._actor.name, reason=reason)

    async def resume(self, queue: str, *, request_id: str | None = None) -> QueueRecord:
        """Resume a queue. Raises `Repeated` where the request was done before."""
        async with self.recorded("resume", queue, request_id=request_id):
            return await self._pause(queue, paused=False)

    async def acknowledge(
        self, type_name: str, fingerprint: str, *, request_id: str | None = None
    ) -> None:
        """Acknowledge a group of failures, as `TenantClient.acknowledge` does. Raises `Repeated`
        where the request was done before."""
        target = f"{type_name}/{fingerprint}"
        async with self.recorded("acknowledge", target, request_id=request_id):
            await self._tasks.acknowledge(type_name, fingerprint, by=self._actor.name)

    async def unacknowledge(
        self, type_name: str, fingerprint: str, *, request_id: str | None = None
    ) -> None:
        """Take an acknowledgement back, as `TenantClient.unacknowledge` does. Raises `Repeated`
        where the request was done before."""
        target = f"{type_name}/{fingerprint}"
        async with self.recorded("unacknowledge", target, request_id=request_id):
            await self._tasks.unacknowledge(type_name, fingerprint)

    async def create_key(
        self,
        name: str,
        *,
        scopes: Collection[str],
        tenant: str | None,
        expires_seconds: float | None,
        limit: RequestLimit | None = None,
    ) -> IssuedKey:
        """Create an API key, as `Access.create_key` does. Its id becomes the target."""
        async with self.recorded("create_key", name[:NAME_LENGTH]) as operation:
            issued = await self._access.create_key(
                name, scopes=scopes, tenant=tenant, expires_seconds=expires_seconds, limit=limit
            )
            key = issued.key
            operation.target = key.id
            operation.detail = {"name": key.name, "scopes": key.scopes, "tenant": key.tenant}
            return issued

    async def rotate_key(self, key_id: str, *, overlap_seconds: float) -> IssuedKey:
        """Create an API key in place of another one, as `Access.rotate_key` does."""
        async with self.recorded("rotate_key", key_id) as operation:
            issued = await self._access.rotate_key(key_id, overlap_seconds=overlap_seconds)
            operation.detail = {"replaced_by": issued.key.id, "overlap_seconds": overlap_seconds}
            return issued

    async def revoke_key(self, key_id: str) -> ApiKey:
        """Revoke an API key, as `Access.revoke_key` does."""
        async with self.recorded("revoke_key", key_id):
            return await self._access.revoke_key(key_id)

    async def limit_key(self, key_id: str, limit: RequestLimit | None) -> ApiKey:
        """Limit the requests of an API key, as `Access.limit_key` does."""
        async with self.recorded("limit_key", key_id) as operation:
            key = await self._access.limit_key(key_id, limit)
            operation.detail = {"rate": key.rate, "burst": key.burst}
            return key

    async def create_tenant(self, name: str) -> bool:
        """Make a tenant known, as `Access.create_tenant` does."""
        async with self.recorded("create_tenant", name[:NAME_LENGTH]):
            return await self._access.create_tenant(name)

    async def limit_tenant(self, name: str, changes: Mapping[str, int | None]) -> Tenant:
        """Set or remove quotas of a tenant, as `Access.limit_tenant` does."""
        async with self.recorded("limit_tenant", name[:NAME_LENGTH]) as operation:
            before, tenant = await self._access.limit_tenant(name, changes)
            operation.detail = {
                "before": {quota: getattr(before, quota) for quota in changes},
                "after": {quota: getattr(tenant, quota) for quota in changes},
            }
            return tenant

    @property
    def actor(self) -> Actor:
        """The actor under whose name changes are recorded."""
        return self._actor

    @asynccontextmanager
    async def recorded(
        self, action: ActionName, target: str, *, request_id: str | None = None
    ) -> AsyncIterator[Operation]:
        """Record an operation, let the block do it, and record how it ended.

        The row stays unconfirmed where the block is cancelled, raises `ServerUnreachable`, or
        raises an error that is not one of leaseq's: a part of its statements may be committed. Where
        an operation with this `request_id` was recorded before, the block does not run: this raises
        `Repeated` if that one was done, else `TaskConflict`.
        """
        # Before the block checks a name, it may contain what Postgres cannot store.
        operation_id, operation = new_task_id(), Operation(printable(target))
        before = await self._log.record(
            operation_id,
            action=action,
            target=operation.target,
            actor=self._actor,
            request_id=request_id,
        )
        if before is not None and request_id is not None:
            await self._repeat(before, action, operation.target, request_id)
        reach("operation.recorded")
        try:
            yield operation
        except ServerUnreachable as error:
            _tell_unconfirmed(operation_id, operation, error)
            raise
        except LeaseqError as error:
            await self._end_refused(operation_id, operation, error.code)
            raise
        except Exception:
            if operation.refused is not None:
                await self._end_refused(operation_id, operation, operation.refused)
            raise
        else:
            await self._end(operation_id, operation, OperationOutcome.DONE, None)

    async def _repeat(
        self, before: Recorded | None, action: str, target: str, request_id: str
    ) -> None:
        """Answer a request whose operation was recorded before, when its outcome is known."""
        for _ in range(OUTCOME_TRIES):
            if before is None or before.outcome is not OperationOutcome.UNCONFIRMED:
                break
            await asyncio.sleep(OUTCOME_SECONDS)
            before = await self._log.find_request(request_id, action=action, target=target)
        if before is not None and before.outcome is OperationOutcome.DONE:
            raise Repeated
        if before is None or before.outcome is OperationOutcome.REFUSED:
            code = "refused" if before is None else before.code
            raise TaskConflict(
                f"the operation {request_id} was refused before ({code}): look at the task, and use "
                "another id"
            )
        raise OperationInDoubt

    async def _end_refused(self, operation_id: str, operation: Operation, code: str) -> None:
        """Write the refusal, or count it in an earlier row where the actor has had too many."""
        counting = self._refusals.counting_row(self._actor)
        if counting is None:
            if await self._end(operation_id, operation, OperationOutcome.REFUSED, code):
                self._refusals.note_kept(self._actor, operation_id)
            return
        try:
            await self._log.fold(operation_id, into=counting)
        except ServerUnreachable as lost:
            _tell_unconfirmed(operation_id, operation, lost)

    async def _end(
        self,
        operation_id: str,
        operation: Operation,
        outcome: OperationOutcome,
        code: str | None,
    ) -> bool:
        """Write the outcome. If that fails (False), the caller still gets the answer to the change,
        which is known."""
        try:
            reach("operation.done")
            await self._log.end(
                operation_id,
                outcome,
                target=operation.target,
                code=code,
                detail=operation.detail,
            )
        except ServerUnreachable as lost:
            _tell_unconfirmed(operation_id, operation, lost)
            return False
        return True


def _tell_unconfirmed(operation_id: str, operation: Operation, error: ServerUnreachable) -> None:
    emit(
        "operation.unconfirmed",
        operation_id=operation_id,
        target=operation.target,
        error=str(error),
    )


__all__ = ["Operation", "Operator", "Repeated"]
