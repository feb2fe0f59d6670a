"""Set a provider in every process, as `opentelemetry-instrument` does.

Each span is a line of the file TRACES_FILE, and is written when it ends.
"""

from __future__ import annotations

import os
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

provider = TracerProvider()
provider.add_span_processor(
    SimpleSpanProcessor(
        ConsoleSpanExporter(
            out=Path(os.environ["TRACES_FILE"]).open("a", encoding="utf-8"),  # noqa: SIM115 (until the process ends)
            formatter=lambda span: f"{span.to_json(indent=None)}\n",
        )
    )
)
trace.set_tracer_provider(provider)
