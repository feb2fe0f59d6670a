"""The settings of the benchmark for this process. Standard library only."""

import os

VALKEY_URL = os.environ.get("BENCH_VALKEY_URL", "redis://127.0.0.1:1/0")
POSTGRES_URL = os.environ.get("BENCH_POSTGRES_URL", "postgresql://127.0.0.1:1/postgres")
# One module may play several contenders.
CONTENDER = os.environ.get("BENCH_CONTENDER", "")
# Which of the workers is this? One that takes over from a killed one has its number.
PLACE = int(os.environ.get("BENCH_PLACE", "0"))
# How many tasks a worker process runs at a time.
SLOTS = int(os.environ.get("BENCH_SLOTS", "1"))
# The most reliable settings that its documentation names, instead of the defaults.
RELIABLE = os.environ.get("BENCH_RELIABLE") == "1"
NAP_SECONDS = 0.3
# Whether tasks stand under a limit: so many at the same time in all workers, and of each key.
LIMITED = os.environ.get("BENCH_LIMITED") == "1"
LIMIT, KEYS, KEY_LIMIT = 50, 1_000, 1
BRIEF_SECONDS, HOLD_SECONDS = 0.01, 1.0
