"""Tasks whose attempts a trace viewer finds from the request that submitted them.

The provider is set in this module, above the app, because each worker process imports it. Here the
spans go to a file, one JSON object a line; an exporter for your collector takes its place
(`OTLPSpanExporter` of opentelemetry-exporter-otlp-proto-http). It needs `pip install 'leaseq[otel]'
opentelemetry-sdk`. Run it with `leaseq dev examples.traces:app`, and submit an order with `leaseq
submit pack '{"order_id": 1}'`.
"""

from __future__ import annotations

import os
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

from leaseq import Context, Leaseq, Retry

SPANS = Path(os.environ.get("TRACES_FILE", "spans.jsonl"))


def one_line(span: ReadableSpan) -> str:
    """A span as one line, so that the lines of several processes do not mix."""
    return f"{span.to_json(indent=None)}\n"


provider = TracerProvider(resource=Resource.create({"service.name": "warehouse"}))
exporter = ConsoleSpanExporter(out=SPANS.open("a", encoding="utf-8"), formatter=one_line)
provider.add_span_processor(BatchSpanProcessor(exporter))
trace.set_tracer_provider(provider)

app = Leaseq()
tracer = trace.get_tracer("warehouse")


@app.task
async def pack(ctx: Context, order_id: int) -> str:
    """Pack an order, then submit its delivery: a child of this attempt's span."""
    with tracer.start_as_current_span("fetch goods"):
        if ctx.attempt == 1:
            # The second attempt links to this one.
            raise Retry("the shelf is empty", delay=0)
    return (await deliver.submit(order_id)).id


@app.task
def deliver(order_id: int) -> int:
    """Deliver an order. The span of the attempt is the current one in threads too."""
    with tracer.start_as_current_span("drive"):
        return order_id
