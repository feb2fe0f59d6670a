"""Collect the spans of this process.

OpenTelemetry sets a provider once for the life of a process. So that the other tests of a process
run without one, a test has its own in place of the function that returns it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


class Spans:
    """The spans that have ended, by name."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def named(self, name: str) -> list[ReadableSpan]:
        """Those with this name, in the order in which they ended."""
        return [span for span in self.all() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span

    def all(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())


@contextmanager
def collecting() -> Iterator[Spans]:
    """Be the provider of this process within the block."""
    collected = Spans()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace, "get_tracer_provider", lambda: collected.provider)
        yield collected
    collected.provider.shutdown()


def links_of(span: ReadableSpan) -> list[tuple[int, int]]:
    """The trace and the span of each link."""
    return [(link.context.trace_id, link.context.span_id) for link in span.links]


def address_of(span: ReadableSpan) -> tuple[int, int]:
    """The trace and the span that this one is."""
    assert span.context is not None
    return span.context.trace_id, span.context.span_id
