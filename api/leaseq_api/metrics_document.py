"""The content of `GET /metrics` in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from leaseq.metrics.exposition import OPENMETRICS, PLAIN

_EXAMPLE = """# HELP leaseq_submissions_total Submissions that were answered with a task.
# TYPE leaseq_submissions_total counter
leaseq_submissions_total{queue="billing",type="charge",result="created"} 12.0
"""
METRICS_CONTENT: dict[str, Any] = {
    media_type: {
        "schema": {"type": "string"},
        "examples": {"excerpt": {"summary": "A few lines of many", "value": text}},
    }
    for media_type, text in ((PLAIN, _EXAMPLE), (OPENMETRICS, _EXAMPLE + "# EOF\n"))
}

__all__ = ["METRICS_CONTENT"]
