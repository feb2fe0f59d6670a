"""Find the workers in dispatch that the ledger has closed.

A worker is recorded in the ledger before it first appears in dispatch, and `closed_at` is never
cleared. So a worker that was read in dispatch *first* and is closed or missing in the ledger
*afterwards* can claim nothing, now or later.
"""

from __future__ import annotations

from collections.abc import Iterable

from leaseq.ledger.workers import WorkerLedger

LONGEST = 128


async def find_closed(ledger: WorkerLedger, worker_ids: Iterable[str]) -> set[str]:
    """The workers that are closed or unknown. Names that cannot be worker ids are omitted (values
    in Redis are hostile)."""
    named = {worker_id for worker_id in worker_ids if is_worker_id(worker_id)}
    return named - await ledger.find_open(sorted(named)) if named else set()


def is_worker_id(worker_id: str) -> bool:
    """Whether Postgres and a Redis key can hold this name unchanged."""
    return (
        0 < len(worker_id) <= LONGEST
        and worker_id.isascii()
        and worker_id.isprintable()
        and " " not in worker_id
    )


__all__ = ["find_closed", "is_worker_id"]
