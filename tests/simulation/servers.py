"""The servers of the state machine, set up once for all runs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, cast

from leaseq.config import Config
from leaseq.connections.redis import open_redis
from leaseq.dispatch.scripts import SCRIPTS
from simulation.actors import factory
from simulation.gates import StillLoop
from simulation.lines import Lines
from simulation.model import MAX_CRASHES

LEASE_SECONDS = 60.0


class Servers:
    """Both stores, one event loop, and the observations of all runs on them."""

    def __init__(self, postgres_url: str, redis_url: str) -> None:
        self.runner = asyncio.Runner(loop_factory=StillLoop)
        self.loop = cast(StillLoop, self.runner.get_loop())
        self.loop.set_task_factory(cast(Any, factory))
        self.config = Config(
            postgres_url=postgres_url,
            redis_url=redis_url,
            lease_seconds=LEASE_SECONDS,
            heartbeat_seconds=LEASE_SECONDS / 3,
            backoff_cap_seconds=1,
            max_crashes=MAX_CRASHES,
        )
        self.lines = Lines(postgres_url)
        self.redis: Any = open_redis(self.config, name="leaseq-machine")
        self.seen: Counter[str] = Counter()
        self.run(self._prepare())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    async def sql(self, query: str, params: Any = None) -> list[tuple[Any, ...]]:
        """A separate connection that no actor sees."""
        line = await self.lines.lend(None)
        try:
            cursor = await line.execute(query.encode(), params)
            return await cursor.fetchall() if cursor.description else []
        finally:
            self.lines.take_back(line)

    def close(self) -> None:
        self.run(self.redis.config_set("hz", self._hz))
        self.run(self.redis.aclose())
        self.lines.close()
        self.runner.close()

    async def _prepare(self) -> None:
        # A server that ticks ten times a second lets a blocked client wait for the next tick,
        # however short its block.
        self._hz = (await self.redis.config_get("hz"))["hz"]
        await self.redis.config_set("hz", 500)
        for text in SCRIPTS.values():  # else the first call of each takes two steps more
            await self.redis.script_load(text)
        await self.sql(Path(__file__).with_name("tables.sql").read_text(encoding="utf-8"))


__all__ = ["LEASE_SECONDS", "Servers"]
