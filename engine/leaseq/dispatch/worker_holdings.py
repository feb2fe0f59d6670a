"""The lease of each worker and the deliveries that it holds, for operators."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress

from msgspec import Struct

from leaseq.dispatch.leases import WorkerLeases
from leaseq.dispatch.queue_lists import QueueLists
from leaseq.dispatch.scripts import PIPELINE
from leaseq.errors import ServerUnreachable

# Task ids of one worker that are shown.
MOST_SHOWN = 20


class Holding(Struct):
    """The part of one worker in dispatch. `left_ms` is that of its shortest lease, negative once it
    has run out, and None without a lease. `task_ids` are the first of `count`."""

    left_ms: int | None = None
    count: int = 0
    task_ids: list[str] = []


class WorkerHoldings:
    """The leases and processing lists of all workers."""

    def __init__(self, leases: WorkerLeases, lists: QueueLists) -> None:
        self._leases = leases
        self._lists = lists

    async def of(
        self, workers: Mapping[str, Sequence[str]], *, seconds: float, most: int = MOST_SHOWN
    ) -> dict[str, Holding] | None:
        """The holding of each of these workers, by its queues, with at most so many ids of each:
        those that it took first. None: Redis did not answer in time."""
        found = {worker_id: Holding() for worker_id in workers}
        with suppress(ServerUnreachable, TimeoutError):
            async with asyncio.timeout(seconds):
                await self._read_leases(workers, found)
                await self._read_lists(workers, found, most)
                return found
        return None

    async def _read_leases(
        self, workers: Mapping[str, Sequence[str]], found: dict[str, Holding]
    ) -> None:
        queues = sorted({queue for names in workers.values() for queue in names})
        for views in (await self._leases.list_leases_of(queues)).values():
            if isinstance(views, ServerUnreachable):
                raise views
            for view in views:
                holding = found.get(view.worker_id)
                if holding is not None:
                    left = view.left_ms if holding.left_ms is None else holding.left_ms
                    holding.left_ms = min(left, view.left_ms)

    async def _read_lists(
        self, workers: Mapping[str, Sequence[str]], found: dict[str, Holding], most: int
    ) -> None:
        places = [(queue, worker_id) for worker_id, names in workers.items() for queue in names]
        for start in range(0, len(places), PIPELINE):
            some = places[start : start + PIPELINE]
            lengths = await self._lists.count_held(some)
            filled = [place for place, length in zip(some, lengths, strict=True) if length]
            pages = await self._lists.first_held(filled, most=most)
            for (_, worker_id), length in zip(some, lengths, strict=True):
                found[worker_id].count += length
            for (_, worker_id), page in zip(filled, pages, strict=True):
                shown = found[worker_id].task_ids
                shown += page[: most - len(shown)]


__all__ = ["MOST_SHOWN", "Holding", "WorkerHoldings"]
