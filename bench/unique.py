"""The processor time of Postgres for submissions with unique keys.

`python -m bench.unique` submits on servers of its own and prints, for each shape of a batch, the time
that the backend of the one connection was on a processor, for each submission. It is read from
/proc, so it needs Linux. A busy machine changes these figures little.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from leaseq.codec import new_task_id
from leaseq.config import Config
from leaseq.connections.postgres import open_pool
from leaseq.connections.postgres_pool import Pool
from leaseq.embedded import embedded_servers
from leaseq.ledger.roles import prepare_embedded
from leaseq.ledger.session import Session
from leaseq.ledger.tasks import TaskLedger
from leaseq.model import DEFAULT_TENANT, Submission, Submitted
from leaseq.operations.submit import Submitter
from leaseq.uniqueness import UniqueKey, UniqueRule

DAY_SECONDS = 86_400.0
KEYS = 1_000
WARM_UP, ROUNDS = 20, 200
RULE = UniqueRule()
DEBOUNCE = UniqueRule("debounce", delay_seconds=600.0, max_wait_seconds=6_000.0)


def submission(unique: UniqueKey | None) -> Submission:
    """A task like those of the other benchmarks."""
    return Submission(
        task_id=new_task_id(),
        tenant=DEFAULT_TENANT,
        type="noop",
        payload=b'{"order_id":1}',
        queue="default",
        max_attempts=5,
        timeout_seconds=30.0,
        delay_seconds=None if unique is None else unique.rule.delay_seconds,
        unique=unique,
    )


# The unique key of submission `n`.
SHAPES: dict[str, Callable[[int], UniqueKey | None]] = {
    "plain": lambda n: None,
    "a new key each": lambda n: UniqueKey(f"new-{n}", RULE),
    "one hot key, unfinished": lambda n: UniqueKey("hot", RULE),
    "1,000 keys, unfinished": lambda n: UniqueKey(f"key-{n % KEYS}", RULE),
    "one hot key, debounced": lambda n: UniqueKey("hot", DEBOUNCE),
    "1,000 keys, debounced": lambda n: UniqueKey(f"key-{n % KEYS}", DEBOUNCE),
}


async def measure(
    pool: Pool, pid: int, key_of: Callable[[int], UniqueKey | None], size: int
) -> float:
    """Microseconds of the backend for each submission."""
    submitter = Submitter(
        TaskLedger(Session(pool, deadline_seconds=30)), retention_seconds=DAY_SECONDS
    )
    number, began = size * 1_000_000, 0  # keys of another batch size are other keys
    for round_number in range(WARM_UP + ROUNDS):
        if round_number == WARM_UP:
            began = _on_processor(pid)
        batch = [submission(key_of(number + n)) for n in range(size)]
        number += size
        for answer in await submitter.write(batch):
            assert isinstance(answer, Submitted), answer
    return (_on_processor(pid) - began) / 1_000 / (ROUNDS * size)


def _on_processor(pid: int) -> int:
    """Nanoseconds that a process was on a processor."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


@asynccontextmanager
async def one_connection() -> AsyncIterator[tuple[Pool, int]]:
    """A pool of one connection to an empty ledger, and the process that serves it."""
    with tempfile.TemporaryDirectory() as directory:
        config = Config(data_dir=Path(directory))
        with embedded_servers(config) as ready:
            prepared = await prepare_embedded(ready)
            pool = await open_pool(prepared, name="leaseq bench", max_size=1)
            try:
                async with pool.connection() as conn:
                    pid = conn.info.backend_pid
                yield pool, pid
            finally:
                await pool.close()


async def main() -> None:
    """Print the table."""
    print(f"{'':28}{'batch 100':>12}{'batch 1':>12}   microseconds of Postgres for each submission")
    async with one_connection() as (pool, pid):
        for name, key_of in SHAPES.items():
            figures = [await measure(pool, pid, key_of, size) for size in (100, 1)]
            print(f"{name:28}" + "".join(f"{figure:>12.1f}" for figure in figures))


if __name__ == "__main__":
    asyncio.run(main())
