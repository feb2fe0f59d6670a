"""Lists for clients and operators, which must not hold up submissions.

A list reads much more than a submission does, and any number of clients may ask for lists. So a
process that serves clients reads lists on a few separate connections, which cannot write and have a
short time-out, and looks at a bounded number of tasks for each page. A caller waits for its turn for
a moment, and then gets `ListsBusy` (docs/decisions/0032-lists-have-a-share.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from msgspec.structs import replace

from leaseq.config import Config
from leaseq.connections.postgres import open_reading_pool
from leaseq.errors import ListsBusy
from leaseq.ledger.bulk_operations import (
    BulkAction,
    BulkFilter,
    BulkOperationLedger,
    Preview,
)
from leaseq.ledger.coming_tasks import ComingTaskLedger
from leaseq.ledger.failures import (
    FailedAttempt,
    FailureFilter,
    FailureGroup,
    FailureLedger,
    FailurePage,
)
from leaseq.ledger.fleet import FleetLedger
from leaseq.ledger.followed import FollowedTasks
from leaseq.ledger.limits import Limit, LimitKey, LimitLedger, LimitTask, QueueWait
from leaseq.ledger.notices import Mark, NoticeFilter, NoticeLedger, NoticeListing
from leaseq.ledger.operation_log import OperationFilter, OperationListing, OperationLog
from leaseq.ledger.queues import QueueLedger
from leaseq.ledger.schedules import ScheduleLedger
from leaseq.ledger.services import ServiceLedger, ServiceRecord
from leaseq.ledger.session import MARGIN_SECONDS, Session
from leaseq.ledger.statistics import StatisticsLedger
from leaseq.ledger.task_lists import Contents, Listing, SlowTask, TaskFilter, TaskLists
from leaseq.ledger.task_types import RegisteredType, TypeLedger, TypeVersion
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import AttemptRecord, QueueRecord, WorkerRecord
from leaseq.operations.bulk.bulk_operations import BulkOperations
from leaseq.operations.due import Due, read_due
from leaseq.operations.schedules import no_schedule, read_runs
from leaseq.operations.statistics.read import Statistics, Window, read_statistics
from leaseq.schedules.schedule import Schedule, ScheduleRun

# Lists that are read at the same time, each on a separate connection.
SHARE = 2
# How long a caller waits for its turn, and how long one statement may take.
WAIT_SECONDS = 2.0
STATEMENT_SECONDS = 2.0
# Types of one worker that are listed.
MOST_TYPES = 100
# Versions of one type that are listed.
MOST_VERSIONS = 20


class Lists:
    """Reads lists, a few at a time."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._tasks = TaskLists(session)
        self._failures = FailureLedger(session)
        self._queues = QueueLedger(session)
        self._workers = WorkerLedger(session)
        self._operations = OperationLog(session)
        self._notices = NoticeLedger(session)
        self._types = TypeLedger(session)
        self._statistics = StatisticsLedger(session)
        self._bulk = BulkOperations(BulkOperationLedger(session))
        self._services = ServiceLedger(session)
        self._fleet = FleetLedger(session)
        self._coming = ComingTaskLedger(session)
        self._limits = LimitLedger(session)
        self._schedules = ScheduleLedger(session)
        self._followed = FollowedTasks(session)
        self._share = asyncio.Semaphore(SHARE)

    async def list_tasks(self, wanted: TaskFilter, *, tenant: str | None) -> Listing:
        """One page of tasks, newest first, without their payloads and results. Raises `ListsBusy`,
        as all of these do."""
        async with self.turn():
            return await self._tasks.list_tasks(wanted, tenant=tenant)

    async def list_attempts(self, task_id: str, *, tenant: str | None) -> list[AttemptRecord]:
        """The attempts of a task that did not succeed."""
        async with self.turn():
            return await self._tasks.list_attempts(task_id, tenant=tenant)

    async def find_contents(
        self, task_ids: Sequence[str], *, tenant: str | None
    ) -> dict[str, Contents]:
        """Payloads, results and progress of the tasks of one page, where they are small."""
        async with self.turn():
            return await self._tasks.find_contents(task_ids, tenant=tenant)

    async def list_slowest(
        self, type_name: str, *, tenant: str | None, limit: int
    ) -> list[SlowTask]:
        """The tasks of a type that ran longest, among the newest of all types."""
        async with self.turn():
            return await self._tasks.list_slowest(type_name, tenant=tenant, limit=limit)

    async def sum_runs(self, queue: str, type_name: str, *, hours: int) -> list[int]:
        """The histogram of the run times of a type in a queue, of all tenants."""
        async with self.turn():
            return await self._statistics.sum_runs(queue, type_name, hours=hours)

    async def list_failures(self, wanted: FailureFilter, *, tenant: str | None) -> FailurePage:
        """One page of the groups of failures of a tenant (None: of all), the newest first."""
        async with self.turn():
            return await self._failures.list_groups(wanted, tenant=tenant)

    async def find_failure(
        self, type_name: str, fingerprint: str, *, tenant: str | None
    ) -> FailureGroup | None:
        """One group of failures, or None."""
        async with self.turn():
            return await self._failures.find_group(type_name, fingerprint, tenant=tenant)

    async def list_failed_attempts(
        self, type_name: str, fingerprint: str, *, tenant: str | None
    ) -> list[FailedAttempt]:
        """The newest attempts of a group of failures."""
        async with self.turn():
            return await self._failures.list_attempts(type_name, fingerprint, tenant=tenant)

    async def list_queues(self, *, after: str, limit: int) -> list[QueueRecord]:
        """The next known queues by name."""
        async with self.turn():
            return await self._queues.list_queues(after=after, limit=limit)

    async def list_workers(self, *, closed: bool, limit: int) -> list[WorkerRecord]:
        """Workers, newest first."""
        async with self.turn():
            return await self._workers.list_workers(closed=closed, limit=limit)

    async def find_worker(
        self, worker_id: str
    ) -> tuple[WorkerRecord, list[tuple[str, str]]] | None:
        """One worker, and the types that it runs, each with its version. None: it is not known."""
        async with self.turn():
            worker = await self._workers.find_worker(worker_id)
            if worker is None:
                return None
            return worker, await self._fleet.list_worker_types(worker_id, limit=MOST_TYPES)

    async def list_services(self) -> list[ServiceRecord]:
        """The processes that have announced themselves, by role."""
        async with self.turn():
            return await self._services.list_services()

    async def due(self, *, tenant: str | None, contents: bool) -> Due:
        """The SCHEDULED tasks of the next hour."""
        async with self.turn():
            return await read_due(self._coming, tenant=tenant, contents=contents)

    async def find_type(self, name: str) -> tuple[RegisteredType, list[TypeVersion]] | None:
        """One task type and its versions, the newest first. None: it is not registered."""
        async with self.turn():
            found = await self._types.find_type(name)
            if found is None:
                return None
            return found, await self._types.list_versions(name, limit=MOST_VERSIONS)

    async def list_types(self, *, after: str, limit: int) -> list[RegisteredType]:
        """The next registered task types by name."""
        async with self.turn():
            return await self._types.describe_types(after=after, limit=limit)

    async def list_operations(
        self, wanted: OperationFilter, *, tenant: str | None
    ) -> OperationListing:
        """One page of operations, newest first."""
        async with self.turn():
            return await self._operations.list_operations(wanted, tenant=tenant)

    async def statistics(
        self, window: Window, *, queue: str | None = None, type_name: str | None = None
    ) -> Statistics:
        """The statistics of a window that ends now, of all tenants."""
        async with self.turn():
            return await read_statistics(self._statistics, window, queue=queue, type_name=type_name)

    async def preview(
        self,
        action: BulkAction,
        wanted: BulkFilter,
        *,
        tenant: str | None,
        as_of: datetime | None = None,
    ) -> Preview:
        """The tasks that an operation on many tasks would change."""
        async with self.turn():
            return await self._bulk.preview(action, wanted, tenant=tenant, as_of=as_of)

    async def list_marks(self) -> list[Mark]:
        """The newest notices of each kind that is marked on charts, newest first."""
        async with self.turn():
            return await self._notices.list_marks()

    async def list_notices(self, wanted: NoticeFilter) -> NoticeListing:
        """One page of notices, newest first."""
        async with self.turn():
            return await self._notices.list_notices(wanted)

    async def list_schedules(
        self, *, tenant: str | None, after: tuple[str, str], limit: int
    ) -> list[Schedule]:
        """The next schedules by tenant and name, without their payloads."""
        async with self.turn():
            return await self._schedules.list_schedules(tenant=tenant, after=after, limit=limit)

    async def find_schedule(self, tenant: str, name: str) -> tuple[Schedule, list[ScheduleRun]]:
        """One schedule and its last runs. Raises `ScheduleNotFound`."""
        async with self.turn():
            found, _ = await self._schedules.find(tenant, name)
            if found is None:
                raise no_schedule(name)
            return found, await read_runs(self._followed, found)

    async def list_limits(self, *, after: str, limit: int, tenant: str | None) -> list[Limit]:
        """The next limits by name, with the numbers of a tenant, or of all."""
        async with self.turn():
            return await self._limits.list_limits(after=after, limit=limit, tenant=tenant)

    async def find_limit(
        self,
        name: str,
        *,
        tenant: str | None,
        keys: int,
        tasks: int,
        of_key: str | None = None,
        key: str | None = None,
    ) -> tuple[Limit, list[LimitKey], list[LimitTask]]:
        """One limit, its longest lines, and tasks: of one `key` of the tenant `of_key`, or of all.
        Raises `LimitNotFound`."""
        async with self.turn():
            found = await self._limits.find(name, tenant=tenant)
            lines = await self._limits.list_keys(name, tenant=tenant, limit=keys)
            return (
                found,
                lines,
                await self._limits.list_tasks(name, tenant=of_key or tenant, key=key, limit=tasks),
            )

    async def count_waits(self, queue: str, *, tenant: str | None) -> list[QueueWait]:
        """The limits that tasks of a queue wait for."""
        async with self.turn():
            return await self._limits.count_waits(queue, tenant=tenant)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """One of the turns of the share, for a few bounded statements. Raises `ListsBusy`."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._share.acquire()
        except TimeoutError:
            raise ListsBusy from None
        try:
            yield
        finally:
            self._share.release()


@asynccontextmanager
async def open_lists(config: Config, *, name: str) -> AsyncIterator[Lists]:
    """The share of lists of one process, for as long as the block lasts. Its connections are made
    when they are first needed."""
    seconds = min(STATEMENT_SECONDS, config.statement_timeout_seconds)
    config = replace(config, statement_timeout_seconds=seconds)
    pool = await open_reading_pool(config, name=name, max_size=SHARE)
    try:
        yield Lists(Session(pool, deadline_seconds=seconds + MARGIN_SECONDS))
    finally:
        await pool.close()


__all__ = ["Lists", "open_lists"]
