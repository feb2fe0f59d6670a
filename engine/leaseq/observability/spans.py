"""Spans of submissions and attempts, by OpenTelemetry's conventions for messaging.

The conventions are those of version 1.44.0
(https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/). `submit QUEUE` is a
PRODUCER span of type send, whose context a task carries in its headers. `run QUEUE` is a CONSUMER
span of type process, one for each attempt. It links to the context of the task, or has it as its
parent where the configuration says so. The process that recovers a dead worker ends the span of a
lost attempt, and links its own span `reap` to it.

Invariants: an attribute holds names, numbers and ids; never a payload, a result, an idempotency key
or the message of an exception, which may quote any of them. A fault of a provider is logged and
ends no submission and no attempt.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from msgspec.structs import replace
from opentelemetry import trace
from opentelemetry.context import Context, attach
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, Tracer, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from leaseq.model import (
    Claim,
    ClaimedTask,
    Ending,
    Outcome,
    Settled,
    Submission,
    Submitted,
)
from leaseq.observability.telemetry import EVENTS, Event, subscribe
from leaseq.observability.tracing import Answers, Tracing
from leaseq.trace_context import (
    HeldAttempt,
    TracedAttempt,
    attempt_in,
    context_in,
    with_attempt,
    with_context,
)

SCHEMA = "https://opentelemetry.io/schemas/1.44.0"
# For the export of the last spans of a worker, which is about to exit.
FLUSH_SECONDS = 2.0
# The SDK keeps no more of a span.
MOST_LINKS = 128
FAILURES = frozenset({Outcome.ERRORED, Outcome.TIMED_OUT})

_w3c = TraceContextTextMapPropagator()
Attempt = tuple[str, int]


def tracing_of(*, parents: bool) -> Tracing | None:
    """Trace with the provider of this process. None: it has none, or one that records nothing."""
    provider = trace.get_tracer_provider()
    tracer = provider.get_tracer("leaseq", schema_url=SCHEMA)
    if isinstance(tracer, (trace.ProxyTracer, trace.NoOpTracer)):
        return None
    return OpenTelemetryTracing(provider, tracer, parents=parents)


class OpenTelemetryTracing:
    """Spans by the provider of this process. `parents`: an attempt is a child of the submission."""

    def __init__(self, provider: TracerProvider, tracer: Tracer, *, parents: bool) -> None:
        self._provider = provider
        self._tracer = tracer
        self._parents = parents
        self._attempts: dict[Attempt, Span] = {}
        self._errors: dict[Attempt, str] = {}  # of handlers that have ended, and whose span has not
        self._unsubscribe = _nothing

    def submitting(self, batch: Sequence[Submission]) -> OpenTelemetrySubmission:
        return OpenTelemetrySubmission(self._tracer, batch)

    def begin_attempt(self, claimed: ClaimedTask) -> None:
        claim = claimed.claim
        about = TracedAttempt(
            task_id=claim.task_id,
            attempt=claim.attempt,
            worker_id=claim.worker_id,
            queue=claimed.queue,
            type=claimed.type,
            headers=claimed.headers,
        )
        with _harmless():
            span = self._start_attempt(about)
            self._attempts[claim.task_id, claim.attempt] = span
            attach(trace.set_span_in_context(span))

    def _start_attempt(self, about: TracedAttempt, *, start: int | None = None) -> Span:
        """`start`: in nanoseconds. None: now."""
        created = _span_in(context_in(about.headers))
        previous = _span_in(attempt_in(about.headers))
        return self._tracer.start_span(
            f"run {about.queue}",
            context=trace.set_span_in_context(created, Context()) if self._parents else Context(),
            kind=SpanKind.CONSUMER,
            links=[
                Link(span.get_span_context(), {"leaseq.link": name})
                for name, span in (("submission", created), ("previous attempt", previous))
                if _is_valid(span)
            ],
            attributes=_attributes("run", "process", about.queue)
            | {
                "messaging.message.id": about.task_id,
                "messaging.client.id": about.worker_id,
                "leaseq.type": about.type,
                "leaseq.attempt": about.attempt,
            },
            start_time=start,
        )

    def handler_ended(self, claimed: ClaimedTask, ending: Ending) -> None:
        attempt = (claimed.claim.task_id, claimed.claim.attempt)
        if attempt in self._attempts and ending.error is not None:
            self._errors[attempt] = ending.error.type or ending.error.code

    def headers_after(self, claimed: ClaimedTask) -> bytes | None:
        span = self._attempts.get((claimed.claim.task_id, claimed.claim.attempt))
        carrier = {} if span is None else _carrier_of(span)
        return with_attempt(claimed.headers, carrier) if carrier else None

    @contextmanager
    def settling(self, claims: Sequence[Claim]) -> Iterator[None]:
        span: Span = trace.INVALID_SPAN
        with _harmless():
            attempts = [self._attempts.get((claim.task_id, claim.attempt)) for claim in claims]
            span = self._tracer.start_span(
                "settle",
                context=Context(),
                kind=SpanKind.CLIENT,
                links=[
                    Link(attempt.get_span_context(), {"leaseq.link": "attempt"})
                    for attempt in attempts
                    if attempt is not None
                ][:MOST_LINKS],
                attributes=_attributes("settle", "settle", None)
                | {"messaging.batch.message_count": len(claims)},
            )
        try:
            yield
        except BaseException as error:
            with _harmless():
                _fail(span, type(error).__name__)
            raise
        finally:
            with _harmless():
                span.end()

    def losing(self, held: Sequence[HeldAttempt], *, reason: str) -> OpenTelemetryLosses:
        spans: dict[str, Span] = {}
        with _harmless():
            for attempt in held:
                spans[attempt.task_id] = self._take(attempt)
        return OpenTelemetryLosses(self._tracer, held, spans, reason=reason)

    def _take(self, held: HeldAttempt) -> Span:
        """The span of a lost attempt: the one that this process has begun, or one that begins when
        the attempt did."""
        key = (held.task_id, held.attempt)
        self._errors.pop(key, None)
        begun = self._attempts.pop(key, None)
        return begun or self._start_attempt(held, start=_nanoseconds(held.started_at))

    def follow_endings(self) -> None:
        self._unsubscribe = subscribe(self._end, level=EVENTS["attempt.settled"])

    async def close(self) -> None:
        self._unsubscribe()
        spans, self._attempts = self._attempts, {}
        with _harmless():
            for span in spans.values():
                span.end()
            # Of the SDK. A provider that exports each span when it ends has nothing to flush.
            flush = getattr(self._provider, "force_flush", None)
            if flush is not None:
                # The SDK may wait longer than its argument allows, for a collector that does not answer.
                flushing = asyncio.to_thread(flush, int(FLUSH_SECONDS * 1000))
                await asyncio.wait_for(flushing, FLUSH_SECONDS)

    def _end(self, event: Event) -> None:
        """End the span of an attempt whose ending the ledger has, or refuses."""
        if event.name not in ("attempt.settled", "attempt.fenced"):
            return
        fields = event.fields
        attempt = (fields["task_id"], fields["attempt"])
        span, error = self._attempts.pop(attempt, None), self._errors.pop(attempt, None)
        if span is None:
            return
        with _harmless():
            if event.name == "attempt.fenced":
                _fail(span, "fenced")
            else:
                span.set_attributes(
                    {"leaseq.outcome": str(fields["outcome"]), "leaseq.state": str(fields["state"])}
                )
                if fields["outcome"] in FAILURES:
                    _fail(span, error or str(fields["outcome"]))
            span.end()


class OpenTelemetryLosses:
    """The spans of some lost attempts, and the span `reap` of their recovery, which links to them.

    A span that is not ended is not exported: that of an attempt which its own worker has settled
    first, or of a recovery that Postgres did not answer.
    """

    def __init__(
        self,
        tracer: Tracer,
        held: Sequence[HeldAttempt],
        spans: Mapping[str, Span],
        *,
        reason: str,
    ) -> None:
        self._held = {attempt.task_id: attempt for attempt in held if attempt.task_id in spans}
        self._spans = spans
        self._reason = reason
        self._reap: Span = trace.INVALID_SPAN
        with _harmless():
            self._reap = tracer.start_span("reap", context=Context(), kind=SpanKind.INTERNAL)

    def headers_after(self, claim: Claim) -> bytes | None:
        held = self._held.get(claim.task_id)
        carrier = {} if held is None else _carrier_of(self._spans[claim.task_id])
        return with_attempt(held.headers, carrier) if held and carrier else None

    def end(self, settled: Collection[Settled]) -> None:
        ended = [task for task in settled if task.task_id in self._held]
        with _harmless():
            for task in ended:
                span = self._spans[task.task_id]
                span.set_attributes({"leaseq.outcome": "lost", "leaseq.state": str(task.state)})
                _fail(span, "lost", self._reason)
                span.end(_nanoseconds(self._held[task.task_id].read_at))
            if ended:
                self._end_reap([task.task_id for task in ended])

    def _end_reap(self, task_ids: Sequence[str]) -> None:
        self._reap.set_attributes(
            {
                "messaging.system": "leaseq",
                "messaging.batch.message_count": len(task_ids),
            }
        )
        for task_id in task_ids[:MOST_LINKS]:
            lost = self._spans[task_id].get_span_context()
            self._reap.add_link(lost, {"leaseq.link": "lost attempt"})
        self._reap.end()


class OpenTelemetrySubmission:
    """The span of one call that submits some tasks. Its context is that of each of them."""

    def __init__(self, tracer: Tracer, batch: Sequence[Submission]) -> None:
        self._batch = list(batch)
        self._span: Span = trace.INVALID_SPAN
        with _harmless():
            self._span = self._start(tracer)

    def _start(self, tracer: Tracer) -> Span:
        queues = {submission.queue for submission in self._batch}
        queue = queues.pop() if len(queues) == 1 else None
        attributes = _attributes("submit", "send", queue)
        # All of a request come with one context, which is that of its client.
        remote = context_in(self._batch[0].headers) if self._batch else {}
        if len(self._batch) == 1:
            attributes |= {
                "messaging.message.id": self._batch[0].task_id,
                "leaseq.type": self._batch[0].type,
            }
        else:
            attributes["messaging.batch.message_count"] = len(self._batch)
        return tracer.start_span(
            "submit" if queue is None else f"submit {queue}",
            context=trace.set_span_in_context(_span_in(remote)) if remote else None,
            kind=SpanKind.PRODUCER,
            attributes=attributes,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        frames: TracebackType | None,
    ) -> None:
        with _harmless():
            if kind is not None:
                _fail(self._span, kind.__name__)
            self._span.end()

    def carried(self) -> list[Submission]:
        carrier = _carrier_of(self._span)
        if not carrier:
            return self._batch
        return [
            replace(submission, headers=with_context(submission.headers, carrier))
            for submission in self._batch
        ]

    def answered(self, answers: Answers) -> None:
        with _harmless():
            refusals = [answer for answer in answers if isinstance(answer, BaseException)]
            if refusals:
                _fail(self._span, type(refusals[0]).__name__)
            replayed = [
                answer for answer in answers if isinstance(answer, Submitted) and answer.replayed
            ]
            if replayed and len(answers) == 1:
                self._span.set_attributes(
                    {"messaging.message.id": replayed[0].task_id, "leaseq.replayed": True}
                )
                created = _span_in(context_in(replayed[0].headers))
                if _is_valid(created):
                    self._span.add_link(created.get_span_context(), {"leaseq.link": "submission"})


def _attributes(operation: str, kind: str, queue: str | None) -> dict[str, Any]:
    attributes = {
        "messaging.system": "leaseq",
        "messaging.operation.name": operation,
        "messaging.operation.type": kind,
    }
    return attributes if queue is None else attributes | {"messaging.destination.name": queue}


def _span_in(context: Mapping[str, str]) -> Span:
    """The span that a context names. An invalid one: there is none."""
    return trace.get_current_span(_w3c.extract(context, Context()))


def _carrier_of(span: Span) -> dict[str, str]:
    """The headers that name this span. Empty: it has no valid context."""
    carrier: dict[str, str] = {}
    with _harmless():
        _w3c.inject(carrier, trace.set_span_in_context(span, Context()))
    return carrier


def _is_valid(span: Span) -> bool:
    return bool(span.get_span_context().is_valid)


def _fail(span: Span, kind: str, description: str | None = None) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR, description)


def _nanoseconds(moment: datetime) -> int:
    """Since 1970, as spans count time."""
    return int(moment.timestamp() * 1e6) * 1_000


@contextmanager
def _harmless() -> Iterator[None]:
    """Code of a provider: processors and exporters may raise anything."""
    try:
        yield
    except Exception:
        logging.getLogger("leaseq").exception("a provider of OpenTelemetry failed")


def _nothing() -> None:
    """Instead of a function that ends a subscription."""


__all__ = ["tracing_of"]
