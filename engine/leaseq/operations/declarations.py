"""Record the limits and the queues that an app declares."""

from __future__ import annotations

from leaseq.operations.engine import Engine
from leaseq.registry import Registry


async def declare(engine: Engine, registry: Registry) -> None:
    """Record them, and let the submissions of this process know the queues. Raises `LimitNotFound` for
    a queue whose limit does not exist."""
    if registry.limits:
        await engine.limits.declare([*registry.limits.values()])
    if registry.rules:
        await engine.stores.queue_limits.declare([*registry.rules.values()])
        await engine.queue_limits.refresh()


__all__ = ["declare"]
