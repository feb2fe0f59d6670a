"""Tasks whose attempts fail, and the counting of them."""

from __future__ import annotations

from typing import Any

from leaseq.ledger.failures import FailureLedger
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import Disposition, Ending, Outcome, Settlement, State, TaskError
from support.ledger import claim_task, submit

GONE = TaskError("error", "it is gone", "Gone", "", fingerprint="0123456789ab", frame="shop:pay")


class Shop:
    """Tasks whose attempts fail."""

    def __init__(self, ledger: TaskLedger, workers: WorkerLedger) -> None:
        self.ledger = ledger
        self.workers = workers
        self.count = 0

    async def worker(
        self, *, queue: str = "default", host: str = "here", app_version: str | None = None
    ) -> str:
        self.count += 1
        worker_id = f"shop-{self.count}"
        await self.workers.open_worker(
            worker_id, host=host, pid=1, queues=[queue], version="0", app_version=app_version
        )
        return worker_id

    async def claim(self, **said: Any) -> Any:
        worker = said.pop("worker", None) or await self.worker(queue=said.get("queue", "default"))
        return await claim_task(self.ledger, await submit(self.ledger, **said), worker)

    async def fail(
        self,
        error: TaskError = GONE,
        *,
        outcome: Outcome = Outcome.ERRORED,
        then: State = State.SCHEDULED,
        times: int = 1,
        **said: Any,
    ) -> str:
        """Let attempts of new tasks end so; the id of the last task."""
        for _ in range(times):
            claim = await self.claim(**said)
            ending = Ending(outcome, error=error)
            settled = Settlement(claim, ending, Disposition(then, delay=60.0, error=error))
            assert await self.ledger.settle([settled])
        return str(claim.task_id)


async def count(failures: FailureLedger, *, limit: int = 5000) -> int:
    """Count the attempts that were handed over, in steps of `limit`."""
    total = 0
    while counted := (await failures.count(since=None, limit=limit)).count:
        total += counted
    return total


__all__ = ["GONE", "Shop", "count"]
