"""Many submissions are answered individually, in order, across chunks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from leaseq.config import Config
from leaseq.errors import IdempotencyKeyReused, ServerUnreachable
from leaseq.model import Submission, Submitted
from leaseq.operations.engine import BATCH_SIZE, Engine
from leaseq.operations.open_engine import open_engine
from support.ledger import submission

CHUNKS = 3


@pytest.fixture
async def engine(config: Config) -> AsyncIterator[Engine]:
    async with open_engine(config, name="leaseq test") as opened:
        yield opened


class Slow:
    """A submitter that notes how many chunks are on their way, and fails one of them."""

    def __init__(self, engine: Engine, *, failing: int | None = None) -> None:
        self._write = engine._submitter.write
        self._failing = failing
        self._begun = self.under_way = self.most = 0
        self.over: list[int] = []

    async def write(self, batch: Sequence[Submission]) -> list[Submitted | BaseException]:
        number, self._begun = self._begun, self._begun + 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(0)
            if number == self._failing:
                raise ServerUnreachable("gone")
            return await self._write(batch)
        finally:
            self.under_way -= 1
            self.over.append(number)


def slow(engine: Engine, monkeypatch: pytest.MonkeyPatch, **how: Any) -> Slow:
    submitter = Slow(engine, **how)
    monkeypatch.setattr(engine._submitter, "write", submitter.write)
    return submitter


async def test_chunks_overlap_and_answers_keep_their_order(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitter = slow(engine, monkeypatch)
    batch = [submission() for _ in range(CHUNKS * BATCH_SIZE)]
    answers = await engine.submit_many(batch)
    assert [a.task_id for a in answers if isinstance(a, Submitted)] == [s.task_id for s in batch]
    assert submitter.most == 2
    assert await engine.submit_many([]) == []


async def test_of_two_with_one_key_the_first_has_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However far apart: then the chunks wait for each other."""
    submitter = slow(engine, monkeypatch)
    batch = [submission() for _ in range(CHUNKS * BATCH_SIZE - 2)]
    first, last = (
        submission(idempotency_key="k", payload=payload) for payload in (b'{"n":1}', b'{"n":2}')
    )
    answers = await engine.submit_many([first, *batch, last])
    assert isinstance(answers[0], Submitted)
    assert isinstance(answers[-1], IdempotencyKeyReused)
    assert submitter.most == 1


async def test_a_chunk_that_fails_leaves_none_behind(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitter = slow(engine, monkeypatch, failing=0)
    with pytest.raises(ServerUnreachable):
        await engine.submit_many([submission() for _ in range(CHUNKS * BATCH_SIZE)])
    assert (submitter.under_way, sorted(submitter.over)) == (0, [0, 1])
