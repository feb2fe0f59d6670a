"""A tenant with many submissions does not delay those of another one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.connections.postgres_pool import Pool
from leaseq.ledger.tasks import TaskLedger
from leaseq.model import Submission, Submitted
from leaseq.operations.engine import Engine
from leaseq.operations.open_engine import open_engine
from support.ledger import RETENTION, holding, submission


@pytest.fixture
async def engine(config: Config) -> AsyncIterator[Engine]:
    async with open_engine(config, name="leaseq test", pool_size=4) as opened:
        await opened.stores.queues.register_queues(["default"])
        yield opened


def of(tenant: str, **rest: Any) -> Submission:
    return replace(submission(**rest), tenant=tenant)


class Statements:
    """The batches that are sent, of which the first one waits."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[list[str]] = []
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        submit = engine.stores.tasks.submit

        async def record(batch: Sequence[Submission], **rest: Any) -> dict[str, Submitted | None]:
            self.sent.append([one.tenant for one in batch])
            self.begun.set()
            await self.go.wait()
            return await submit(batch, **rest)

        monkeypatch.setattr(engine.stores.tasks, "submit", record)


@pytest.fixture
def statements(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Statements:
    return Statements(engine, monkeypatch)


async def test_a_single_submission_is_in_the_next_batch(
    engine: Engine, statements: Statements
) -> None:
    """While 5,000 of another tenant wait."""
    crowd = [asyncio.create_task(engine.submit(of("a"))) for _ in range(5_000)]
    await statements.begun.wait()
    late = asyncio.create_task(engine.submit(of("b")))
    await asyncio.sleep(0)
    statements.go.set()
    await late
    assert [("b" in batch) for batch in statements.sent[:2]] == [False, True]
    await asyncio.gather(*crowd)
    assert sum(len(batch) for batch in statements.sent) == 5_001


async def test_chunks_of_large_batches_leave_a_connection_and_take_turns(
    engine: Engine, statements: Statements
) -> None:
    crowd = [
        asyncio.create_task(engine.submit_many([of("a") for _ in range(10)])) for _ in range(20)
    ]
    await statements.begun.wait()
    await asyncio.sleep(0)
    late = asyncio.create_task(engine.submit_many([of("b")]))
    single = asyncio.create_task(engine.submit(of("c")))
    for _ in range(5):
        await asyncio.sleep(0)
    assert statements.sent == [["a"] * 10] * 3 + [["c"]], "the single one has begun"
    statements.go.set()
    await asyncio.gather(late, single)
    assert ["b"] in statements.sent[:6]
    await asyncio.gather(*crowd)


async def test_waits_for_held_keys_are_counted_for_each_tenant(engine: Engine, pool: Pool) -> None:
    held_ones = [of(tenant, idempotency_key="held") for tenant in ("a", "b")]
    async with holding(pool) as held:
        await TaskLedger(held).submit(held_ones, retention_seconds=RETENTION)
        crowd = [
            asyncio.create_task(engine.submit(of("a", idempotency_key="held"))) for _ in range(100)
        ]
        await asyncio.wait(crowd, return_when=asyncio.FIRST_COMPLETED)
        waiting = asyncio.create_task(engine.submit(of("b", idempotency_key="held")))
        await asyncio.sleep(0)
        assert not waiting.done()
    assert (await waiting).replayed
    await asyncio.gather(*crowd, return_exceptions=True)
