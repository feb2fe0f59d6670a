"""Tasks without options are recorded by a shorter statement, with the same effect."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import asdict, replace

from leaseq.config import Config
from leaseq.connections.postgres import open_pool
from leaseq.connections.postgres_pool import Pool
from leaseq.errors import SubmissionInvalid
from leaseq.ledger.queues import QueueLedger
from leaseq.ledger.session import Rows, Session
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import Priority, State, Submission, Submitted
from leaseq.operations.submit import Submitter
from support.ledger import RETENTION, find, open_worker, submission
from support.proxy import READY_FOR_QUERY, ProxyTo

SOON = datetime.now(UTC) + timedelta(hours=1)


class Listed(Session):
    """A session that lists the statements that it is asked for."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool, deadline_seconds=10)
        self.names: list[str] = []

    async def fetch(self, name: str, params: Mapping[str, Any] | None = None, **rest: Any) -> Rows:
        self.names.append(name)
        return await super().fetch(name, params, **rest)


@pytest.fixture
async def listed(pool: Pool, queue_ledger: QueueLedger) -> Listed:
    await queue_ledger.register_queues(["default"])
    return Listed(pool)


async def record(session: Session, *batch: Submission) -> dict[str, Submitted | None]:
    return await TaskLedger(session).submit(batch, retention_seconds=RETENTION)


async def test_plain_tasks_are_as_any_others(listed: Listed, ledger: TaskLedger) -> None:
    plain = [submission(payload=b'{"text":"a\\"b\\\\"}', priority=Priority.HIGH) for _ in range(2)]
    mixed = [submission(payload=plain[0].payload, priority=Priority.HIGH), submission(type="sums")]

    answers = await record(listed, *plain) | await record(listed, *mixed)

    assert listed.names == ["submit_plain", "submit_tasks"]
    one, other = [await find(ledger, s.task_id) for s in (plain[1], mixed[0])]
    times = ("task_id", "created_at", "run_at")
    assert {**asdict(one), **dict.fromkeys(times)} == {**asdict(other), **dict.fromkeys(times)}
    assert one.run_at == one.created_at
    answer, like = answers[one.task_id], answers[other.task_id]
    assert answer is not None
    assert like is not None
    assert (answer.created_at, answer.run_at) == (one.created_at, one.run_at)
    assert {**asdict(answer), **dict.fromkeys(times)} == {**asdict(like), **dict.fromkeys(times)}


async def test_headers_of_some_are_kept(
    listed: Listed, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    batch = [submission(headers=headers) for headers in (b'{"a":"1"}', None)]

    await record(listed, *batch)

    assert listed.names == ["submit_plain"]
    worker = await open_worker(worker_ledger)
    claimed = await ledger.claim([s.task_id for s in batch], worker_id=worker)
    assert {c.claim.task_id: c.headers for c in claimed} == {s.task_id: s.headers for s in batch}


@pytest.mark.parametrize(
    "options",
    [
        {"idempotency_key": "k"},
        {"delay_seconds": 60.0},
        {"run_at": SOON},
        {"expires_at": SOON},
    ],
    ids=lambda options: next(iter(options)),
)
async def test_task_with_an_option_is_not_plain(listed: Listed, options: dict[str, Any]) -> None:
    (answer,) = (await record(listed, submission(**options))).values()

    assert answer is not None
    assert listed.names == ["submit_tasks"]


async def test_unknown_queue_becomes_known(listed: Listed, queue_ledger: QueueLedger) -> None:
    for _ in range(2):
        (answer,) = (await record(listed, submission(queue="new"))).values()
        assert answer is not None

    assert listed.names == ["submit_plain", "submit_tasks", "submit_plain"]
    assert "new" in [queue.name for queue in await queue_ledger.list_queues()]


async def test_task_that_exists_is_not_recorded_again_and_its_neighbours_are(
    listed: Listed, ledger: TaskLedger
) -> None:
    known, new = submission(), submission()
    await record(listed, known)

    again = await record(listed, replace(known, payload=b"[]"), new, new)

    assert listed.names == ["submit_plain", "submit_plain", "submit_tasks"]
    assert again[known.task_id] is None
    assert again[new.task_id] is not None
    assert (await find(ledger, known.task_id)).payload == known.payload


@pytest.mark.parametrize("field", ["tenant", "queue", "type"])
async def test_text_with_a_nul_is_refused_and_not_cut(listed: Listed, field: str) -> None:
    with pytest.raises(SubmissionInvalid):
        await record(listed, submission(**{field: "default\0more"}))


async def test_answer_is_lost_and_the_task_is_recorded_once(
    config: Config, proxy_to: ProxyTo, listed: Listed, ledger: TaskLedger
) -> None:
    assert config.postgres_url is not None
    proxy = await proxy_to(config.postgres_url)
    wanted = submission()
    far = await open_pool(replace(config, postgres_url=proxy.url), name="leaseq test", max_size=2)
    async with far:
        proxy.lose_reply(wanted.task_id.encode(), until=READY_FOR_QUERY)
        submitter = Submitter(
            TaskLedger(Session(far, deadline_seconds=5)), retention_seconds=RETENTION
        )
        (answer,) = await submitter.write([wanted])

    assert isinstance(answer, Submitted)
    assert (answer.task_id, answer.state, answer.replayed) == (wanted.task_id, State.PENDING, False)
    assert (await find(ledger, wanted.task_id)).created_at == answer.created_at
