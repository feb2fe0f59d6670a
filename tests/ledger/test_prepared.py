"""Statements of the hot path, which do not go through psycopg's cursor."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from psycopg.rows import tuple_row

from leaseq.connections.postgres_connection import Connection, FastCancelConnection
from leaseq.connections.postgres_pool import Pool
from leaseq.ledger.prepared import PREPARED, run_prepared
from leaseq.ledger.rows import submission_arrays
from leaseq.ledger.statements import STATEMENTS
from leaseq.ledger.tasks import TaskLedger
from leaseq.model import State
from support.ledger import holding, submission, submit, until_blocked

SUBMIT = PREPARED["submit_tasks"]
OPTIONS = {"retention": 60.0, "after_commit": False, "patience": "250"}


async def _submit(
    conn: FastCancelConnection, task_id: str | None = None
) -> list[tuple[object, ...]]:
    wanted = submission() if task_id is None else submission(task_id=task_id)
    return await run_prepared(conn, SUBMIT, submission_arrays([wanted]) | OPTIONS)


async def _names(conn: Connection) -> list[str]:
    cursor = await conn.execute("select name from pg_prepared_statements where name like 'leaseq%'")
    return [row[0] for row in await cursor.fetchall()]


async def test_statement_is_prepared_once_for_a_connection(pool: Pool) -> None:
    async with pool.connection() as conn:
        for _ in range(3):
            assert len(await _submit(conn)) == 1
        assert await _names(conn) == ["leaseq_submit_tasks"]


async def test_rows_are_those_of_a_cursor(pool: Pool) -> None:
    params = {"ids": "{}", "worker_id": "nobody"}
    async with pool.connection() as conn:
        async with conn.transaction(force_rollback=True):
            wanted = submission_arrays([submission()]) | OPTIONS
            cursor = conn.cursor(row_factory=tuple_row)
            await cursor.execute(STATEMENTS["submit_tasks"].encode(), wanted, binary=True)
            usual = await cursor.fetchall()
        (found,) = await run_prepared(conn, SUBMIT, wanted)
        assert await run_prepared(conn, PREPARED["claim_tasks"], params) == []

    assert [found[:2]] == [row[:2] for row in usual]
    assert [type(value) for value in found] == [type(value) for value in usual[0]]


async def test_refused_value_is_an_error_of_psycopg_and_harms_nothing(pool: Pool) -> None:
    async with pool.connection() as conn:
        with pytest.raises(psycopg.errors.InvalidTextRepresentation) as raised:
            await _submit(conn, "no-id")
        assert raised.value.diag.message_primary
        assert len(await _submit(conn)) == 1


async def test_cancelled_call_ends_its_statement(
    pool: Pool, ledger: TaskLedger, plain: Connection
) -> None:
    task_id = await submit(ledger)
    async with holding(pool) as held, pool.connection() as conn:
        await TaskLedger(held).cancel([task_id], tenant="default")
        waiting = asyncio.create_task(_submit(conn, task_id))  # the insert finds its id locked
        await until_blocked(plain, waiting)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        assert len(await _submit(conn)) == 1

    assert await ledger.find_states([task_id]) == {task_id: State.CANCELLED}


async def test_new_connection_prepares_again(pool: Pool, plain: Connection) -> None:
    async with pool.connection() as conn:
        await _submit(conn)
        await plain.execute("select pg_terminate_backend(%s)", [conn.info.backend_pid])
        with pytest.raises(psycopg.OperationalError):
            await _submit(conn)
    async with pool.connection() as conn:
        assert len(await _submit(conn)) == 1
        assert await _names(conn) == ["leaseq_submit_tasks"]
