"""Who takes part, and with which settings? In words too, for they are part of the result.

No contender was tuned by trying out. What its documentation recommends is set; the number of slots is what its kind can use.
"""

from __future__ import annotations

from msgspec import Struct

from bench.peers.environments import Environment


class Contender(Struct, frozen=True, kw_only=True):
    """One task queue in one way of running it.

    `tasks`: how many are drained, from its speed, for some seconds of work. `slots`: tasks that one worker process runs at a
    time, and in the crash comparison. `worker`, `companion`: command lines in its environment, else its module is told to work.
    `settings`, `reliable`: the usual ones and the most reliable documented ones in words; none are documented if that is empty.
    """

    name: str
    environment: str
    stores: tuple[str, ...]
    tasks: int
    slots: int
    settings: str
    reliable: str
    bulk: str = ""
    crash_slots: int = 2
    worker: tuple[str, ...] = ()
    companion: tuple[str, ...] = ()
    env: dict[str, str] = {}
    reliable_env: dict[str, str] = {}

    @property
    def module(self) -> str:
        """What of ours runs in its environment."""
        return f"bench.peers.work.on_{self.environment}"

    @property
    def pins(self) -> list[str]:
        return Environment(self.environment).pins


CONTENDERS = [
    Contender(
        name="leaseq",
        environment="leaseq",
        stores=("postgres", "valkey"),
        tasks=60_000,
        slots=100,
        worker=("leaseq", "worker", "bench.peers.work.on_leaseq:app", "--concurrency", "{slots}"),
        companion=("leaseq", "reaper"),
        env={"LEASEQ_POSTGRES_URL": "{postgres}", "LEASEQ_REDIS_URL": "{valkey}"},
        reliable_env={"LEASEQ_LEASE_SECONDS": "2", "LEASEQ_HEARTBEAT_SECONDS": "0.5"},
        settings="defaults (100 slots, results kept, one log line a task), and one reaper, whose CPU is counted as a worker's",
        reliable="lease of 2 s, heartbeat of 0.5 s; nothing else differs",
        bulk="engine.submit_many",
    ),
    Contender(
        name="pgqueuer",
        environment="pgqueuer",
        stores=("postgres",),
        tasks=40_000,
        slots=200,
        settings="asyncpg, uvloop, batch_size=100, max_concurrent_tasks=200 (defaults: 10 and no limit)",
        reliable="heartbeat_timeout=8 s, dequeue_timeout=2 s",
        bulk="Queries.enqueue with lists",
    ),
    Contender(
        name="celery",
        environment="celery",
        stores=("valkey",),
        tasks=4_000,
        slots=2,
        worker=("celery", "--app", "bench.peers.work.on_celery", "worker", "--concurrency", "{slots}"),
        settings="prefork, 2 processes, no results",
        reliable="task_acks_late, task_reject_on_worker_lost, worker_prefetch_multiplier=1, visibility_timeout=10, "
        "unacked_restore_interval=2, unacked_restore_throttle=1",
    ),
]
NAMES = [contender.name for contender in CONTENDERS]
