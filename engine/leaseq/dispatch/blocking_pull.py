"""Wake an idle worker when work arrives, by a blocking pull.

This is the doorbell of a worker. It blocks in BLMOVE from the normal lane (or the suspect lane)
into the worker's own processing list. It uses a dedicated connection that is never shared and never sends a command
again. The server blocks for a short time, and the socket time-out is longer (docs/pitfalls.md#p1 to
#p4). A delivery that arrives is already in the worker's list. If the reply is lost, the worker's
comparison of that list finds the delivery.
"""

from __future__ import annotations

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from leaseq.connections.single_commands import SingleCommands
from leaseq.dispatch.deliveries import Deliveries, sort_out
from leaseq.dispatch.keys import Keys
from leaseq.dispatch.reachable import reachable
from leaseq.dispatch.scripts import Scripts, is_odd
from leaseq.failpoints import reach
from leaseq.model import Lane


class BlockingPull:
    """One blocking connection for one queue of one worker."""

    def __init__(
        self,
        client: Redis,
        keys: Keys,
        *,
        queue: str,
        worker_id: str,
        block_seconds: float,
        lane: Lane,
    ) -> None:
        self._client = client
        self._source = keys.ready(queue, lane)
        self._target = keys.processing(queue, worker_id)
        self._block = block_seconds
        self._commands = SingleCommands(client)
        self._scripts = Scripts(client)

    async def wait(self) -> Deliveries:
        """Wait for one delivery, at most `block_seconds`. An empty token in `garbage` means: pull
        from the other lanes."""
        with reachable():
            value = await self._blmove()
        if value is None:
            return sort_out([])
        reach("doorbell.moved")
        return sort_out([value])

    async def _blmove(self) -> bytes | None:
        try:
            # The server takes fractions of a second since 6.0.
            value: bytes | None = await self._commands.send(
                "BLMOVE", self._source, self._target, "LEFT", "RIGHT", self._block
            )
            return value
        except ResponseError as error:
            if not (is_odd(error) and await self._scripts.repair([self._source, self._target])):
                raise
            return b""  # like a token: pull again

    async def disconnect(self) -> None:
        """Disconnect until the next wait."""
        await self._client.aclose()

    async def aclose(self) -> None:
        """Close the connection."""
        await self._client.aclose()


__all__ = ["BlockingPull"]
