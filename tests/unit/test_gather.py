"""Single calls become batches, and each caller gets its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from leaseq.gather import Gatherer


class Writer:
    """Records its batches, and answers when it is let."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = asyncio.Event()
        self.go.set()
        self.begun = asyncio.Event()

    async def write(self, batch: Sequence[int]) -> list[int | BaseException]:
        self.batches.append(list(batch))
        self.begun.set()
        await self.go.wait()
        if -1 in batch:
            raise RuntimeError("the whole batch")
        return [ValueError(f"only {n}") if n < 0 else n * 10 for n in batch]


@pytest.fixture
async def writer() -> Writer:
    return Writer()


def _gatherer(
    writer: Writer, *, batch_size: int = 100, capacity: int = 1_000
) -> Gatherer[int, int]:
    return Gatherer(writer.write, batch_size=batch_size, capacity=capacity)


async def test_a_lone_item_goes_straight_through(writer: Writer) -> None:
    assert await _gatherer(writer).add(1) == 10
    assert writer.batches == [[1]]


async def test_item_added_during_a_write_joins_the_next_batch(writer: Writer) -> None:
    gatherer = _gatherer(writer)
    writer.go.clear()
    first = asyncio.create_task(gatherer.add(0))
    await writer.begun.wait()
    rest = [asyncio.create_task(gatherer.add(n)) for n in range(1, 6)]
    await asyncio.sleep(0)
    writer.go.set()

    assert await asyncio.gather(first, *rest) == [0, 10, 20, 30, 40, 50]
    assert writer.batches == [[0], [1, 2, 3, 4, 5]]


async def test_batches_are_bounded_and_in_order(writer: Writer) -> None:
    gatherer = _gatherer(writer, batch_size=4)

    assert await asyncio.gather(*(gatherer.add(n) for n in range(10))) == [
        n * 10 for n in range(10)
    ]
    assert writer.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


async def test_one_refusal_is_its_own_callers(writer: Writer) -> None:
    gatherer = _gatherer(writer)

    answers = await asyncio.gather(*(gatherer.add(n) for n in (1, -2, 3)), return_exceptions=True)

    assert answers[0] == 10
    assert isinstance(answers[1], ValueError)
    assert answers[2] == 30


async def test_a_write_that_fails_fails_its_batch_and_not_the_next(writer: Writer) -> None:
    gatherer = _gatherer(writer, batch_size=2)

    answers = await asyncio.gather(*(gatherer.add(n) for n in (-1, 2, 3)), return_exceptions=True)

    assert [type(answer) for answer in answers] == [RuntimeError, RuntimeError, int]
    assert await gatherer.add(4) == 40


async def test_too_few_answers_are_an_error_for_those_without(writer: Writer) -> None:
    async def forgetful(batch: Sequence[int]) -> list[int | BaseException]:
        return list(batch[:1])

    gatherer: Gatherer[int, int] = Gatherer(forgetful, batch_size=10, capacity=10)
    answers = await asyncio.gather(*(gatherer.add(n) for n in (1, 2)), return_exceptions=True)

    assert answers[0] == 1
    assert isinstance(answers[1], ValueError)


async def test_a_caller_that_goes_away_does_not_take_its_item_back(writer: Writer) -> None:
    gatherer = _gatherer(writer)
    writer.go.clear()
    first = asyncio.create_task(gatherer.add(1))
    await writer.begun.wait()
    gone = asyncio.create_task(gatherer.add(-2))  # no caller gets its refusal
    stays = asyncio.create_task(gatherer.add(3))
    await asyncio.sleep(0)
    gone.cancel()
    writer.go.set()

    assert [await first, await stays] == [10, 30]
    assert writer.batches == [[1], [-2, 3]]
    assert gone.cancelled()


async def test_callers_wait_when_too_many_items_do(writer: Writer) -> None:
    gatherer = _gatherer(writer, capacity=2)
    writer.go.clear()
    adding = [asyncio.create_task(gatherer.add(n)) for n in range(5)]
    await writer.begun.wait()
    for _ in range(5):
        await asyncio.sleep(0)
    assert writer.batches == [[0, 1]]
    writer.go.set()

    assert await asyncio.gather(*adding) == [0, 10, 20, 30, 40]


async def test_aclose_waits_for_what_was_handed_in(writer: Writer) -> None:
    gatherer = _gatherer(writer, batch_size=1)
    writer.go.clear()
    adding = [asyncio.create_task(gatherer.add(n)) for n in range(3)]
    await writer.begun.wait()
    closing = asyncio.create_task(gatherer.aclose())
    await asyncio.sleep(0)
    assert not closing.done()
    writer.go.set()
    await closing

    assert await asyncio.gather(*adding) == [0, 10, 20]
    await gatherer.aclose()


async def test_an_answer_can_be_called_back(writer: Writer) -> None:
    """Callers without their own task; each gets its own answer, in order."""
    gatherer = _gatherer(writer)
    answers: list[int | BaseException] = []
    for n in (1, -2, 3):
        gatherer.put(n, answers.append)
    await gatherer.aclose()
    assert [type(answer) for answer in answers] == [int, ValueError, int]
    assert (writer.batches, answers[0], answers[2]) == ([[1, -2, 3]], 10, 30)

    answers.clear()
    for n in (-1, 2):
        gatherer.put(n, answers.append)
    await gatherer.aclose()
    assert [type(answer) for answer in answers] == [RuntimeError, RuntimeError]


async def test_callback_is_called_at_the_end(writer: Writer) -> None:
    gatherer = _gatherer(writer)
    answers: list[int | BaseException] = []
    writer.go.clear()
    gatherer.put(1, answers.append)
    await writer.begun.wait()
    assert gatherer._writer is not None
    gatherer._writer.cancel()
    await asyncio.wait([gatherer._writer])
    assert [type(answer) for answer in answers] == [asyncio.CancelledError]
