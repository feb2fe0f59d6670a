"""Tasks that failed in several ways, with hostile text in all that they have."""

from __future__ import annotations

import pytest

from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import Disposition, Ending, Outcome, Settlement, State, TaskError
from support.api import Api
from support.ledger import claim_task, lost, open_worker, promote_due

HOSTILE = '"><img src=x onerror=alert(1)>{{7*7}}'
ESCAPED = "&lt;img src=x onerror=alert(1)&gt;{{7*7}}"
TRACEBACK = """Traceback (most recent call last):
  File "/usr/lib/python3/site-packages/library/run.py", line 10, in run
    call()
  File "/app/shop/billing.py", line {line}, in charge
    raise {kind}
{kind}: no answer from <Client at 0x7f{address}>
"""


async def fail(
    ledger: TaskLedger, task_id: str, worker: str, *, kind: str, line: int, then: State
) -> None:
    claim = await claim_task(ledger, task_id, worker)
    text = TRACEBACK.format(kind=kind, line=line, address=f"{line:06x}")
    error = TaskError("error", f"no answer {HOSTILE}", kind, text)
    await ledger.settle(
        [
            Settlement(
                claim,
                Ending(Outcome.ERRORED, error=error),
                Disposition(then, delay=0.0, retries=1, error=error),
            )
        ]
    )


@pytest.fixture
async def worker(worker_ledger: WorkerLedger) -> str:
    """A worker in the ledger."""
    return await open_worker(worker_ledger, "default")


@pytest.fixture
async def failed(api: Api, ledger: TaskLedger, worker: str) -> str:
    """A task that was lost once and failed three times, with hostile text in all that it has."""
    body = {"type": "charge", "payload": {"text": HOSTILE, "big": 12345678901234567890123}}
    task_id = await api.submitted(body, Idempotency_Key=f"order {HOSTILE.replace(chr(34), '')}")
    await ledger.settle([lost(await claim_task(ledger, task_id, worker))])
    for number, kind in enumerate(("ConnectTimeout", "ConnectTimeout", "ValueError"), 1):
        then = State.FAILED if number == 3 else State.SCHEDULED
        await fail(ledger, task_id, worker, kind=kind, line=10 * number, then=then)
        await promote_due(ledger, limit=10)
    return task_id


__all__ = ["ESCAPED", "HOSTILE", "TRACEBACK", "fail", "failed", "worker"]
