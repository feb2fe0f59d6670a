"""The changes of limits, each recorded under the name of its actor."""

from __future__ import annotations

from msgspec.structs import asdict

from leaseq.limits import LimitBounds, check_bounds
from leaseq.operations.engine import Engine
from leaseq.operations.operator import Operator


class LimitOperator:
    """Makes, changes and deletes limits for one actor."""

    def __init__(self, operator: Operator, engine: Engine) -> None:
        self._operator = operator
        self._limits = engine.limits
        self._admissions = engine.admissions

    async def put(self, bounds: LimitBounds, *, request_id: str | None = None) -> None:
        """Make a limit, or change it, and admit what it admits now. Raises `LimitInvalid`, and
        `Repeated` where the same `request_id` was done before."""
        check_bounds(bounds)
        recorded = self._operator.recorded("put_limit", bounds.name, request_id=request_id)
        async with recorded as operation:
            operation.detail = {
                name: value for name, value in asdict(bounds).items() if name != "name" and value
            }
            await self._limits.put(bounds)
        self._admissions.ask([bounds.name])

    async def delete(self, name: str, *, request_id: str | None = None) -> None:
        """Delete a limit. Raises `LimitNotFound`, `LimitInUse`."""
        async with self._operator.recorded("delete_limit", name, request_id=request_id):
            await self._limits.delete(name)


__all__ = ["LimitOperator"]
