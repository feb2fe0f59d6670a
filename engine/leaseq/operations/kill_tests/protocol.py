"""Requests for kill tests, from the API to `leaseq dev`.

One line of JSON each way over a unix socket. The API asks, and the process of `leaseq dev`, which
has started the worker and holds the servers, carries a test out and keeps its record.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from leaseq.model import Moment

Kind = Literal["kill-worker", "freeze-worker", "flush-redis", "stop-redis", "restart-postgres"]
# Of these a worker is the victim, the one that runs a task that the person has named.
OF_A_WORKER: frozenset[Kind] = frozenset({"kill-worker", "freeze-worker"})
# A worker is frozen until its lease is over, and so long more.
BEYOND_LEASE_SECONDS = 5.0
REDIS_AWAY_SECONDS = 10.0
# A line holds the ids of some hundred tasks, for each of the tests that are kept.
LINE_BYTES = 1_048_576


class TaskBefore(Struct, frozen=True, kw_only=True):
    """A task as it was before the fault. `running`: its attempt ran then."""

    task_id: str
    attempt: int
    running: bool


class KillTest(Struct, frozen=True, kw_only=True):
    """One test. The times are those of the machine, on which Postgres runs as well.

    `task_id`: the task whose life is shown. `tasks`: those that the verdict is about. `alone`: no
    other worker process served the queue of that task. `began_at`: the moment of the fault;
    `ended_at`: the moment from which on all ran again, apart from what the fault had ended.
    `failed`: the reason why it was not carried out, or not as intended.
    """

    test_id: str
    kind: Kind
    task_id: str | None = None
    worker_id: str | None = None
    tasks: list[TaskBefore] = []
    alone: bool = True
    began_at: Moment | None = None
    ended_at: Moment | None = None
    failed: str | None = None


class Request(Struct, frozen=True):
    """Start a test, or without one only answer. A test whose id is known is not started again."""

    start: KillTest | None = None


class Answer(Struct, frozen=True):
    """The newest tests, the newest first. `refused`: the reason why none was started."""

    tests: list[KillTest]
    refused: str | None = None


to_request = msgspec.json.Decoder(Request)
to_answer = msgspec.json.Decoder(Answer)

__all__ = [
    "BEYOND_LEASE_SECONDS",
    "LINE_BYTES",
    "OF_A_WORKER",
    "REDIS_AWAY_SECONDS",
    "Answer",
    "KillTest",
    "Kind",
    "Request",
    "TaskBefore",
    "to_answer",
    "to_request",
]
