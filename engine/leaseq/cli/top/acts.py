"""Changes that a person makes on the screen.

Each is an operation of the command line, recorded under the name of its user. It runs on an engine
that is opened for it: the engine of the screen only reads, and announces nothing to dispatch.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from leaseq.cli.actor import command_line
from leaseq.config import Config
from leaseq.model import State, Task
from leaseq.operations.open_engine import open_engine
from leaseq.operations.operator import Operator
from leaseq.operations.seen import Seen

POOL_SIZE = 2


class Acts:
    """The changes, each with a sentence about what became of it."""

    def __init__(self, config: Config) -> None:
        self._config = config

    async def pause(self, queue: str, *, paused: bool) -> str:
        """Pause or resume a queue."""

        async def act(operator: Operator) -> str:
            await (operator.pause(queue) if paused else operator.resume(queue))
            return f"queue {queue} is {'paused' if paused else 'open'}"

        return await self._as_operator(None, act)

    async def cancel(self, task: Task) -> str:
        """Cancel a task, if it is still as it was seen."""

        async def act(operator: Operator) -> str:
            state = await operator.cancel(task.task_id, seen=Seen(task.state, task.attempt))
            if state is State.PROCESSING:
                return "its worker was asked to stop it"
            return f"it is {state}"

        return await self._as_operator(task.tenant, act)

    async def redrive(self, task: Task) -> str:
        """Put a task back, if it is still as it was seen."""

        async def act(operator: Operator) -> str:
            again = await operator.redrive(task.task_id, seen=Seen(task.state, task.attempt))
            return f"it is {again.state} in queue {again.queue}"

        return await self._as_operator(task.tenant, act)

    async def acknowledge(self, type_name: str, fingerprint: str) -> str:
        """Acknowledge a cause of failures."""

        async def act(operator: Operator) -> str:
            await operator.acknowledge(type_name, fingerprint)
            return f"{type_name}/{fingerprint} is acknowledged until it occurs in a new version"

        return await self._as_operator(None, act)

    async def _as_operator(
        self, tenant: str | None, act: Callable[[Operator], Awaitable[str]]
    ) -> str:
        async with open_engine(self._config, name="leaseq command", pool_size=POOL_SIZE) as engine:
            return await act(engine.as_operator(command_line(tenant)))


__all__ = ["Acts"]
