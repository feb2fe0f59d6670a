"""OpenTelemetry through the queue: real stores, a worker, an exporter in memory."""

from __future__ import annotations

import asyncio
import cProfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from unittest.mock import Mock

import msgspec
import opentelemetry
import pytest
from msgspec.structs import replace
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from leaseq import Context, Fail, Leaseq
from leaseq.config import Config
from leaseq.model import State
from support.client import Client
from support.spans import Spans, address_of, collecting, links_of
from support.worker import promoting, until, working

MARKER = "4a1f-marker"
SUBMIT, RUN = "submit default", "run default"


@pytest.fixture
def spans() -> Iterator[Spans]:
    with collecting() as collected:
        yield collected


@asynccontextmanager
async def at_work(config: Config, app: Leaseq) -> AsyncIterator[None]:
    """The app is open, and a worker runs its tasks."""
    async with app, working(config, app):
        yield


async def headers_of(client: Client, task_id: str) -> dict[str, str]:
    """The headers that a task carries."""
    [(headers,)] = await client.rows(
        "select headers::text from leaseq.tasks where id = %s", task_id
    )
    return {} if headers is None else msgspec.json.decode(headers, type=dict[str, str])


def attributes_of(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


async def test_an_attempt_is_linked_to_its_submission(config: Config, spans: Spans) -> None:
    app = Leaseq(config)

    @app.task
    async def charge(order_id: int) -> None: ...

    async with at_work(config, app):
        with trace.get_tracer("test").start_as_current_span("request"):
            task = await charge.submit(1)
        await task.result()
        await until(lambda: bool(spans.named(RUN)))
    submit, run = spans.one(SUBMIT), spans.one(RUN)
    assert submit.parent is not None
    assert submit.parent.span_id == address_of(spans.one("request"))[1]
    assert submit.kind is trace.SpanKind.PRODUCER
    assert attributes_of(submit) == {
        "messaging.system": "leaseq",
        "messaging.operation.name": "submit",
        "messaging.operation.type": "send",
        "messaging.destination.name": "default",
        "messaging.message.id": task.id,
        "leaseq.type": "charge",
    }
    assert run.parent is None
    assert run.kind is trace.SpanKind.CONSUMER
    assert links_of(run) == [address_of(submit)]
    assert address_of(run)[0] != address_of(submit)[0]
    found = attributes_of(run)
    assert found.pop("messaging.client.id")
    assert found == {
        "messaging.system": "leaseq",
        "messaging.operation.name": "run",
        "messaging.operation.type": "process",
        "messaging.destination.name": "default",
        "messaging.message.id": task.id,
        "leaseq.type": "charge",
        "leaseq.attempt": 1,
        "leaseq.outcome": "succeeded",
        "leaseq.state": "SUCCESS",
    }
    assert run.status.is_unset


async def test_an_attempt_is_a_child_where_the_setting_asks(config: Config, spans: Spans) -> None:
    config = replace(config, trace_parent=True)
    app = Leaseq(config)

    @app.task
    async def charge(order_id: int) -> None: ...

    async with at_work(config, app):
        await (await charge.submit(1)).result()
        await until(lambda: bool(spans.named(RUN)))
    submit, run = spans.one(SUBMIT), spans.one(RUN)
    assert run.parent is not None
    assert (run.parent.trace_id, run.parent.span_id) == address_of(submit)
    assert links_of(run) == [address_of(submit)]


async def test_a_settle_links_to_its_attempts_where_the_setting_asks(
    config: Config, spans: Spans
) -> None:
    config = replace(config, trace_batches=True)
    app = Leaseq(config)

    @app.task
    async def charge(order_id: int) -> None: ...

    async with at_work(config, app):
        await app.submit_many(charge.bind(number) for number in range(3))
        await until(lambda: len(spans.named(RUN)) == 3)
    settles = spans.named("settle")
    assert sorted(link for settle in settles for link in links_of(settle)) == sorted(
        address_of(run) for run in spans.named(RUN)
    )
    assert attributes_of(settles[0]).pop("messaging.batch.message_count") == len(settles[0].links)
    assert attributes_of(settles[0])["messaging.operation.type"] == "settle"
    assert settles[0].kind is trace.SpanKind.CLIENT


async def test_each_attempt_has_a_span_and_a_failed_one_its_error(
    config: Config, spans: Spans, client: Client
) -> None:
    config = replace(config, backoff_base_seconds=0.01, backoff_cap_seconds=0.01)
    app = Leaseq(config)

    @app.task
    async def charge(ctx: Context) -> None:
        if ctx.attempt == 1:
            raise ValueError(MARKER)

    async with at_work(config, app), promoting(client.engine):
        await (await charge.submit()).result()
        await until(lambda: len(spans.named(RUN)) == 2)
    submit, (first, second) = spans.one(SUBMIT), spans.named(RUN)
    assert links_of(first) == [address_of(submit)]
    assert links_of(second) == [address_of(submit), address_of(first)]
    assert first.status.status_code is trace.StatusCode.ERROR
    assert attributes_of(first)["error.type"] == "ValueError"
    assert attributes_of(first)["leaseq.state"] == "SCHEDULED"
    assert (attributes_of(second)["leaseq.attempt"], second.status.is_unset) == (2, True)


async def test_an_attempt_that_the_ledger_refuses_is_an_error(
    config: Config, spans: Spans, client: Client
) -> None:
    app = Leaseq(config)

    @app.task
    async def charge() -> None:
        await client.rows("update leaseq.tasks set attempt = attempt + 1")

    async with at_work(config, app):
        await charge.submit()
        await until(lambda: bool(spans.named(RUN)))
    run = spans.one(RUN)
    assert run.status.status_code is trace.StatusCode.ERROR
    assert attributes_of(run)["error.type"] == "fenced"
    assert "leaseq.outcome" not in attributes_of(run)


async def test_a_transaction_that_is_not_committed_is_an_error(
    config: Config, spans: Spans, client: Client
) -> None:
    """The handler has returned. Its span says what became of the attempt."""
    app = Leaseq(config)

    @app.task(max_attempts=1)
    async def charge(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await tx.execute(
                "create temporary table once (n int primary key deferrable initially deferred)"
            )
            await tx.execute("insert into once values (1), (1)")

    async with at_work(config, app):
        task = await charge.submit()
        await client.ended(task.id)
        await until(lambda: bool(spans.named(RUN)))
    assert spans.one(RUN).status.status_code is trace.StatusCode.ERROR
    assert attributes_of(spans.one(RUN))["error.type"] == "errored"
    assert attributes_of(spans.one(RUN))["leaseq.state"] == "FAILED"


async def test_an_attempt_that_overran_is_an_error(
    config: Config, spans: Spans, client: Client
) -> None:
    app = Leaseq(config)

    @app.task(max_attempts=1, timeout=0.05)
    async def charge() -> None:
        await asyncio.Event().wait()

    async with at_work(config, app):
        task = await charge.submit()
        await client.ended(task.id)
        await until(lambda: bool(spans.named(RUN)))
    run = spans.one(RUN)
    assert run.status.status_code is trace.StatusCode.ERROR
    assert attributes_of(run)["error.type"] == "timeout"
    assert attributes_of(run)["leaseq.outcome"] == "timed_out"


async def test_a_replay_makes_no_second_creation_context(
    config: Config, spans: Spans, client: Client
) -> None:
    app = Leaseq(config)

    @app.task
    async def charge(order_id: int) -> None: ...

    async with app:
        keyed = charge.options(idempotency_key="order-1")
        first, again = await keyed.submit(1), await keyed.submit(1)
        assert (again.id, again.replayed) == (first.id, True)
        async with working(config, app):
            await first.result()
            await until(lambda: bool(spans.named(RUN)))
    created, replayed = spans.named(SUBMIT)
    assert links_of(spans.one(RUN)) == [address_of(created)]
    assert attributes_of(replayed)["leaseq.replayed"] is True
    assert links_of(replayed) == [address_of(created)]
    assert attributes_of(replayed)["messaging.message.id"] == first.id
    trace_id, span_id = address_of(created)
    carried = await headers_of(client, first.id)
    assert carried["traceparent"].startswith(f"00-{trace_id:032x}-{span_id:016x}-")


async def test_a_task_that_a_handler_submits_belongs_to_its_attempt(
    config: Config, spans: Spans
) -> None:
    app = Leaseq(config)

    @app.task
    async def receipt() -> None: ...

    @app.task
    async def charge() -> None:
        await receipt.submit()

    @app.task
    def charge_in_a_thread() -> None:
        receipt.sync.submit()

    @app.task
    async def charge_within(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await receipt.options(connection=tx).submit()

    async with at_work(config, app):
        for task in (charge, charge_in_a_thread, charge_within):
            await (await task.submit()).result()
        await until(lambda: len(spans.named(SUBMIT)) == 6)
    runs = {address_of(span)[1]: attributes_of(span)["leaseq.type"] for span in spans.named(RUN)}
    parents = [runs[span.parent.span_id] for span in spans.named(SUBMIT) if span.parent is not None]
    assert parents == ["charge", "charge_in_a_thread", "charge_within"]


async def test_many_tasks_share_the_span_of_their_submission(config: Config, spans: Spans) -> None:
    app = Leaseq(config)

    @app.task
    async def charge(order_id: int) -> None: ...

    async with at_work(config, app):
        await app.submit_many(charge.bind(number) for number in range(3))
        await until(lambda: len(spans.named(RUN)) == 3)
    submit = spans.one(SUBMIT)
    assert attributes_of(submit)["messaging.batch.message_count"] == 3
    assert [links_of(run) for run in spans.named(RUN)] == [[address_of(submit)]] * 3


async def test_spans_show_no_contents(config: Config, spans: Spans) -> None:
    app = Leaseq(config)

    @app.task
    async def charge(note: str, fails: bool) -> str:
        if fails:
            raise Fail(note)
        return note

    async with at_work(config, app):
        for fails in (False, True):
            keyed = charge.options(idempotency_key=f"{MARKER}-{fails}")
            await keyed.submit(MARKER, fails)
            await keyed.submit(MARKER, fails)
            with pytest.raises(Exception, match="different submission"):
                await keyed.submit(MARKER, not fails)
        await until(lambda: len(spans.named(RUN)) == 2)
    assert len(spans.named(SUBMIT)) == 6
    assert "IdempotencyKeyReused" in {
        attributes_of(span).get("error.type") for span in spans.named(SUBMIT)
    }
    assert [span.name for span in spans.all() if MARKER in span.to_json()] == []


async def test_a_fault_of_the_provider_ends_no_task(
    config: Config, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor = SpanProcessor()
    spans.provider.add_span_processor(processor)
    for name in ("on_start", "on_end"):
        monkeypatch.setattr(processor, name, Mock(side_effect=ZeroDivisionError))
    app = Leaseq(config)

    @app.task
    async def charge(order_id: int) -> int:
        return order_id

    async with at_work(config, app):
        assert await (await charge.submit(1)).result() == 1
        (task,) = await app.submit_many([charge.bind(2)])
        assert await task.result() == 2
        assert await task.state() is State.SUCCESS


async def test_nothing_is_called_without_a_provider(config: Config, client: Client) -> None:
    app = Leaseq(config)

    @app.task
    async def charge(order_id: int) -> None: ...

    profile = cProfile.Profile()
    async with at_work(config, app):
        with profile:
            task = await charge.submit(1)
            await task.result()
            await app.submit_many([charge.bind(2)])
    files = {
        entry.code.co_filename for entry in profile.getstats() if not isinstance(entry.code, str)
    }
    tracing = (str(Path(opentelemetry.trace.__file__).parents[1]), "spans.py", "trace_context.py")
    assert [file for file in files if file.startswith(tracing[0])] == []
    assert [file for file in files if file.endswith(tracing[1:])] == []
    assert await headers_of(client, task.id) == {"shape": charge.handler.stamp}
