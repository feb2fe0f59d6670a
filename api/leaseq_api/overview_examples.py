"""The example of the OpenAPI document about the overview."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import Struct

from leaseq_api.operate_schemas import Fleet, LaneCounts, Need, Overview, QueueStanding

_OLDEST = datetime(2026, 11, 30, 11, 46, tzinfo=UTC)

# By the name of the schema: name of the example, then what it shows, and the value.
OVERVIEW_EXAMPLES: dict[str, dict[str, tuple[str, Struct]]] = {
    "Overview": {
        "unserved": (
            "A queue that no worker serves",
            Overview(
                at=datetime(2026, 11, 30, 12, 0, tzinfo=UTC),
                redis="up",
                needs=[
                    Need(
                        rule="LeaseqQueueUnserved",
                        sentence="Queue mail: 40 tasks wait, and no worker serves it.",
                        queue="mail",
                        since=_OLDEST,
                    )
                ],
                fleet=Fleet(
                    workers=6,
                    workers_silent=0,
                    slots=600,
                    busy=341,
                    supervisors=3,
                    reapers=2,
                    apis=2,
                    reaper_silent_seconds=4.2,
                ),
                dead=3,
                queues=[
                    QueueStanding(
                        name="mail",
                        paused=False,
                        paused_by=None,
                        paused_reason=None,
                        paused_at=None,
                        workers=0,
                        slots=0,
                        overdue_seconds=None,
                        dead=3,
                        lanes=LaneCounts(
                            waiting=40,
                            high=0,
                            normal=40,
                            low=0,
                            suspect=0,
                            parked=0,
                            backlog_since=None,
                            oldest_at=_OLDEST,
                        ),
                    )
                ],
                more_queues=False,
            ),
        )
    },
}

__all__ = ["OVERVIEW_EXAMPLES"]
