"""A worker in the foreground: a supervisor and its children, until a signal."""

from __future__ import annotations

import asyncio

import uvloop

from leaseq.config import Config
from leaseq.operations.engine import open_engine
from leaseq.worker.supervisor import Post, Supervisor

POOL_SIZE = 4


def serve(config: Config, post: Post) -> int:
    """Work until SIGTERM or SIGINT; returns the exit code. Raises `ServerUnreachable` where Postgres is away at the start."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(config, post))


async def _serve(config: Config, post: Post) -> int:
    async with open_engine(config, name="leaseq supervisor", pool_size=POOL_SIZE) as engine:
        return await Supervisor(config, engine, post).run()


__all__ = ["serve"]
