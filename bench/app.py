"""The handlers of the benchmark."""

from __future__ import annotations

import asyncio
import time

from leaseq import Leaseq

app = Leaseq()


@app.task
async def noop(order_id: int, note: str) -> None:
    """Do nothing, so that only the surroundings are measured."""


@app.task
async def stamp(sent_ns: int) -> int:
    """How long ago was this task sent, in nanoseconds of the machine's monotonic clock?"""
    return time.monotonic_ns() - sent_ns


@app.task
async def nap(seconds: float) -> None:
    """Busy, without using the CPU."""
    await asyncio.sleep(seconds)
