"""A key that an open transaction holds delays no other submission of the process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from leaseq.config import Config
from leaseq.connections.postgres_connection import Connection
from leaseq.connections.postgres_pool import Pool
from leaseq.errors import IdempotencyInFlight
from leaseq.ledger.session import Locked
from leaseq.ledger.tasks import PATIENCE_SECONDS, TaskLedger
from leaseq.model import Submission, Submitted
from leaseq.operations.engine import Engine
from leaseq.operations.open_engine import open_engine
from leaseq.operations.submit import HASTE_SECONDS
from support.ledger import RETENTION, holding, submission, until_blocked


@pytest.fixture
async def engine(config: Config) -> AsyncIterator[Engine]:
    async with open_engine(config, name="leaseq test", pool_size=6) as opened:
        # or the name, still uncommitted, would be held too
        await opened.stores.queues.register_queues(["default"])
        yield opened


@pytest.fixture
def sent(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[tuple[set[str | None], float]]:
    """Every statement: the keys in it, and for how long it may wait for one of them."""
    record: list[tuple[set[str | None], float]] = []
    submit = engine.stores.tasks.submit

    async def note(batch: Sequence[Submission], **rest: Any) -> dict[str, Submitted | None]:
        record.append(({one.idempotency_key for one in batch}, rest["patience_seconds"]))
        return await submit(batch, **rest)

    monkeypatch.setattr(engine.stores.tasks, "submit", note)
    return record


async def test_only_those_who_want_the_held_key_wait_for_it(
    engine: Engine, pool: Pool, sent: list[tuple[set[str | None], float]]
) -> None:
    async with holding(pool) as held:
        await TaskLedger(held).submit(
            [submission(idempotency_key="held")], retention_seconds=RETENTION
        )
        wanted = [submission(idempotency_key="held" if n % 10 == 5 else f"k{n}") for n in range(60)]
        wanted += [submission() for _ in range(20)]
        answers = await asyncio.gather(
            *(engine.submit(one) for one in wanted), return_exceptions=True
        )
        refused = [
            one
            for one, answer in zip(wanted, answers, strict=True)
            if isinstance(answer, IdempotencyInFlight)
        ]
        assert {one.idempotency_key for one in refused} == {"held"}
        assert len(refused) == 6
        # A statement that may wait for long holds nothing else (and one without keys waits for
        # none).
        assert all(
            keys in ({"held"}, {None}) for keys, patience in sent if patience == PATIENCE_SECONDS
        )

        sent.clear()
        late = asyncio.create_task(engine.submit(submission(idempotency_key="held")))
        for n in range(20):
            await engine.submit(submission(idempotency_key=f"later{n}"))
        assert not any("held" in keys and len(keys) > 1 for keys, _ in sent)
        assert all("held" not in keys for keys, patience in sent if patience != PATIENCE_SECONDS)
        with pytest.raises(IdempotencyInFlight):
            await late
    assert (await engine.submit(submission(idempotency_key="held"))).replayed


async def test_a_key_that_is_let_go_is_submitted_with_the_others_again(
    engine: Engine, pool: Pool, sent: list[tuple[set[str | None], float]]
) -> None:
    first = submission(idempotency_key="held")
    async with holding(pool) as held:
        await TaskLedger(held).submit([first], retention_seconds=RETENTION)
        with pytest.raises(IdempotencyInFlight):
            await engine.submit(submission(idempotency_key="held"))
    answer = await engine.submit(submission(idempotency_key="held"))
    assert (answer.replayed, answer.task_id) == (True, first.task_id)
    sent.clear()
    await asyncio.gather(
        *(engine.submit(submission(idempotency_key=key)) for key in ("held", "other"))
    )
    assert sent[0][1] < PATIENCE_SECONDS


async def test_an_open_pause_of_a_queue_holds_up_no_submission_to_it(
    engine: Engine, pool: Pool
) -> None:
    async with holding(pool) as held:
        await held.conn.execute("update leaseq.queues set paused = true where name = 'default'")
        answers = await asyncio.gather(
            *(engine.submit(submission(idempotency_key=key)) for key in (None, "one", "two", None))
        )
        assert not any(answer.replayed for answer in answers)
    assert (await engine.submit(submission(idempotency_key="one"))).replayed


async def test_locked_table_is_not_reported_as_a_key_in_flight(engine: Engine, pool: Pool) -> None:
    async with holding(pool) as held:
        await held.conn.execute("lock table leaseq.tasks in share mode")
        with pytest.raises(Locked, match="another transaction"):
            await engine.stores.tasks.submit(
                [submission(), submission()], retention_seconds=RETENTION, patience_seconds=0.1
            )
        for key in (None, "a key"):
            with pytest.raises(Locked, match="another transaction"):
                await engine.submit(submission(idempotency_key=key))
        await held.conn.execute("savepoint keys")
        await held.conn.execute("lock table leaseq.idempotency_keys in share mode")
        with pytest.raises(Locked, match="another transaction"):
            await engine.submit(submission(idempotency_key="a key"))
    await engine.submit(submission(idempotency_key="a key"))


async def test_a_table_that_is_locked_for_a_moment_refuses_no_submission(
    engine: Engine, pool: Pool, plain: Connection
) -> None:
    """Longer than a batch of many callers waits for one key."""
    async with holding(pool) as held:
        await held.conn.execute("lock table leaseq.tasks in share mode")
        waiting = [
            asyncio.create_task(engine.submit(submission(idempotency_key=f"k{n}")))
            for n in range(20)
        ]
        await until_blocked(plain, waiting[0])
        await asyncio.sleep(2 * HASTE_SECONDS)
    assert len({answer.task_id for answer in await asyncio.gather(*waiting)}) == 20
