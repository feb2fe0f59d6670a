"""The tasks: write a record, or sleep between two records. Standard library only."""

import asyncio
import time

from bench.peers.sides import effects
from bench.peers.sides.script import Payload
from bench.peers.sides.settings import BRIEF_SECONDS, HOLD_SECONDS, KEYS, NAP_SECONDS


def noop(payload: Payload) -> None:
    """Do nothing, so that only the surroundings are measured."""
    effects.record(effects.END, payload)


def nap(payload: Payload) -> None:
    """Busy, without using the CPU; in a thread or a process of its own."""
    effects.record(effects.START, payload)
    time.sleep(NAP_SECONDS)
    effects.record(effects.END, payload)


async def nap_in_loop(payload: Payload, seconds: float = NAP_SECONDS) -> None:
    """The same in an event loop."""
    effects.record(effects.START, payload)
    await asyncio.sleep(seconds)
    effects.record(effects.END, payload)


async def brief_in_loop(payload: Payload) -> None:
    """A short task under a limit."""
    await nap_in_loop(payload, BRIEF_SECONDS)


async def hold_in_loop(payload: Payload) -> None:
    """A task that holds its permit for longer."""
    await nap_in_loop(payload, HOLD_SECONDS)


def key_of(order_id: int) -> str:
    """The key of a task, where tasks have keys. Each key has equally many tasks."""
    return f"k{order_id % KEYS}"
