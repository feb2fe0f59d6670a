"""Put schedules that are due, fire them, and read their tasks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from leaseq.schedules.schedule import Definition, Schedule
from leaseq.schedules.timing import Timing
from leaseq_reaper.duties.fire import Fire
from support.ledger import submission
from support.reaper import Stage

HOURLY = Timing(cron="0 * * * *")


class Clockwork:
    """Schedules of one stage, and reapers that fire them."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.ledger = stage.stores.schedules

    def reaper(self) -> Fire:
        return Fire(self.stage.stores, self.stage.engine.config)

    async def put(
        self,
        name: str = "report",
        *,
        timing: Timing = HOURLY,
        late: float | None = 1.0,
        seen: Schedule | None = None,
        task: dict[str, Any] | None = None,
        **options: Any,
    ) -> datetime:
        """A schedule that was due so many seconds ago. Returns its next time."""
        at = datetime.now(UTC) - timedelta(seconds=late or -3600.0)
        if timing.every_seconds is not None:
            timing = Timing(every_seconds=timing.every_seconds, anchor_at=at)
        definition = Definition(
            name=name, timing=timing, submission=submission(**(task or {})), **options
        )
        assert await self.ledger.put(definition, next_at=at, due_at=at, seen=seen)
        return at

    async def find(self, name: str = "report") -> Schedule:
        found, _ = await self.ledger.find("default", name)
        assert found is not None
        return found

    async def tasks(self) -> list[tuple[str, str]]:
        """The keys and states of all tasks."""
        rows = await self.stage.plain.execute(
            "select idempotency_key, state from leaseq.tasks order by 1"
        )
        return await rows.fetchall()

    async def end_tasks(self) -> None:
        await self.stage.plain.execute(
            "update leaseq.tasks set state = 'CANCELLED', finished_at = now()"
        )

    async def look_now(self) -> None:
        await self.stage.plain.execute(
            "update leaseq.schedules set due_at = now() where due_at is not null"
        )
