"""A worker that runs tasks until a test has looked at them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from leaseq import Context, Leaseq
from leaseq.config import Config
from support.api import Api
from support.worker import working


@asynccontextmanager
async def occupied(
    config: Config, api: Api, *, count: int = 1, progress: Any = "begun"
) -> AsyncIterator[list[str]]:
    """A worker that runs so many tasks of the type `hold`, each with this progress, until the block
    ends. Yields their ids, the longest running first."""
    app, over, begun = Leaseq(config), asyncio.Event(), asyncio.Semaphore(0)

    @app.task(name="hold")
    async def hold(ctx: Context, n: int) -> None:
        await ctx.set_progress(progress)
        begun.release()
        await over.wait()

    async with working(config, app, registers=True):
        try:
            task_ids = []
            for number in range(count):
                task_ids.append(await api.submitted({"type": "hold", "payload": {"n": number}}))
                await begun.acquire()
            yield task_ids
        finally:
            over.set()


__all__ = ["occupied"]
