"""The pause flags of queues in dispatch, where workers read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from leaseq.dispatch.keys import Keys
from leaseq.dispatch.reachable import reachable
from leaseq.dispatch.scripts import PIPELINE
from leaseq.errors import ServerUnreachable


class PauseFlags:
    """Copies of the ledger's pause flags."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def set(self, queue: str, *, paused: bool) -> None:
        """Copy the ledger's pause flag to dispatch, where workers read it."""
        with reachable():
            if paused:
                await self._client.set(self._keys.paused(queue), "1")
            else:
                await self._client.delete(self._keys.paused(queue))

    async def set_many(self, queues: Sequence[str], *, paused: bool) -> dict[str, object]:
        """The same for many queues. By queue: a reply, or the error."""
        if paused:
            return await self._ask_each(
                queues, lambda pipe, queue: pipe.set(self._keys.paused(queue), "1")
            )
        return await self._ask_each(
            queues, lambda pipe, queue: pipe.delete(self._keys.paused(queue))
        )

    async def is_set(self, queue: str) -> bool:
        """Whether dispatch has the pause flag of a queue."""
        with reachable():
            return bool(await self._client.exists(self._keys.paused(queue)))

    async def read_many(self, queues: Sequence[str]) -> dict[str, bool | ServerUnreachable]:
        """Which of these queues have the flag that workers read."""
        found = await self._ask_each(
            queues, lambda pipe, queue: pipe.exists(self._keys.paused(queue))
        )
        return {
            queue: answer if isinstance(answer, ServerUnreachable) else bool(answer)
            for queue, answer in found.items()
        }

    async def _ask_each(
        self, queues: Sequence[str], ask: Callable[[Pipeline, str], object]
    ) -> dict[str, Any]:
        """One command for each queue, in pipelines. By queue: the reply, or the error (for a key of
        another type, say)."""
        answers: dict[str, Any] = {}
        for start in range(0, len(queues), PIPELINE):
            some = queues[start : start + PIPELINE]
            with reachable():
                pipe = self._client.pipeline(transaction=False)
                _ = [ask(pipe, queue) for queue in some]
                replies = await pipe.execute(raise_on_error=False)
            for queue, reply in zip(some, replies, strict=True):
                answers[queue] = (
                    ServerUnreachable(f"Redis does not answer: {reply}")
                    if isinstance(reply, Exception)
                    else reply
                )
        return answers


__all__ = ["PauseFlags"]
