"""The changes of the limits of queues, each recorded under the name of its actor."""

from __future__ import annotations

from leaseq.limits import QueueRule, check_rule
from leaseq.operations.engine import Engine
from leaseq.operations.operator import Operator


class QueueOperator:
    """Gives queues a limit, and makes them fair or plain, for one actor."""

    def __init__(self, operator: Operator, engine: Engine) -> None:
        self._operator = operator
        self._engine = engine

    async def put(self, rule: QueueRule) -> None:
        """Give a queue a limit, make it fair, or make it plain. Raises `LimitInvalid`,
        `LimitNotFound`."""
        check_rule(rule)
        async with self._operator.recorded("put_queue", rule.queue) as operation:
            operation.detail = {"limit": rule.limit, "fair": rule.fair}
            await self._engine.stores.queue_limits.put(rule)
        await self._engine.queue_limits.refresh()


__all__ = ["QueueOperator"]
