"""The example of the OpenAPI document about statistics."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import Struct

from leaseq.ledger.statistics import Counted
from leaseq.operations.statistics.read import (
    QueueFigures,
    Statistics,
    StatisticsStep,
    TypeFigures,
    figures_of,
)

_AT = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
_HISTOGRAM = [0] * 18 + [240, 900, 57, 3]
_FIGURES = figures_of(
    Counted(
        created=1200,
        started=1200,
        succeeded=1188,
        errored=12,
        failed_tasks=3,
        waited=660.0,
        ran=640.0,
        waits=_HISTOGRAM,
        runs=_HISTOGRAM,
    ),
    60.0,
)
# By the name of the schema: name of the example, then what it shows, and the value.
STATISTICS_EXAMPLES: dict[str, dict[str, tuple[str, Struct]]] = {
    "Statistics": {
        "minute": (
            "One type, and one step of many",
            Statistics(
                window="1h",
                step_seconds=60,
                now=_AT,
                since=_AT.replace(hour=11, minute=59),
                last_flush_at=_AT,
                reporting=3,
                unknown="statistics began later than this window",
                total=_FIGURES,
                steps=[
                    StatisticsStep(
                        at=_AT.replace(hour=11, minute=59), seconds=60.0, figures=_FIGURES
                    )
                ],
                types=[
                    TypeFigures(queue="billing", type="charge", figures=_FIGURES, run_share=1.0)
                ],
                queues=[QueueFigures(queue="billing", figures=_FIGURES)],
            ),
        )
    }
}

__all__ = ["STATISTICS_EXAMPLES"]
