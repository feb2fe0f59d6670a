"""The spans of attempts whose workers are gone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan

from leaseq import Leaseq
from leaseq.config import Config
from leaseq.errors import ServerUnreachable
from leaseq.ledger.held_attempts import HeldAttemptLedger
from leaseq.model import Claim
from leaseq.operations.recover import Death
from support.ledger import RETENTION, submission
from support.reaper import Stage
from support.spans import Spans, address_of, collecting, links_of
from support.worker import until, working

RUN, REASON = "run default", "its process was killed by SIGKILL"
CONTEXT = b'{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}'
SUBMITTED = (0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331)


@pytest.fixture
def spans() -> Iterator[Spans]:
    with collecting() as collected:
        yield collected


async def claimed(stage: Stage, count: int = 1) -> tuple[str, list[Claim]]:
    """A worker that has claimed so many tasks of a client that traces."""
    batch = [submission(type="charge", headers=CONTEXT) for _ in range(count)]
    await stage.stores.tasks.submit(batch, retention_seconds=RETENTION)
    await stage.stores.dispatcher.push("default", [task.task_id for task in batch])
    worker_id = await stage.worker()
    return worker_id, await stage.take(worker_id)


async def recover(stage: Stage, worker_id: str) -> None:
    death = Death(worker_id=worker_id, queues=["default"], reason=REASON)
    assert await stage.engine.recovery.recover(death)


def attributes_of(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


async def test_a_lost_attempt_leaves_a_span_and_the_next_one_links_to_it(
    spans: Spans, stage: Stage, config: Config
) -> None:
    worker_id, [claim] = await claimed(stage)
    await recover(stage, worker_id)
    lost, reap = spans.one(RUN), spans.one("reap")
    assert attributes_of(lost) == {
        "messaging.system": "leaseq",
        "messaging.operation.name": "run",
        "messaging.operation.type": "process",
        "messaging.destination.name": "default",
        "messaging.message.id": claim.task_id,
        "messaging.client.id": worker_id,
        "leaseq.type": "charge",
        "leaseq.attempt": 1,
        "leaseq.outcome": "lost",
        "leaseq.state": "PENDING",
        "error.type": "lost",
    }
    assert (lost.kind, lost.parent) == (trace.SpanKind.CONSUMER, None)
    assert (lost.status.status_code, lost.status.description) == (
        trace.StatusCode.ERROR,
        REASON,
    )
    assert links_of(lost) == [SUBMITTED]
    task = await stage.task(claim.task_id)
    assert task.started_at is not None
    assert lost.start_time == int(task.started_at.timestamp() * 1e6) * 1000
    assert lost.end_time is not None
    assert lost.end_time >= lost.start_time
    assert links_of(reap) == [address_of(lost)]
    assert attributes_of(reap)["messaging.batch.message_count"] == 1

    app = Leaseq(config)

    @app.task
    async def charge() -> None: ...

    async with working(config, app):
        await until(lambda: len(spans.named(RUN)) == 2)
    assert links_of(spans.named(RUN)[1]) == [SUBMITTED, address_of(lost)]


async def test_an_attempt_that_its_worker_settled_first_has_no_span_of_a_loss(
    spans: Spans, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two reapers read the attempts of a worker, and one of them settles them."""
    worker_id, claims = await claimed(stage, count=3)
    read = HeldAttemptLedger.read

    async def another_settles_first(self: HeldAttemptLedger, asked: list[Claim]) -> object:
        found = await read(self, asked)
        monkeypatch.undo()
        await stage.plain.execute(
            "update leaseq.tasks set worker_id = 'another' where id <> %s", [claims[0].task_id]
        )
        return found

    monkeypatch.setattr(HeldAttemptLedger, "read", another_settles_first)
    await recover(stage, worker_id)
    assert attributes_of(spans.one(RUN))["messaging.message.id"] == claims[0].task_id
    assert attributes_of(spans.one("reap"))["messaging.batch.message_count"] == 1


async def test_a_recovery_that_postgres_does_not_answer_leaves_no_span(
    spans: Spans, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next pass settles the attempt, and its span is the only one."""
    worker_id, _ = await claimed(stage)

    async def cut(batch: object) -> None:
        monkeypatch.undo()
        raise ServerUnreachable("cut")

    monkeypatch.setattr(stage.stores.tasks, "settle", cut)
    with pytest.raises(ServerUnreachable):
        await recover(stage, worker_id)
    assert spans.all() == []
    await recover(stage, worker_id)
    assert sorted(span.name for span in spans.all()) == ["reap", RUN]


async def test_a_recovery_without_a_provider_reads_no_attempts(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(HeldAttemptLedger, "read", lambda *args: asked.append(args))
    worker_id, [claim] = await claimed(stage)
    await recover(stage, worker_id)
    assert await stage.losses() == [(claim.task_id, 1)]
    assert asked == []
