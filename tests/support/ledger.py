"""Prepare the ledger, and watch two writers meet at one row.

Positions are reached through the verbs themselves. `Held` runs any verb inside an open transaction
of a second connection: that is how a winner keeps its row lock while the loser tries.
`until_blocked` waits until Postgres itself says that a session waits for a lock; nothing here
sleeps.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from leaseq.codec import fingerprint, new_task_id
from leaseq.config import Config
from leaseq.connections.postgres import open_pool
from leaseq.connections.postgres_connection import Connection
from leaseq.connections.postgres_pool import Pool
from leaseq.ledger.backlogs import BacklogLedger
from leaseq.ledger.due_tasks import DueTaskLedger
from leaseq.ledger.maintenance import Maintenance
from leaseq.ledger.queues import QueueLedger
from leaseq.ledger.session import Rows, Session
from leaseq.ledger.task_lists import TaskLists
from leaseq.ledger.task_types import TypeLedger
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import (
    DEFAULT_TENANT,
    AttemptRecord,
    Claim,
    Disposition,
    Ending,
    Outcome,
    Settlement,
    State,
    Submission,
    Task,
    TaskError,
)
from support.servers import _admin

RETENTION = 7 * 86_400.0
_names = itertools.count(1)


@pytest.fixture
async def pool(config: Config) -> AsyncIterator[Pool]:
    """Connections as the services have them."""
    opened = await open_pool(config, name="leaseq test", max_size=6)
    yield opened
    await opened.close()


@pytest.fixture
def session(pool: Pool) -> Session:
    return Session(pool, deadline_seconds=10)


@pytest.fixture
def ledger(session: Session) -> TaskLedger:
    return TaskLedger(session)


@pytest.fixture
def due_ledger(session: Session) -> DueTaskLedger:
    return DueTaskLedger(session)


@pytest.fixture
def worker_ledger(session: Session) -> WorkerLedger:
    return WorkerLedger(session)


@pytest.fixture
def queue_ledger(session: Session) -> QueueLedger:
    return QueueLedger(session)


@pytest.fixture
def type_ledger(session: Session) -> TypeLedger:
    return TypeLedger(session)


@pytest.fixture
def backlog_ledger(session: Session) -> BacklogLedger:
    return BacklogLedger(session)


@pytest.fixture
def maintenance(session: Session) -> Maintenance:
    return Maintenance(session)


@pytest.fixture
async def plain(postgres_url: str) -> AsyncIterator[Connection]:
    """A separate connection, to inspect tables and to watch locks."""
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as conn:
        yield conn


@pytest.fixture(scope="module")
def server(session_postgres: str) -> Iterator[psycopg.Connection]:
    """A blocking connection outside every database of leaseq, for what Postgres itself makes of a
    value."""
    with _admin(session_postgres) as conn:
        yield conn


class Held(Session):
    """A session whose every statement belongs to one open transaction."""

    def __init__(self, pool: Pool, conn: Connection) -> None:
        super().__init__(pool, deadline_seconds=10)
        self.conn = conn

    async def fetch(self, name: str, params: Mapping[str, Any] | None = None, **rest: Any) -> Rows:
        return await super().fetch(name, params, **(rest | {"conn": self.conn}))


@asynccontextmanager
async def holding(pool: Pool) -> AsyncIterator[Held]:
    """Statements through this session keep their locks until the block ends; then it commits."""
    async with pool.connection() as conn, conn.transaction():
        yield Held(pool, conn)


async def until_blocked(plain: Connection, waiting: asyncio.Task[Any]) -> None:
    """Wait until Postgres says that a session of this database waits for a lock; fails if `waiting`
    ended without."""
    blocked = 0
    while not blocked:
        assert not waiting.done(), f"it did not wait: {waiting}"
        cursor = await plain.execute(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        )
        blocked = (await cursor.fetchall())[0][0]


def submission(**said: Any) -> Submission:
    """A valid submission with these fields."""
    payload = said.pop("payload", b'{"n":1}')
    usual = Submission(
        tenant=DEFAULT_TENANT,
        task_id=new_task_id(),
        type="add",
        payload=payload,
        queue="default",
        max_attempts=5,
        timeout_seconds=30.0,
        fingerprint=fingerprint(payload.decode()),
    )
    return replace(usual, **said)


async def submit(ledger: TaskLedger, **said: Any) -> str:
    """One task in the ledger; its id."""
    wanted = submission(**said)
    created = await ledger.submit([wanted], retention_seconds=RETENTION)
    assert created[wanted.task_id] is not None
    return wanted.task_id


async def open_worker(worker_ledger: WorkerLedger, *queues: str) -> str:
    """One open worker, of the queue `default` or of others; its id."""
    worker_id = f"worker-{next(_names)}"
    await worker_ledger.open_worker(
        worker_id, host="here", pid=1, queues=list(queues or ("default",)), version="0"
    )
    return worker_id


async def claim_task(ledger: TaskLedger, task_id: str, worker_id: str) -> Claim:
    """Claim one PENDING task."""
    (claimed,) = await ledger.claim([task_id], worker_id=worker_id)
    return claimed.claim


async def list_attempts(ledger: TaskLedger, task_id: str) -> list[AttemptRecord]:
    """The attempts of a task that did not succeed."""
    return await TaskLists(ledger.session).list_attempts(task_id, tenant=DEFAULT_TENANT)


async def promote_due(ledger: TaskLedger, *, limit: int) -> list[str]:
    """Promote due tasks in every queue, as a reaper does. Returns their ids."""
    found: list[str] = []
    scheduled = DueTaskLedger(ledger.session)
    for due in await scheduled.find_due():
        for promoted in await scheduled.promote(await scheduled.list_due([(due, limit)])):
            found += promoted.task_ids
    return found


def succeeded(claim: Claim, result: bytes = b"42") -> Settlement:
    return Settlement(claim, Ending(Outcome.SUCCEEDED, result=result), Disposition(State.SUCCESS))


def errored(claim: Claim, *, then: State = State.SCHEDULED, delay: float = 60.0) -> Settlement:
    error = TaskError("error", "it did not work")
    return Settlement(
        claim,
        Ending(Outcome.ERRORED, error=error),
        Disposition(then, delay=delay, retries=1, error=error),
    )


def released(claim: Claim) -> Settlement:
    return Settlement(claim, Ending(Outcome.RELEASED), Disposition(State.PENDING))


def cancelled(claim: Claim) -> Settlement:
    return Settlement(claim, Ending(Outcome.CANCELLED), Disposition(State.CANCELLED))


def lost(claim: Claim) -> Settlement:
    return Settlement(claim, Ending(Outcome.LOST), Disposition(State.PENDING, losses=1))


async def find(ledger: TaskLedger, task_id: str) -> Task:
    return (await ledger.find([task_id], tenant="default"))[task_id]


async def scheduled(plain: Connection) -> set[str]:
    """The ids in the table of scheduled tasks."""
    cursor = await plain.execute("select task_id::text from leaseq.scheduled")
    return {row[0] for row in await cursor.fetchall()}
