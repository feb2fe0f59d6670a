"""How does a worker run in the foreground?

Its children are started with the environment and read their configuration from there. So what this process was told in
other ways (on the command line, or by embedded servers whose URLs are known only now) is written into the environment first.
"""

from __future__ import annotations

import asyncio
import os

import uvloop

from leaseq.config import Config
from leaseq.engine.engine import open_engine
from leaseq.worker.supervisor import Post, Supervisor

POOL_SIZE = 4


def serve(config: Config, post: Post) -> int:
    """Work until SIGTERM or SIGINT; returns the exit code. Raises `ServerUnreachable` where Postgres is away at the start."""
    os.environ.update(config.to_env())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(config, post))


async def _serve(config: Config, post: Post) -> int:
    async with open_engine(config, name="leaseq supervisor", pool_size=POOL_SIZE) as engine:
        return await Supervisor(config, engine, post).run()


__all__ = ["serve"]
