"""An app whose module runs an event loop of its own while it is imported."""

from __future__ import annotations

import asyncio

from leaseq import Leaseq

app = Leaseq()


async def _prepare() -> int:
    await asyncio.sleep(0)
    return 41


FIRST = asyncio.run(_prepare())


@app.task
async def next_one() -> int:
    return FIRST + 1
