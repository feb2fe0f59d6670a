"""Restart a store that may have died of a fault."""

from __future__ import annotations

import asyncio

from leaseq.errors import ServerUnreachable
from leaseq_chaos.cluster.stores import Postgres, Valkey

__all__ = ["revive"]

TIMES = 5
PAUSE_SECONDS = 0.5


async def revive(store: Postgres | Valkey) -> None:
    """Start it if it does not run, and wait until it answers. Raises ServerUnreachable when it will
    not.

    It may be dying just now, and is found running a moment before it has gone; hence more than
    once.
    """
    for _ in range(TIMES - 1):
        try:
            await store.start()
        except ServerUnreachable:
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            return
    await store.start()
