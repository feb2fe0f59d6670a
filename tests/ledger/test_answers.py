"""Errors of Postgres are not treated as silence, and conflicts are retried."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from leaseq.config import Config
from leaseq.connections.postgres import open_pool
from leaseq.errors import ServerUnreachable
from leaseq.ledger.session import Session
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import Claim
from support.ledger import claim_task, open_worker, submit
from support.processes import PATIENCE

# Operational errors, for psycopg: each is the answer of a server that is there.
ANSWERS = {
    "serialization failure": "40001",
    "deadlock": "40P01",
    "disk full": "53100",
    "out of memory": "53200",
    "object in use": "55006",
    "statement cancelled": "57014",
    "system error": "58030",
}
REFUSE = """create function public.refuse() returns trigger language plpgsql as
    $$begin raise exception 'refused by a trigger' using errcode = '{code}'; end$$"""
REFUSE_TWICE = """create function public.refuse() returns trigger language plpgsql as
    $$begin
        if nextval('public.refusals') <= 2 then raise exception 'refused by a trigger' using errcode = '{code}'; end if;
        return new;
    end$$"""
ON_UPDATE = "create trigger refuse before update on leaseq.tasks for each row execute function public.refuse()"
WAITING = "select count(*) > 0 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


@pytest.fixture
async def claim(ledger: TaskLedger, worker_ledger: WorkerLedger) -> Claim:
    """A running attempt."""
    return await claim_task(ledger, await submit(ledger), await open_worker(worker_ledger))


@pytest.mark.parametrize("isolation", ["serializable", "repeatable read"])
async def test_progress_beside_a_change_of_the_task_is_written_under_every_isolation(
    config: Config,
    claim: Claim,
    plain: psycopg.AsyncConnection[Any],
    eventually: Callable[..., Any],
    isolation: str,
) -> None:
    """The session of the pool has the isolation of its role again, as behind a pooler that resets
    it."""

    async def waits() -> bool:
        return (await (await plain.execute(WAITING)).fetchall()) == [(True,)]

    pool = await open_pool(config, name="leaseq test", max_size=1)
    async with pool.connection() as conn:
        await conn.execute(f"set default_transaction_isolation = '{isolation}'".encode())
    async with await psycopg.AsyncConnection.connect(str(config.postgres_url)) as other:
        await other.execute("update leaseq.tasks set cancel_requested_at = now()")
        writing = asyncio.create_task(
            TaskLedger(Session(pool, deadline_seconds=PATIENCE)).set_progress(claim, b"1")
        )
        await eventually(waits)
        await other.commit()
        assert await writing
    await pool.close()


@pytest.mark.parametrize("code", ["40001", "40P01"])
async def test_a_conflict_is_tried_again(
    ledger: TaskLedger, claim: Claim, plain: psycopg.AsyncConnection[Any], code: str
) -> None:
    """Twice, since the first repetition may meet the same other transaction."""
    await plain.execute("create sequence public.refusals")
    await plain.execute("grant usage on sequence public.refusals to public")
    await plain.execute(REFUSE_TWICE.format(code=code).encode())
    await plain.execute(ON_UPDATE)
    assert await ledger.set_progress(claim, b"1")


@pytest.mark.parametrize("code", ANSWERS.values(), ids=ANSWERS.keys())
async def test_refusal_by_a_trigger_counts_as_an_answer(
    ledger: TaskLedger, claim: Claim, plain: psycopg.AsyncConnection[Any], code: str
) -> None:
    await plain.execute(REFUSE.format(code=code).encode())
    await plain.execute(ON_UPDATE)
    with pytest.raises(
        ServerUnreachable, match=r"^Postgres cannot do this now: refused by a trigger"
    ):
        await ledger.set_progress(claim, b"1")
    assert ledger.session.unanswered == 0
