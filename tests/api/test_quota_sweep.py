"""Sweeps find all tasks that have ended, with bounded work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from leaseq.ledger.quotas import ListedQueue, QuotaLedger, Swept
from leaseq.ledger.session import Session
from leaseq.ledger.tasks import TaskLedger
from leaseq.model import DEFAULT_TENANT
from leaseq.operations.quotas import Quotas
from leaseq_api.quotas import sweep as module
from leaseq_api.quotas.sweep import MOST_ROUNDS, Sweep
from support.ledger import RETENTION, submission

ROWS = 5


class CountedQuotas(Quotas):
    """Quotas that count the statements of a sweep."""

    statements = 0

    async def sweep_unfinished(
        self, queues: Sequence[ListedQueue], *, chunk: int
    ) -> dict[tuple[str, str], Swept]:
        self.statements += 1
        return await super().sweep_unfinished(queues, chunk=chunk)


@pytest.fixture
def quotas(session: Session, ledger: TaskLedger, monkeypatch: pytest.MonkeyPatch) -> CountedQuotas:
    """Quotas of one tenant, with small and immediate sweeps."""
    monkeypatch.setattr(module, "ROUND_ROWS", ROWS)
    monkeypatch.setattr(module, "LEAST_ROWS", ROWS)
    monkeypatch.setattr(module, "SWEEP_SECONDS", 0.0)
    ledger.counted = frozenset({DEFAULT_TENANT})
    return CountedQuotas(QuotaLedger(session), ledger)


async def submitted(ledger: TaskLedger, count: int, queue: str = "default") -> list[str]:
    batch = [submission(queue=queue) for _ in range(count)]
    await ledger.submit(batch, retention_seconds=RETENTION)
    return sorted(each.task_id for each in batch)


async def run(quotas: CountedQuotas, sweep: Sweep) -> int:
    """Look and sweep once; the tasks that are listed after it."""
    listed: dict[str, Counter[str]] = {}
    for (tenant, queue), tasks in (await quotas.count_unfinished()).items():
        listed.setdefault(tenant, Counter())[queue] = tasks
    sweep.see_listed(listed)
    quotas.statements = 0
    await sweep.run({DEFAULT_TENANT})
    return sum((await quotas.count_unfinished()).values())


async def test_tasks_that_ended_in_order_go_in_one_sweep(
    ledger: TaskLedger, quotas: CountedQuotas
) -> None:
    ids = await submitted(ledger, 4 * ROWS)
    await submitted(ledger, 3, queue="mail")
    await ledger.cancel(ids[: 3 * ROWS], tenant=None)
    assert await run(quotas, Sweep(quotas)) == ROWS + 3
    assert quotas.statements <= 5


async def test_tasks_that_ended_behind_others_go_in_later_sweeps(
    ledger: TaskLedger, quotas: CountedQuotas
) -> None:
    """Also where two processes sweep in turn."""
    waiting = await submitted(ledger, 6 * ROWS)
    ended = await submitted(ledger, 3 * ROWS)
    await ledger.cancel(ended, tenant=None)
    sweeps, left = [Sweep(quotas), Sweep(quotas)], []
    for number in range(2 * 9):
        left.append(await run(quotas, sweeps[number % 2]))
        idle = sweeps[1 - number % 2]
        await _without_a_turn(quotas, idle)
    assert left[-1] == len(waiting)
    assert left == sorted(left, reverse=True)


async def _without_a_turn(quotas: CountedQuotas, idle: Sweep) -> None:
    """A process that looks, and finds that another one sweeps."""
    idle.see_listed({DEFAULT_TENANT: Counter({"default": 1})})
    begin = quotas.begin_sweeps

    async def not_due(tenants: Sequence[str], *, seconds: float) -> list[str]:
        return []

    quotas.begin_sweeps = not_due  # type: ignore[method-assign]
    await idle.run({DEFAULT_TENANT})
    quotas.begin_sweeps = begin  # type: ignore[method-assign]


async def test_one_sweep_is_bounded(ledger: TaskLedger, quotas: CountedQuotas) -> None:
    count = (MOST_ROUNDS + 10) * ROWS
    await ledger.cancel(await submitted(ledger, count), tenant=None)
    sweep = Sweep(quotas)
    assert await run(quotas, sweep) == 10 * ROWS
    assert quotas.statements == MOST_ROUNDS
    assert await run(quotas, sweep) == 0
