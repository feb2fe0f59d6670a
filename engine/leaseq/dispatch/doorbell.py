"""How does an idle worker learn of new work at once?

It blocks in BLMOVE from the normal lane (or the suspect lane) into its own processing list, on a connection of its
own: never shared, never re-sent, with a short block on the server and a socket time-out longer than that (docs/pitfalls.md#p1
to #p4). What arrives is already in the worker's list; if the reply is lost on the way, the sweep of its own list finds
it.
"""

from __future__ import annotations

from typing import cast

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from leaseq.dispatch.deliveries import Deliveries, sort_out
from leaseq.dispatch.dispatcher import reachable
from leaseq.dispatch.keys import Keys
from leaseq.dispatch.scripts import Scripts, is_odd
from leaseq.failpoints import reach
from leaseq.model import Lane


class Doorbell:
    """One blocking connection for one queue of one worker."""

    def __init__(self, client: Redis, keys: Keys, *, queue: str, worker_id: str, block_seconds: float, lane: Lane) -> None:
        self._client = client
        self._source = keys.ready(queue, lane)
        self._target = keys.processing(queue, worker_id)
        self._block = block_seconds
        self._scripts = Scripts(client)

    async def wait(self) -> Deliveries:
        """Wait for one delivery, at most `block_seconds`. An empty token in `garbage` means: look in the other lanes."""
        with reachable():
            value = await self._blmove()
        if value is None:
            return sort_out([])
        reach("doorbell.moved")
        return sort_out([value])

    async def _blmove(self) -> bytes | str | None:
        try:
            # The server takes fractions of a second (since 6.0); the type of redis-py does not.
            return await self._client.blmove(self._source, self._target, cast(int, self._block), "LEFT", "RIGHT")
        except ResponseError as error:
            if not (is_odd(error) and await self._scripts.mend([self._source, self._target])):
                raise
            return b""  # as if a token had come: look again

    async def hang_up(self) -> None:
        """Give the connection up until the next wait."""
        await self._client.aclose()

    async def aclose(self) -> None:
        """Close the connection."""
        await self._client.aclose()


__all__ = ["Doorbell"]
