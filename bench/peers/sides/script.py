"""The command line of an adapter: `prepare | submit | work`, the same for all.

`submit` prints one line of JSON at its end: how many tasks it submitted, and when it began and
ended. One by one means that the next submission begins when the last has returned. Standard library
only (and uvloop, where it is installed).
"""

import argparse
import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

CHUNK = 500
# The last three are under a limit, `keyed` with one key of many.
TASKS = ("noop", "nap", "brief", "keyed", "hold")
# With the rest of it a payload of about 110 bytes.
NOTE = "x" * 64

# Where it is installed.
LOOP = "uvloop" if find_spec("uvloop") else "asyncio"

Payload = dict[str, Any]


class Client(NamedTuple):
    """Ways to submit: one task, and many in one call if there is a documented one. Both take the
    name of the task first."""

    one: Callable[[str, Payload], Awaitable[Any]]
    many: Callable[[str, list[Payload]], Awaitable[Any]] | None = None


OpenClient = Callable[[], AbstractAsyncContextManager[Client]]
Work = Callable[[], Awaitable[None]]


async def nothing() -> None:
    """There is nothing to do."""


def play(client: OpenClient, *, prepare: Work = nothing, work: Work | None = None) -> None:
    """Do what the command line says. `work` runs a worker in this process; None: it has a program
    of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["prepare", "submit", "work"])
    parser.add_argument("--task", choices=TASKS, default="noop")
    parser.add_argument("--mode", choices=["one", "bulk", "fill", "pace", "flood"], default="one")
    parser.add_argument("--first", type=int, default=0, help="the first order id")
    parser.add_argument("--count", type=int, default=1, help="at most, of a flood")
    parser.add_argument(
        "--seconds", type=float, default=0.0, help="of a flood in all, of a pace between two tasks"
    )
    parser.add_argument(
        "--together", type=int, default=1, help="scripts that begin when all of them are ready"
    )
    wanted = parser.parse_args()
    if wanted.what == "submit":
        run(submit(client, wanted))
    elif wanted.what == "prepare":
        run(prepare())
    elif work is not None:
        run(work())


def run(main: Awaitable[None]) -> None:
    """To its end."""

    async def awaited() -> None:
        await main

    with asyncio.Runner(loop_factory=import_module(LOOP).new_event_loop) as runner:
        runner.run(awaited())


async def submit(open_client: OpenClient, wanted: argparse.Namespace) -> None:
    """Submit as requested, and print the result."""
    ids = range(wanted.first, wanted.first + wanted.count)
    async with open_client() as client:
        all_ready(wanted.together)
        began = time.monotonic_ns()
        if wanted.mode == "bulk" or (wanted.mode == "fill" and client.many is not None):
            done = await _bulk(client, wanted.task, ids)
        elif wanted.mode == "pace":
            done = await _pace(client, wanted.task, ids, wanted.seconds)
        else:
            seconds = wanted.seconds if wanted.mode == "flood" else None
            done = await _one_by_one(client, wanted.task, ids, seconds)
        ended = time.monotonic_ns()
    print(json.dumps({"count": done, "began_ns": began, "ended_ns": ended}), flush=True)


def all_ready(scripts: int) -> None:
    """Wait until so many scripts of this measurement have come here. Each adds a byte to a file."""
    if scripts > 1:
        file = Path(os.environ["BENCH_READY"])
        with file.open("ab", buffering=0) as ready:
            ready.write(b".")
        while file.stat().st_size < scripts:
            time.sleep(0.01)


def payload(order_id: int) -> Payload:
    """The payload of every task. `t`: when its submission began."""
    return {"order_id": order_id, "t": time.monotonic_ns(), "note": NOTE}


async def _one_by_one(client: Client, task: str, ids: range, seconds: float | None) -> int:
    give_up = None if seconds is None else time.monotonic() + seconds
    for order_id in ids:
        if give_up is not None and time.monotonic() >= give_up:
            return order_id - ids.start
        await client.one(task, payload(order_id))
    return len(ids)


async def _bulk(client: Client, task: str, ids: range) -> int:
    if client.many is None:
        raise SystemExit("it documents no call that submits many tasks")
    for start in range(ids.start, ids.stop, CHUNK):
        await client.many(
            task, [payload(order_id) for order_id in range(start, min(start + CHUNK, ids.stop))]
        )
    return len(ids)


async def _pace(client: Client, task: str, ids: range, seconds: float) -> int:
    """One task each so many seconds. A late sender does not hurry."""
    due = time.monotonic()
    for order_id in ids:
        await client.one(task, payload(order_id))
        due = max(due + seconds, time.monotonic())
        await asyncio.sleep(due - time.monotonic())
    return len(ids)
