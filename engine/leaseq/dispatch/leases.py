"""The leases of workers in dispatch: begin, renew, list and close them.

A lease is a score in a sorted set, by the clock of the server of dispatch. The beat of a worker is
a counter beside it. Nothing here is authoritative: the ledger decides whether a worker is closed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from redis.asyncio import Redis

from leaseq.dispatch.deliveries import as_bytes
from leaseq.dispatch.keys import Keys
from leaseq.dispatch.reachable import reachable
from leaseq.dispatch.scripts import SCRIPT_BATCH, Call, Scripts, raise_first
from leaseq.errors import ServerUnreachable
from leaseq.observability.telemetry import emit


class LeaseView(Struct, frozen=True):
    """One registered worker as dispatch sees it. `left_ms` is negative once the lease has run
    out."""

    worker_id: str
    left_ms: int
    beat: int


# A beat counter. Any other text counts as a beat that has never moved.
BEAT = re.compile(rb"[0-9]{1,19}")


def read_leases(reply: Sequence[Any]) -> list[LeaseView]:
    """The reply of list_leases.lua."""
    flat = reply[1:]
    return [
        LeaseView(flat[i].decode(), int(flat[i + 1]), _beat(flat[i + 2]))
        for i in range(0, len(flat), 3)
    ]


def _beat(text: bytes) -> int:
    return int(text) if BEAT.fullmatch(text) else 0


class WorkerLeases:
    """The registered workers of all queues."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._keys = keys
        self._scripts = Scripts(client)

    async def open(self, queue: str, *, worker_id: str, lease_seconds: float, token: str) -> str:
        """Begin a lease. Returns the epoch of the queue."""
        names = [self._keys.leases(queue), self._keys.beats(queue), self._keys.epoch(queue)]
        with reachable():
            epoch = await self._scripts.run(
                "open", names, [worker_id, int(lease_seconds * 1000), token]
            )
        return as_bytes(epoch).decode(errors="replace")

    async def renew(
        self, queue: str, worker_ids: Sequence[str], *, lease_seconds: float
    ) -> dict[str, str]:
        """Renew leases. By worker id: 'held', 'lapsed' or 'missing'."""
        names = [self._keys.leases(queue), self._keys.beats(queue)]
        with reachable():
            answers = await self._scripts.run(
                "renew", names, [int(lease_seconds * 1000), *worker_ids]
            )
        return {
            worker_id: answer.decode()
            for worker_id, answer in zip(worker_ids, answers, strict=True)
        }

    async def list_leases(self, queue: str) -> list[LeaseView]:
        """All registered workers."""
        views = (await self.list_leases_of([queue]))[queue]
        if isinstance(views, ServerUnreachable):
            raise views
        return views

    async def list_leases_of(
        self, queues: Sequence[str]
    ) -> dict[str, list[LeaseView] | ServerUnreachable]:
        """The registered workers of many queues, in few round trips, or the error of a queue that
        cannot be read."""
        found: dict[str, list[LeaseView] | ServerUnreachable] = {}
        for start in range(0, len(queues), SCRIPT_BATCH):
            some = queues[start : start + SCRIPT_BATCH]
            calls: list[Call] = [
                ([self._keys.leases(queue), self._keys.beats(queue)], []) for queue in some
            ]
            with reachable():
                replies = await self._scripts.run_each("list_leases", calls)
            for queue, reply in zip(some, replies, strict=True):
                failed = isinstance(reply, Exception)
                if not failed and reply[0]:
                    emit("lease.dropped", queue=queue, count=reply[0])
                found[queue] = (
                    ServerUnreachable(f"Redis does not answer: {reply}")
                    if failed
                    else read_leases(reply)
                )
        return found

    async def close(self, queue: str, *, worker_id: str) -> bool:
        """Forget a worker. False while its list holds deliveries."""
        return bool(await self.close_each(queue, [worker_id]))

    async def close_each(self, queue: str, worker_ids: Sequence[str]) -> list[str]:
        """The same for many workers. Returns those that are now forgotten."""
        closed: list[str] = []
        for start in range(0, len(worker_ids), SCRIPT_BATCH):
            some = worker_ids[start : start + SCRIPT_BATCH]
            calls: list[Call] = [
                (
                    [
                        self._keys.processing(queue, one),
                        self._keys.leases(queue),
                        self._keys.beats(queue),
                    ],
                    [one],
                )
                for one in some
            ]
            with reachable():
                replies = await self._scripts.run_each("close", calls)
                raise_first(replies)
            closed += [
                worker_id for worker_id, reply in zip(some, replies, strict=True) if reply == 1
            ]
        return closed

    async def unregistered(
        self, queues: Sequence[str], worker_ids: Sequence[str]
    ) -> list[tuple[str, str]]:
        """The pairs of a queue and a worker without a registration there. A pull under such a name
        returns nothing."""
        missing: list[tuple[str, str]] = []
        for start in range(0, len(queues), SCRIPT_BATCH):
            some = queues[start : start + SCRIPT_BATCH]
            with reachable():
                found = await self._scripts.run(
                    "unregistered", [self._keys.leases(queue) for queue in some], worker_ids
                )
            # Each pair is a number of a queue and one of a worker, from 1 on.
            missing += [
                (some[queue - 1], worker_ids[worker - 1])
                for queue, worker in zip(found[::2], found[1::2], strict=True)
            ]
        return missing


__all__ = ["LeaseView", "WorkerLeases", "read_leases"]
