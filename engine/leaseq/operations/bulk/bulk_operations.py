"""Operations on many tasks: preview, start, find, stop and resume.

An operation cancels or redrives the tasks of a filter or of a list. Its set is fixed when it starts:
tasks that were submitted later (cancel) or that ended later (redrive) stay as they are. Work on it
is done in steps (`bulk_runner.py`), by any API process.
"""

from __future__ import annotations

import math
from datetime import datetime

from msgspec.structs import replace

from leaseq.codec import is_task_id
from leaseq.errors import OperationConflict, OperationInvalid, OperationNotFound
from leaseq.labels import MAX_ASKED, fault_of
from leaseq.ledger.bulk_operations import (
    BulkAction,
    BulkFilter,
    BulkOperationLedger,
    BulkRecord,
    BulkRequest,
    BulkState,
    Preview,
)
from leaseq.ledger.operation_log import Actor
from leaseq.model import FINGERPRINT, NAME
from leaseq.observability.telemetry import emit

MOST_IDS = 10_000
LEAST_RATE = 0.01
MOST_RATE = 2_000.0
DEFAULT_RATE = 50.0
REASON_LENGTH = 500


class BulkOperations:
    """The operations on many tasks, through one session of Postgres."""

    def __init__(self, ledger: BulkOperationLedger) -> None:
        self._ledger = ledger

    async def preview(
        self,
        action: BulkAction,
        wanted: BulkFilter,
        *,
        tenant: str | None,
        as_of: datetime | None = None,
    ) -> Preview:
        """Count the tasks that an operation would change, as of a time (None: now), within a
        bounded look. Raises `OperationInvalid`."""
        wanted = checked_filter(action, wanted)
        return await self._ledger.preview(action, wanted, tenant=tenant, as_of=as_of)

    async def start(self, request: BulkRequest, preview: Preview, *, actor: Actor) -> BulkRecord:
        """Start an operation, whose preview gives the time and the number of its set. The same
        request with the same id starts one operation, however often it is sent.

        Raises `OperationInvalid`, `OperationConflict`.
        """
        _check_request(request)
        started = await self._ledger.start(request, preview, actor=actor)
        found = await self._ledger.find(request.operation_id, tenant=actor.tenant)
        if found is None or found.request != request.digest(actor.tenant):
            raise OperationConflict(
                f"the id {request.operation_id} stands for another operation, or was not made "
                "within the last day: take the id of a new preview"
            )
        if started:
            emit(
                "operation.started",
                operation_id=found.operation_id,
                action=found.action,
                total=found.total,
                rate=found.rate,
            )
        return found

    async def find(self, operation_id: str, *, tenant: str | None) -> BulkRecord:
        """Read an operation of actors bound to a tenant (None: to any). Raises
        `OperationNotFound`."""
        found = await self._ledger.find(operation_id, tenant=tenant)
        if found is None:
            raise OperationNotFound(f"there is no operation {operation_id} on many tasks")
        return found

    async def stop(self, operation_id: str, *, tenant: str | None) -> BulkRecord:
        """Stop an operation: no step of it begins any more. It is safe to repeat.

        Raises `OperationNotFound`, `OperationConflict`.
        """
        stopped = await self._ledger.stop(operation_id, tenant=tenant)
        found = await self.find(operation_id, tenant=tenant)
        if found.state is BulkState.DONE:
            raise OperationConflict(f"operation {operation_id} is done")
        if stopped:
            emit("operation.stopped", operation_id=operation_id, done=found.done)
        return found

    async def resume(self, operation_id: str, *, tenant: str | None) -> BulkRecord:
        """Let an operation that was stopped go on. It is safe to repeat.

        Raises `OperationNotFound`, `OperationConflict`.
        """
        resumed = await self._ledger.resume(operation_id, tenant=tenant)
        found = await self.find(operation_id, tenant=tenant)
        if found.state is BulkState.DONE and not resumed:
            raise OperationConflict(f"operation {operation_id} is done")
        if resumed:
            emit("operation.resumed", operation_id=operation_id, done=found.done)
        return found


def checked_filter(action: BulkAction, wanted: BulkFilter) -> BulkFilter:
    """A filter in its canonical form: ids in lower case, in order, each once, and labels by name. Raises
    `OperationInvalid`."""
    named = {"queue": wanted.queue, "type": wanted.type}
    for name, value in named.items():
        if value is not None and not NAME.fullmatch(value):
            raise OperationInvalid(f"{name} must be 1 to 128 characters of A-Z a-z 0-9 _ . -")
    if wanted.error is not None and not FINGERPRINT.fullmatch(wanted.error):
        raise OperationInvalid("error must be the fingerprint of a failure")
    if action == "cancel" and wanted.error is not None:
        raise OperationInvalid("a cancel takes no error: a task that has failed has ended")
    if action == "redrive" and wanted.running:
        raise OperationInvalid("a redrive takes no running: a task that runs has not ended")
    if wanted.ids is None:
        if not wanted.labels and all(value is None for value in (*named.values(), wanted.error)):
            raise OperationInvalid(
                "the filter is empty: name ids, a queue, a type, an error or labels"
            )
        return replace(wanted, labels=_checked_labels(wanted.labels))
    if wanted.labels or any(value is not None for value in (*named.values(), wanted.error)):
        raise OperationInvalid("ids stand alone: no queue, type, error or label beside them")
    return BulkFilter(ids=_checked_ids(wanted.ids), running=wanted.running)


def _checked_labels(labels: dict[str, str]) -> dict[str, str]:
    if len(labels) > MAX_ASKED:
        raise OperationInvalid(f"a filter has at most {MAX_ASKED} labels, not {len(labels)}")
    for name, value in labels.items():
        if (fault := fault_of(name, value)) is not None:
            raise OperationInvalid(fault)
    return dict(sorted(labels.items()))


def _checked_ids(ids: list[str]) -> list[str]:
    if not 1 <= len(ids) <= MOST_IDS:
        raise OperationInvalid(f"ids must have 1 to {MOST_IDS} ids of tasks")
    found = sorted({task_id.lower() for task_id in ids})
    for task_id in found:
        if not is_task_id(task_id):
            raise OperationInvalid(f"{task_id[:50]!r} is not the id of a task: ids are UUIDs")
    return found


def _check_request(request: BulkRequest) -> None:
    if not is_task_id(request.operation_id) or request.operation_id[14] != "7":
        raise OperationInvalid("operation_id must be a UUIDv7, such as that of a preview")
    if not (math.isfinite(request.rate) and LEAST_RATE <= request.rate <= MOST_RATE):
        raise OperationInvalid(f"rate must be {LEAST_RATE:g} to {MOST_RATE:g} tasks a second")
    reason = request.reason
    if reason is not None and not (0 < len(reason) <= REASON_LENGTH and reason.isprintable()):
        raise OperationInvalid(
            f"a reason has 1 to {REASON_LENGTH} printable characters, in one line"
        )


__all__ = [
    "DEFAULT_RATE",
    "LEAST_RATE",
    "MOST_IDS",
    "MOST_RATE",
    "BulkOperations",
    "checked_filter",
]
