"""The tasks: write a record, or sleep between two records. Standard library only."""

import asyncio
import time

from bench.peers.sides import effects
from bench.peers.sides.script import Payload
from bench.peers.sides.settings import NAP_SECONDS


def noop(payload: Payload) -> None:
    """Do nothing, so that only the surroundings are measured."""
    effects.record(effects.END, payload)


def nap(payload: Payload) -> None:
    """Busy, without using the CPU; in a thread or a process of its own."""
    effects.record(effects.START, payload)
    time.sleep(NAP_SECONDS)
    effects.record(effects.END, payload)


async def nap_in_loop(payload: Payload) -> None:
    """The same in an event loop."""
    effects.record(effects.START, payload)
    await asyncio.sleep(NAP_SECONDS)
    effects.record(effects.END, payload)
