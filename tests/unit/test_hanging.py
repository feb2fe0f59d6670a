"""A test whose time is up says where its asyncio tasks stood."""

from __future__ import annotations

import asyncio

from support.hanging import unfinished


async def inner(gate: asyncio.Event) -> None:
    await gate.wait()


async def outer(gate: asyncio.Event) -> None:
    await inner(gate)


async def test_each_unfinished_task_is_named_with_the_calls_that_it_waits_in() -> None:
    gate = asyncio.Event()
    waiting = asyncio.create_task(outer(gate), name="the one that waits")
    await asyncio.sleep(0)
    (said,) = [said for said in unfinished() if said.startswith("the one that waits\n")]
    assert [line.rpartition(" ")[2] for line in said.splitlines()[1:4]] == [
        "outer",
        "inner",
        "wait",
    ]
    gate.set()
    await waiting
    assert not [said for said in unfinished() if said.startswith("the one that waits\n")]
