"""Changes of schedules by people and programs, each recorded before it is done."""

from __future__ import annotations

from leaseq.errors import ScheduleInvalid, ScheduleNotFound
from leaseq.ledger.schedules import Run
from leaseq.operations.operator import Operator
from leaseq.operations.schedules import Schedules
from leaseq.schedules.schedule import Definition, Schedule


class ScheduleOperator:
    """The changes of schedules that one actor may make. Each raises what `Schedules` does, and
    `Repeated` where the same `request_id` was done before."""

    def __init__(self, operator: Operator, schedules: Schedules) -> None:
        self._operator = operator
        self._schedules = schedules

    async def put(
        self, definition: Definition, *, new: bool = False, request_id: str | None = None
    ) -> Schedule:
        """Create or replace a schedule. `new`: raise `ScheduleInvalid` where there is one of this
        name."""
        name, tenant = definition.name, definition.submission.tenant
        async with self._operator.recorded(
            "put_schedule", name, request_id=request_id
        ) as operation:
            operation.detail = {"type": definition.submission.type}
            if new and await self._exists(tenant, name):
                raise ScheduleInvalid(
                    f"there is a schedule {name} already: change it on its page", field="name"
                )
            return await self._schedules.put(definition)

    async def pause(self, tenant: str, name: str, *, request_id: str | None = None) -> Schedule:
        """Pause a schedule. The actor is shown while it is paused."""
        async with self._operator.recorded("pause_schedule", name, request_id=request_id):
            return await self._schedules.pause(tenant, name, by=self._operator.actor.name)

    async def resume(self, tenant: str, name: str, *, request_id: str | None = None) -> Schedule:
        """Resume a schedule from now on."""
        async with self._operator.recorded("resume_schedule", name, request_id=request_id):
            return await self._schedules.resume(tenant, name)

    async def run_now(
        self, tenant: str, name: str, *, request: str | None = None, request_id: str | None = None
    ) -> Run:
        """Create a task of a schedule now, once for each `request`."""
        async with self._operator.recorded(
            "run_schedule", name, request_id=request_id
        ) as operation:
            run = await self._schedules.run_now(tenant, name, request=request)
            operation.detail = {"task_id": run.task_id, "created": run.created}
            return run

    async def delete(self, tenant: str, name: str, *, request_id: str | None = None) -> None:
        """Delete a schedule; its tasks stay."""
        async with self._operator.recorded("delete_schedule", name, request_id=request_id):
            await self._schedules.delete(tenant, name)

    async def _exists(self, tenant: str, name: str) -> bool:
        try:
            await self._schedules.find(tenant, name)
        except ScheduleNotFound:
            return False
        return True


__all__ = ["ScheduleOperator"]
