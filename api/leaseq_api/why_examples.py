"""The example of the OpenAPI document about explanations of tasks."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import Struct

from leaseq.model import State
from leaseq_api.schemas import Evidence, Why

# By the name of the schema: name of the example, then what it shows, and the value.
WHY_EXAMPLES: dict[str, dict[str, tuple[str, Struct]]] = {
    "Why": {
        "unserved": (
            "No worker serves its queue",
            Why(
                task_id="01997b1c-8f2e-7c3a-9d41-5e6f7a8b9c0d",
                state=State.PENDING,
                case="queue_unserved",
                sentence="It waits because no worker serves queue billing: 4 workers are open, for default and stock.",
                next="nothing, until a worker that serves billing is started",
                next_at=None,
                since=datetime(2026, 11, 30, 11, 46, tzinfo=UTC),
                actions=[
                    "start a worker that serves it: `leaseq worker MODULE:APP --queues billing`"
                ],
                evidence=[
                    Evidence("dispatch", "in lane normal, 1,204 before it, 18,795 behind it"),
                    Evidence("workers", "0 of 4 open workers serve queue billing"),
                ],
                failure=None,
                needs_person=True,
                at=datetime(2026, 11, 30, 12, 0, tzinfo=UTC),
            ),
        )
    },
}

__all__ = ["WHY_EXAMPLES"]
