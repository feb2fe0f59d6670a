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
    reliable_worker: tuple[str, ...] = ()
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


RQ_RELIABLE = "Retry(max=5) on each task, --maintenance-interval 5 --job-monitoring-interval 5 --worker-ttl 20"
RQ_TUNED = ("rq", "worker", "--maintenance-interval", "5", "--job-monitoring-interval", "5", "--worker-ttl", "20")
TASKIQ_WORKER = ("taskiq", "worker", "bench.peers.work.on_taskiq:app", "--workers", "1", "--max-async-tasks", "{slots}")

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
    Contender(
        name="celery-threads",
        environment="celery",
        stores=("valkey",),
        tasks=4_000,
        slots=8,
        worker=("celery", "--app", "bench.peers.work.on_celery", "worker", "--pool", "threads", "--concurrency", "{slots}"),
        settings="8 threads, no results",
        reliable="as celery",
    ),
    Contender(
        name="rq",
        environment="rq",
        stores=("valkey",),
        tasks=400,
        slots=1,
        crash_slots=1,
        worker=("rq", "worker"),
        env={"RQ_REDIS_URL": "{valkey}"},
        settings="Worker: one task at a time, a fork each, results kept",
        reliable=RQ_RELIABLE,
        reliable_worker=RQ_TUNED,
        bulk="Queue.enqueue_many",
    ),
    Contender(
        name="rq-simple",
        environment="rq",
        stores=("valkey",),
        tasks=1_500,
        slots=1,
        crash_slots=1,
        worker=("rq", "worker", "--worker-class", "rq.SimpleWorker"),
        env={"RQ_REDIS_URL": "{valkey}"},
        settings="SimpleWorker: one task at a time, no fork, results kept",
        reliable=RQ_RELIABLE,
        reliable_worker=(*RQ_TUNED, "--worker-class", "rq.SimpleWorker"),
        bulk="Queue.enqueue_many",
    ),
    Contender(
        name="dramatiq",
        environment="dramatiq",
        stores=("valkey",),
        tasks=8_000,
        slots=8,
        worker=("dramatiq", "bench.peers.work.on_dramatiq", "--processes", "1", "--threads", "{slots}"),
        settings="1 process with 8 threads, no results",
        reliable="heartbeat_timeout=10000 ms, maintenance_chance=100000 (10 % of the commands); the default 20 retries",
    ),
    Contender(
        name="huey",
        environment="huey",
        stores=("valkey",),
        tasks=8_000,
        slots=8,
        worker=("huey_consumer", "bench.peers.work.on_huey.app", "--worker-type", "thread", "--workers", "{slots}"),
        settings="8 threads, results that are not None kept",
        reliable="",
    ),
    Contender(
        name="arq",
        environment="arq",
        stores=("valkey",),
        tasks=5_000,
        slots=100,
        settings="max_jobs=100, uvloop, results kept",
        reliable="job_timeout=5 (what a dead worker held stays locked for 10 s longer than that; by default for 310 s)",
    ),
    Contender(
        name="taskiq-list",
        environment="taskiq",
        stores=("valkey",),
        tasks=8_000,
        slots=100,
        worker=TASKIQ_WORKER,
        settings="ListQueueBroker, 1 process, 100 tasks at a time, uvloop, no results",
        reliable="",
    ),
    Contender(
        name="taskiq-stream",
        environment="taskiq",
        stores=("valkey",),
        tasks=8_000,
        slots=100,
        worker=TASKIQ_WORKER,
        settings="RedisStreamBroker, 1 process, 100 tasks at a time, uvloop, no results",
        reliable="idle_timeout=10000 ms, unacknowledged_lock_timeout=5 s, xread_count=4",
    ),
    Contender(
        name="saq",
        environment="saq",
        stores=("valkey",),
        tasks=5_000,
        slots=100,
        settings="concurrency=100, uvloop, results kept",
        reliable="retries=10, timeout=10 s, sweep every 2 s",
    ),
    Contender(
        name="streaq",
        environment="streaq",
        stores=("valkey",),
        tasks=5_000,
        slots=100,
        settings="concurrency=100, uvloop, results kept",
        reliable="idle_timeout=10 s",
        bulk="Worker.enqueue_many",
    ),
    Contender(
        name="bullmq",
        environment="bullmq",
        stores=("valkey",),
        tasks=6_000,
        slots=100,
        settings="concurrency=100, uvloop, results kept",
        reliable="lockDuration=10000 ms, stalledInterval=5000 ms, maxStalledCount=10",
        bulk="Queue.addBulk",
    ),
]
NAMES = [contender.name for contender in CONTENDERS]
