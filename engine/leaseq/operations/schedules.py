"""Operations on schedules: put, pause, resume, run, delete and read them.

A schedule that is read and then changed is changed only if it is still as it was read; otherwise it
is read again. A definition that is put again without a change writes nothing, and one whose times
do not change keeps its next time: a deploy neither delays an occurrence nor drops one that is due.
"""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from leaseq.codec import new_task_id
from leaseq.config import Config
from leaseq.errors import LimitUnknown, ScheduleConflict, ScheduleInvalid, ScheduleNotFound
from leaseq.ledger.followed import FollowedTasks
from leaseq.ledger.schedules import Run
from leaseq.metrics.tally import TALLY
from leaseq.model import NAME
from leaseq.observability.telemetry import emit
from leaseq.operations.admissions import Admissions
from leaseq.operations.push import Pusher
from leaseq.operations.stores import Stores
from leaseq.schedules.plan import (
    CATCH_UPS,
    MOST_CAUGHT_UP,
    MOST_JITTER_SECONDS,
    OVERLAPS,
    Policy,
    plan,
)
from leaseq.schedules.read_timing import require_occurrence
from leaseq.schedules.schedule import Definition, Schedule, ScheduleRun, same_labels
from leaseq.schedules.timing import Timing

ROUNDS = 10
# Of a request to run a schedule, so that it fits into a key with the name of the schedule.
REQUEST_LENGTH = 64
CODE = "code:"


class Schedules:
    """The schedules of a ledger."""

    def __init__(
        self, stores: Stores, pusher: Pusher, admissions: Admissions, config: Config
    ) -> None:
        self._ledger = stores.schedules
        self._followed = stores.followed
        self._pusher = pusher
        self._admissions = admissions
        self._limits = stores.limits
        self._older = stores.tasks.older
        self._retention = config.idempotency_retention_seconds

    async def put(self, definition: Definition) -> Schedule:
        """Create a schedule, or replace its definition. Raises `ScheduleInvalid`, and for
        tasks with a limit `FeatureNeedsUpgrade` and `LimitUnknown`.

        One that is paused stays paused. A definition by code leaves a schedule alone that was put by
        another way.
        """
        check_definition(definition)
        tenant, name = definition.submission.tenant, definition.name
        for _ in range(ROUNDS):
            seen, now = await self._ledger.find(tenant, name)
            wanted = _anchored(definition, seen, now)
            if seen is not None and (_is_same(seen, wanted) or _is_foreign(seen, wanted)):
                return seen
            if wanted.submission.limit is not None:
                await self._check_limit(wanted.submission.limit)
            if seen is not None and seen.timing == wanted.timing:
                next_at = seen.next_at
            else:
                next_at = require_occurrence(wanted.timing, now)
            due_at = None if next_at is None else next_at + wanted.delay(tenant)
            if await self._ledger.put(wanted, next_at=next_at, due_at=due_at, seen=seen):
                emit("schedule.put", tenant=tenant, schedule=name, source=wanted.source)
                return await self.find(tenant, name)
        raise ScheduleConflict

    async def _check_limit(self, name: str) -> None:
        """Raise `FeatureNeedsUpgrade` or `LimitUnknown` where tasks with this limit are refused."""
        await self._older.refuse()
        if not await self._limits.exists(name):
            raise LimitUnknown(f"there is no limit {name}: make it first")

    async def find(self, tenant: str, name: str) -> Schedule:
        """Read one schedule. Raises `ScheduleNotFound`."""
        found, _ = await self._ledger.find(tenant, name)
        if found is None:
            raise no_schedule(name)
        return found

    async def list_schedules(
        self, *, tenant: str | None, after: tuple[str, str] = ("", ""), limit: int
    ) -> list[Schedule]:
        """Read schedules by tenant and name, without their payloads."""
        return await self._ledger.list_schedules(tenant=tenant, after=after, limit=limit)

    async def runs(self, schedule: Schedule) -> list[ScheduleRun]:
        """The last occurrences of a schedule, newest first, with the states of their tasks."""
        return await read_runs(self._followed, schedule)

    async def pause(self, tenant: str, name: str, *, by: str | None = None) -> Schedule:
        """Pause a schedule: no occurrence becomes a task. Raises `ScheduleNotFound`."""
        if not await self._ledger.pause(tenant, name, by=by):
            raise no_schedule(name)
        emit("schedule.paused", tenant=tenant, schedule=name)
        return await self.find(tenant, name)

    async def resume(self, tenant: str, name: str) -> Schedule:
        """Resume a schedule. Occurrences during the pause count as missed. Raises
        `ScheduleNotFound`."""
        for _ in range(ROUNDS):
            seen = await self.find(tenant, name)
            if seen.paused_at is None:
                return seen
            next_at, missed = seen.next_at, 0
            if next_at is not None and next_at <= seen.now:
                planned = plan(seen.timing, Policy(catch_up="skip"), next_at, seen.now)
                # An occurrence of the last minute is not late, and happened during the pause all the same.
                next_at, missed = planned.next_at, planned.missed + len(planned.fires)
            due_at = None if next_at is None else next_at + seen.delay
            if await self._ledger.resume(seen, next_at=next_at, due_at=due_at, missed=missed):
                emit("schedule.resumed", tenant=tenant, schedule=name, missed=missed)
                return await self.find(tenant, name)
        raise ScheduleConflict

    async def delete(self, tenant: str, name: str) -> None:
        """Delete a schedule; its tasks stay. Raises `ScheduleNotFound`."""
        if not await self._ledger.delete(tenant, name):
            raise no_schedule(name)
        emit("schedule.deleted", tenant=tenant, schedule=name)

    async def run_now(self, tenant: str, name: str, *, request: str | None = None) -> Run:
        """Create a task of a schedule now, paused or not, without regard to overlap. A `request`
        that comes twice returns the same task. Raises `ScheduleNotFound`, `LimitUnknown`."""
        task_id = new_task_id()
        request = task_id if request is None else _check_request(request)
        run = await self._ledger.run(
            tenant, name, request=request, task_id=task_id, retention_seconds=self._retention
        )
        if run is None:
            raise no_schedule(name)
        if run.created:
            if run.limit is None:
                self._pusher.offer([(run.queue, run.lane, run.task_id)])
            else:
                self._admissions.ask([run.limit])
            TALLY.of_task(run.queue, run.type).created += 1
            emit("schedule.fired", tenant=tenant, schedule=name, task_id=run.task_id)
        return run


async def read_runs(followed: FollowedTasks, schedule: Schedule) -> list[ScheduleRun]:
    """The last occurrences of a schedule, newest first, with the states of their tasks."""
    task_ids = [task_id for task_id in schedule.run_tasks if task_id is not None]
    found = await followed.find_followed(task_ids) if task_ids else {}
    return [
        ScheduleRun(
            at=at,
            task_id=task_id,
            state=found[task_id].state if task_id is not None and task_id in found else None,
        )
        for at, task_id in zip(schedule.run_ats, schedule.run_tasks, strict=True)
    ]


def no_schedule(name: str) -> ScheduleNotFound:
    """The refusal for a name that no schedule has."""
    return ScheduleNotFound(f"there is no schedule {name!r:.150}")


def check_definition(definition: Definition) -> None:
    """Raise `ScheduleInvalid` for a value that a schedule cannot have."""
    check_policy(definition.name, definition.policy, definition.jitter_seconds)
    task = definition.submission
    for field in ("delay_seconds", "run_at", "expires_at"):
        if getattr(task, field) is not None:
            raise ScheduleInvalid(f"a schedule has its own times: leave out {field}", field=field)
    if task.unique is not None:
        raise ScheduleInvalid(
            f"tasks of type {task.type} have a unique key, which a schedule does not know: use a type "
            "without one, and overlap",
            field="type",
        )


def check_policy(name: str, policy: Policy, jitter: float) -> None:
    """Raise `ScheduleInvalid` for a name, a policy or a jitter that a schedule cannot have."""
    if not NAME.fullmatch(name):
        raise ScheduleInvalid(
            f"the name of a schedule has 1 to 128 characters of A-Z a-z 0-9 _ . -, not {name[:150]!r}",
            field="name",
        )
    _check_choice("catch_up", policy.catch_up, CATCH_UPS)
    _check_choice("overlap", policy.overlap, OVERLAPS)
    _check_whole("max_catch_up", policy.max_catch_up, 1, MOST_CAUGHT_UP)
    _check_whole("jitter_seconds", jitter, 0, MOST_JITTER_SECONDS)


def _check_choice(field: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ScheduleInvalid(
            f"{field} must be {', '.join(choices[:-1])} or {choices[-1]}, not {value!r:.150}",
            field=field,
        )


def _check_whole(field: str, value: float, least: int, most: int) -> None:
    if isinstance(value, bool) or value != int(value) or not least <= value <= most:
        raise ScheduleInvalid(
            f"{field} must be a whole number from {least} to {most}, not {value!r}", field=field
        )


def _check_request(request: str) -> str:
    if not (1 <= len(request) <= REQUEST_LENGTH and request.isascii() and request.isprintable()):
        raise ScheduleInvalid(
            f"the id of a request to run a schedule has 1 to {REQUEST_LENGTH} printable ASCII characters",
            field="request",
        )
    return request


def _anchored(definition: Definition, seen: Schedule | None, now: datetime) -> Definition:
    """The definition with the anchor of its interval: its start, or the time of the first put."""
    timing = definition.timing
    if timing.every_seconds is None or timing.anchor_at is not None:
        return definition
    anchor = now
    if seen is not None and seen.anchor_at is not None:
        before = Timing(every_seconds=seen.every_seconds, start_at=seen.start_at)
        if before == Timing(every_seconds=timing.every_seconds):
            anchor = seen.anchor_at
    return replace(definition, timing=replace(timing, anchor_at=anchor))


def _is_foreign(seen: Schedule, wanted: Definition) -> bool:
    """Whether code would replace a schedule that it does not own."""
    return wanted.source.startswith(CODE) and not seen.source.startswith(CODE)


def _is_same(seen: Schedule, wanted: Definition) -> bool:
    task = wanted.submission
    before: list[object] = [seen.timing, seen.policy, seen.jitter_seconds, seen.source]
    after: list[object] = [wanted.timing, wanted.policy, wanted.jitter_seconds, wanted.source]
    fields = ("type", "queue", "payload", "headers", "priority", "max_attempts", "timeout_seconds")
    before += [getattr(seen, field) for field in fields]
    after += [getattr(task, field) for field in fields]
    before += [seen.limit_name, seen.concurrency_key]
    after += [task.limit, task.concurrency_key]
    return before == after and same_labels(seen.labels, task.labels)


__all__ = [
    "CODE",
    "Run",
    "Schedules",
    "check_definition",
    "check_policy",
    "no_schedule",
    "read_runs",
]
