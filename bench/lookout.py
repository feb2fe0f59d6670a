"""Read Valkey directly, without leaseq, as an independent measurement."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis

from leaseq.config import Config
from leaseq.connections.redis import open_redis
from leaseq.dispatch.keys import Keys
from leaseq.model import Lane

LIST = "list"
SCAN_PAGE = 1_000


class Lookout:
    """One client, for questions that cost next to nothing."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def now_ms(self) -> int:
        """The clock of the server, by which it also dates leases. Milliseconds."""
        seconds, microseconds = await self._client.time()
        return int(seconds) * 1_000 + int(microseconds) // 1_000

    async def deadlines(self, queue: str) -> dict[str, int]:
        """Until when does each registered worker hold its lease? Milliseconds of the server's
        clock."""
        entries: Any = await self._client.zrange(self._keys.leases(queue), 0, -1, withscores=True)
        return {worker_id.decode(): int(deadline) for worker_id, deadline in entries}

    async def memory(self) -> int:
        """Bytes that the server has allocated."""
        return int((await self._client.info("memory"))["used_memory"])

    async def commands(self) -> dict[str, int]:
        """How many commands of each kind the server has carried out so far, those inside scripts
        included."""
        found: dict[str, dict[str, Any]] = await self._client.info("commandstats")
        return {
            name.removeprefix("cmdstat_"): int(numbers["calls"]) for name, numbers in found.items()
        }

    async def lengths(self, queues: Sequence[str]) -> list[int]:
        """How many deliveries are in the normal lane of each of these queues?"""
        pipe = self._client.pipeline(transaction=False)
        _ = [pipe.llen(self._keys.ready(queue, Lane.NORMAL)) for queue in queues]
        return [int(length) for length in await pipe.execute()]

    async def take(self, queues: Sequence[str], *, most: int) -> dict[str, list[str]]:
        """Take at most so many deliveries out of the normal lane of each of these queues, as
        workers would."""
        pipe = self._client.pipeline(transaction=False)
        _ = [pipe.lpop(self._keys.ready(queue, Lane.NORMAL), most) for queue in queues]
        return {
            queue: [value.decode() for value in taken or ()]
            for queue, taken in zip(queues, await pipe.execute(), strict=True)
        }

    async def listed(self, queue: str) -> int:
        """The number of entries in all lists of a queue, under any key name."""
        names = self._client.scan_iter(match=self._keys.pattern(queue), count=SCAN_PAGE, _type=LIST)
        return sum([int(await self._client.llen(name)) async for name in names])


@asynccontextmanager
async def open_lookout(config: Config) -> AsyncIterator[Lookout]:
    """Connect for as long as the block lasts."""
    async with open_redis(config, name="leaseq bench lookout") as client:
        yield Lookout(client, Keys(config.redis_prefix))
