"""Make tasks due that wait for a worker that knows their type.

A worker without the handler, or with another version of it, hands a task back with a growing delay.
A worker that opens with the handler ends that wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from leaseq.errors import ServerUnreachable
from leaseq.ledger.task_types import TaskType, TypeLedger
from leaseq.loop import Pauses, Retries, pause
from leaseq.observability.telemetry import emit
from leaseq.registry import Registry

EXPEDITE_BATCH = 500
EXPEDITE_AGAIN_SECONDS = 10.0
PAUSES = Pauses(1.0)


class Expediter:
    """Expedites the tasks of one worker's types and queues, once when the worker opens."""

    def __init__(self, ledger: TypeLedger, registry: Registry, queues: Sequence[str]) -> None:
        self._ledger = ledger
        self._registry = registry
        self._queues = list(queues)

    async def run(self, stop: asyncio.Event) -> None:
        """Expedite, and once more after a moment: for tasks that were being handed back at the
        first time."""
        registered = task_types(self._registry)
        retries = Retries(
            PAUSES,
            report=lambda error: emit("ledger.unreachable", error=str(error), waiting=0),
            every=True,
            stop=stop,
        )
        for wait in (0.0, EXPEDITE_AGAIN_SECONDS):
            await pause(wait, stop=stop)
            count, more = 0, bool(registered)
            while more and not stop.is_set():
                try:
                    # Tasks that wait for another version of their handler wait for the newest one.
                    outdated = await self._ledger.find_outdated(registered)
                    types = [t.type for t in registered] + [
                        f"{t.type}#" for t in registered if t.type not in outdated
                    ]
                    made_due = await self._ledger.expedite(
                        types, self._queues, limit=EXPEDITE_BATCH
                    )
                    count, more = count + made_due, made_due > 0
                except ServerUnreachable as error:
                    await retries.wait(error)
            if count:
                emit("task.expedited", count=count, queues=self._queues)


def task_types(registry: Registry) -> list[TaskType]:
    """The types that an app can run, as workers register them."""
    return [
        TaskType(
            h.type,
            h.queue,
            h.shape,
            h.max_attempts,
            h.timeout_seconds,
            h.schema(),
            h.retention_seconds,
            h.codec is not None,
            msgspec.json.encode(h.redact) if h.redact else None,
            h.defaults.limit,
            h.defaults.limit_key,
            None if h.defaults.unique is None else msgspec.json.encode(h.defaults.unique),
            h.defaults.unique_key,
        )
        for h in registry.handlers.values()
    ]


__all__ = ["Expediter", "task_types"]
