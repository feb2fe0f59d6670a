"""Operations on many tasks by one actor, each recorded under their name.

The row of a start is recorded in the statement that starts the operation, and stays unconfirmed
until the operation is done. A stop and a resumption are changes with rows of their own.
"""

from __future__ import annotations

from leaseq.ledger.bulk_operations import BulkRecord, BulkRequest, Preview
from leaseq.operations.bulk.bulk_operations import BulkOperations
from leaseq.operations.operator import Operator


class BulkOperator:
    """The operations on many tasks that one actor may make."""

    def __init__(self, operator: Operator, bulk: BulkOperations) -> None:
        self._operator = operator
        self._bulk = bulk
        self._tenant = operator.actor.tenant

    async def start(self, request: BulkRequest, preview: Preview) -> BulkRecord:
        """Start an operation, as `BulkOperations.start` does."""
        return await self._bulk.start(request, preview, actor=self._operator.actor)

    async def stop(self, operation_id: str) -> BulkRecord:
        """Stop an operation, as `BulkOperations.stop` does."""
        async with self._operator.recorded("stop_operation", operation_id):
            return await self._bulk.stop(operation_id, tenant=self._tenant)

    async def resume(self, operation_id: str) -> BulkRecord:
        """Let an operation go on, as `BulkOperations.resume` does."""
        async with self._operator.recorded("resume_operation", operation_id):
            return await self._bulk.resume(operation_id, tenant=self._tenant)


__all__ = ["BulkOperator"]
