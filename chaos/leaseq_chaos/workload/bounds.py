"""Change limits and keep schedules while faults happen.

Limits are lowered and raised, so that admissions meet changes. Schedules are put at the beginning and
deleted after the heal; each fires at an interval, and catches up with everything that it has missed.

Invariant: a request without an answer is repeated, which each of these is safe for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from random import Random
from typing import Any

from leaseq_chaos.history import Kind
from leaseq_chaos.workload.front import Front

__all__ = ["BoundsClient"]

LIMITS: Mapping[str, tuple[int, int]] = {"fleet": (12, 3), "side": (8, 2)}  # the largest values
CHANGE_SECONDS = 1.5
RETRY_SECONDS = 0.2
MOST_CATCH_UP = 100


class BoundsClient:
    """The operator of limits and schedules in a storm. `stop` is set after the heal."""

    def __init__(self, front: Front, *, schedules: int, changes: bool, seed: int) -> None:
        self._front = front
        self._names = [f"s{number}" for number in range(schedules)]
        self._changes = changes
        self._rng = Random(seed)
        self.stop = asyncio.Event()

    async def run(self) -> None:
        """Put the schedules, change limits until the heal, and delete the schedules."""
        for name in self._names:
            body = {
                "type": "fired",
                "payload": {"schedule": name},
                "every_seconds": 1,
                "catch_up": "all",
                "max_catch_up": MOST_CATCH_UP,
            }
            await self._ask("PUT", f"/api/schedules/{name}", body)
        while not self.stop.is_set():
            if self._changes:
                await self._change()
            try:
                await asyncio.wait_for(self.stop.wait(), CHANGE_SECONDS)
            except TimeoutError:
                continue
        for name in self._names:
            await self._ask("DELETE", f"/api/schedules/{name}", None)

    async def _change(self) -> None:
        name = self._rng.choice([*LIMITS])
        most, each = LIMITS[name]
        body = {
            "concurrency": self._rng.randint(2, most),
            "key_concurrency": self._rng.randint(1, each),
        }
        await self._ask("PUT", f"/api/limits/{name}", body)

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> None:
        while True:
            reply = await self._front.ask(method, path, body)
            if reply.kind is not Kind.INFO and not reply.passing:
                break
            self._front.move_on()
            await asyncio.sleep(RETRY_SECONDS)
