"""Read which lanes have a backlog, and keep the list of queues that may have one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from redis.asyncio import Redis

from leaseq.codec import FIRST_ID
from leaseq.dispatch.backlog import FIELDS, Backlog, read_backlogs
from leaseq.dispatch.keys import Keys
from leaseq.dispatch.reachable import reachable
from leaseq.dispatch.scripts import PIPELINE, Scripts
from leaseq.model import Lane


class LaneBacklogs:
    """The backlogs of all queues. With `repairs` false, for a process that only reads, a key of
    another type is not removed."""

    def __init__(self, client: Redis, keys: Keys, *, repairs: bool = True) -> None:
        self._keys = keys
        self._scripts = Scripts(client, repairs=repairs)
        # The marks of the last read: hundreds of idle backlogs have the same marks each time.
        self._named: Sequence[Any] = []
        self._marks: Mapping[str, str] = {}

    async def read(self, queue: str) -> dict[Lane, Backlog]:
        """The lanes of a queue of which a part waits in the ledger."""
        return (await self._read_some([queue]))[queue]

    async def read_many(self, queues: Sequence[str]) -> dict[str, dict[Lane, Backlog]]:
        """The backlogs of these queues, by queue and lane. Queues without any are omitted."""
        found: dict[str, dict[Lane, Backlog]] = {}
        for start in range(0, len(queues), PIPELINE):
            found |= await self._read_some(queues[start : start + PIPELINE])
        return {queue: lanes for queue, lanes in found.items() if lanes}

    async def _read_some(self, queues: Sequence[str]) -> dict[str, dict[Lane, Backlog]]:
        names = [self._keys.backlog(queue) for queue in queues]
        with reachable():
            found = await self._scripts.run("backlogs", names, [FIRST_ID, *FIELDS]) if names else []
            await self._scripts.repair_answered(names, found)
        return {
            queue: {} if values == -1 else read_backlogs(values)
            for queue, values in zip(queues, found, strict=True)
        }

    async def queues(self) -> Mapping[str, str]:
        """The queues that may have a backlog. A push that begins one names it, and the scan of the
        key space finds the others.

        Each queue comes with the mark that the last such push has set. A scan and older versions
        set an empty mark.
        """
        with reachable():
            found = await self._scripts.run("named", [self._keys.backlogs()], [])
        if found != self._named:
            self._named = found
            texts = [text.decode("ascii", "replace") for text in found]
            self._marks = dict(zip(texts[::2], texts[1::2], strict=True))
        return self._marks

    async def add(self, queues: Sequence[str]) -> None:
        """Record that these queues may have a backlog."""
        with reachable():
            await self._scripts.tell(
                "HSET", self._keys.backlogs(), *chain.from_iterable((queue, "") for queue in queues)
            )

    async def remove(self, queues: Sequence[str]) -> None:
        """Record that these queues have none. A backlog that begins now may lose its name: check
        again afterwards."""
        with reachable():
            await self._scripts.tell("HDEL", self._keys.backlogs(), *queues)


__all__ = ["LaneBacklogs"]
