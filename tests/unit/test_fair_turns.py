"""Owners take turns: the items of one do not wait for all items of another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from leaseq.fair_turns import FairLine, FairTurns
from leaseq.gather import Gatherer

Item = tuple[str, int]


def test_each_owner_gets_its_share_in_its_order() -> None:
    line: FairLine[Item] = FairLine()
    for number in range(10):
        line.put("a", ("a", number))
    for number in range(2):
        line.put("b", ("b", number))
    line.put("c", ("c", 0))
    taken = line.take(8)
    assert [item for item in taken if item[0] != "a"] == [("b", 0), ("b", 1), ("c", 0)]
    assert [item for item in taken if item[0] == "a"] == [("a", n) for n in range(5)]
    assert line.take(8) == [("a", n) for n in range(5, 10)]
    assert not line


def test_more_owners_than_places_take_turns() -> None:
    line: FairLine[int] = FairLine()
    for owner in range(5):
        for _ in range(2):
            line.put(owner, owner)
    assert [line.take(2) for _ in range(5)] == [[0, 1], [2, 3], [4, 0], [1, 2], [3, 4]]


class Writer:
    """Records its batches, and writes one when it is let."""

    def __init__(self) -> None:
        self.batches: list[list[Item]] = []
        self.begun = asyncio.Semaphore(0)
        self.go = asyncio.Semaphore(0)

    async def write(self, batch: Sequence[Item]) -> list[int | BaseException]:
        self.batches.append(list(batch))
        self.begun.release()
        await self.go.acquire()
        return [number for _, number in batch]


async def test_the_first_item_of_an_owner_is_in_the_next_batch() -> None:
    """While 5,000 items of another one wait."""
    writer = Writer()
    gatherer: Gatherer[Item, int] = Gatherer(
        writer.write, batch_size=500, capacity=2_500, owner_of=lambda item: item[0]
    )
    waiting = [asyncio.create_task(gatherer.add(("a", number))) for number in range(5_000)]
    await writer.begun.acquire()
    late = asyncio.create_task(gatherer.add(("b", 0)))
    await asyncio.sleep(0)
    writer.go.release()
    assert not late.done()
    await writer.begun.acquire()
    assert ("b", 0) in writer.batches[1]
    writer.go.release()
    assert await late == 0
    for _ in range(20):
        writer.go.release()
    assert await asyncio.gather(*waiting) == list(range(5_000))
    ordered = [number for batch in writer.batches for owner, number in batch if owner == "a"]
    assert ordered == list(range(5_000))


async def test_turns_alternate_between_owners() -> None:
    turns, order = FairTurns(1), [""]
    go = asyncio.Event()

    async def act(owner: str) -> None:
        async with turns.turn(owner):
            order.append(owner)
            await go.wait()

    acts = [asyncio.create_task(act("a")) for _ in range(4)]
    await asyncio.sleep(0)
    acts.append(asyncio.create_task(act("b")))
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(*acts)
    assert order[1:] == ["a", "a", "b", "a", "a"]


async def test_a_cancelled_wait_passes_its_turn_on() -> None:
    turns = FairTurns(1)

    async def act() -> None:
        async with turns.turn("a"):
            pass

    async with turns.turn("a"):
        waiting = [asyncio.create_task(act()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
    # This one is cancelled when its turn was given already.
    waiting[1].cancel()
    await asyncio.wait(waiting)
    assert not waiting[2].cancelled()
    await asyncio.wait_for(act(), 10)
