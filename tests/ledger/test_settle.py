"""Successes and other endings of one batch, which are two statements."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.connections.postgres import open_pool
from leaseq.ledger.session import Session
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import Claim, State
from leaseq.worker.attempt.settle import Settler
from support.ledger import (
    claim_task,
    errored,
    find,
    list_attempts,
    open_worker,
    released,
    submit,
    succeeded,
)
from support.proxy import READY_FOR_QUERY, ProxyTo


async def test_endings_of_two_workers_each_count_once(
    ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    first, second = await open_worker(worker_ledger), await open_worker(worker_ledger)
    claims = [
        await claim_task(ledger, await submit(ledger), worker)
        for worker in (first, first, second, second)
    ]
    forged = Claim(await submit(ledger), 1, first)
    batch = [succeeded(claims[0]), errored(claims[1]), succeeded(claims[2]), released(claims[3])]

    settled = await ledger.settle([*batch, *batch, succeeded(forged)])

    assert {task_id: (s.attempt, s.state) for task_id, s in settled.items()} == {
        claims[0].task_id: (1, State.SUCCESS),
        claims[1].task_id: (1, State.SCHEDULED),
        claims[2].task_id: (1, State.SUCCESS),
        claims[3].task_id: (1, State.PENDING),
    }
    assert await ledger.find_states([*settled]) == {i: s.state for i, s in settled.items()}


@pytest.mark.parametrize("lost", [0, 1])
async def test_answer_of_either_statement_is_lost_and_both_endings_count_once(
    config: Config, proxy_to: ProxyTo, ledger: TaskLedger, worker_ledger: WorkerLedger, lost: int
) -> None:
    worker = await open_worker(worker_ledger)
    claims = [await claim_task(ledger, await submit(ledger), worker) for _ in range(2)]
    assert config.postgres_url is not None
    proxy = await proxy_to(config.postgres_url)
    pool = await open_pool(replace(config, postgres_url=proxy.url), name="leaseq test", max_size=2)
    async with pool:
        settler = Settler(TaskLedger(Session(pool, deadline_seconds=2)), capacity=2)
        proxy.lose_reply(claims[lost].task_id.encode(), until=READY_FOR_QUERY)
        settled = await asyncio.gather(
            settler.settle(succeeded(claims[0])), settler.settle(errored(claims[1]))
        )

    assert [one and one.state for one in settled] == [State.SUCCESS, State.SCHEDULED]
    assert (await find(ledger, claims[1].task_id)).retry_count == 1
    assert len(await list_attempts(ledger, claims[1].task_id)) == 1
