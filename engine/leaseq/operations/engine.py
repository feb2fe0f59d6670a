"""The engine: submissions and operator commands on ledger and dispatch.

The ledger is written first and decides. Dispatch is written afterwards, and that may fail.
`open_engine` (open_engine.py) is the only way to an engine.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from operator import attrgetter
from typing import Any

from leaseq.config import Config
from leaseq.connections.primary import primary_at
from leaseq.dispatch.queue_lists import Depths
from leaseq.dispatch.worker_holdings import Holding
from leaseq.errors import ServerUnreachable
from leaseq.failpoints import reach
from leaseq.fair_turns import FairTurns
from leaseq.gather import Gatherer
from leaseq.ledger.cluster import MeasuredCluster
from leaseq.ledger.dead_letters import CountedLetters
from leaseq.ledger.followed import FollowedTask
from leaseq.ledger.notices import NoticeFilter, NoticeListing
from leaseq.ledger.operation_log import Actor, OperationFilter, OperationListing
from leaseq.ledger.server import ServerSettings, read_server_settings
from leaseq.ledger.services import Role, ServiceRecord
from leaseq.ledger.session import Connection
from leaseq.ledger.statistics import Reporter
from leaseq.metrics.tally import TALLY, Tally
from leaseq.model import QueueRecord, State, Submission, Submitted, WorkerRecord
from leaseq.observability.telemetry import emit, listening
from leaseq.observability.tracing import Tracing
from leaseq.operations.access import Access
from leaseq.operations.admissions import Admissions
from leaseq.operations.announcement import announced
from leaseq.operations.bulk.bulk_operations import BulkOperations
from leaseq.operations.bulk.bulk_operator import BulkOperator
from leaseq.operations.bulk.bulk_runner import BulkRunner
from leaseq.operations.census import CensusTaker
from leaseq.operations.feed import Feed
from leaseq.operations.follow import Follower
from leaseq.operations.held_keys import HeldKeys
from leaseq.operations.known_types import KnownTypes
from leaseq.operations.life.facts import LifeFacts
from leaseq.operations.life.read_life import read_life
from leaseq.operations.lists import Lists
from leaseq.operations.notices import noticed
from leaseq.operations.operator import Operator
from leaseq.operations.overview.read_overview import OverviewReader
from leaseq.operations.push import Pusher
from leaseq.operations.queue_limits import QueueLimits
from leaseq.operations.quotas import Quotas
from leaseq.operations.recover import WorkerRecovery
from leaseq.operations.refusals import Refusals
from leaseq.operations.running import RunningReader
from leaseq.operations.schedules import Schedules
from leaseq.operations.statistics.flush import flushing
from leaseq.operations.statistics.read import Statistics, Window, read_statistics
from leaseq.operations.stores import Stores
from leaseq.operations.submit import KeyHeld, Submitter, keys_differ, report_submitted
from leaseq.operations.tenant_client import TenantClient
from leaseq.operations.traced_losses import TracedLosses
from leaseq.operations.traced_submissions import Submissions, TracedSubmissions
from leaseq.operations.wait import Waiter
from leaseq.operations.why.answer import Why
from leaseq.operations.why.explain import explain
from leaseq.operations.why.facts import Facts
from leaseq.operations.why.read_facts import FactReader

BATCH_SIZE = 500
# Single submissions of one tenant that wait for a batch; more of them wait before.
CAPACITY = 2_500
# Chunks of a large batch that are sent while another one is being written, so that client and
# Postgres do not wait for each other.
AHEAD = 1
# Chunks of all large batches that are written at the same time. Single submissions need a connection, too.
CHUNKS_AT_ONCE = 3


class Engine:
    """Operations on both stores, for clients, operators and the parts of leaseq outside
    `operations/`."""

    def __init__(self, config: Config, stores: Stores, *, tracing: Tracing | None = None) -> None:
        self.config = config
        self.stores = stores
        self.tracing = tracing
        # Programs and routes submit by this. Without tracing it adds no call.
        self.submissions: Submissions = (
            self if tracing is None else TracedSubmissions(self, tracing)
        )
        self.pusher = Pusher(stores.dispatcher)
        self.admissions = Admissions(stores.limits, stores.tasks, self.pusher)
        self.waiter = Waiter(stores.followed)
        self.follower = Follower(stores.followed, self.waiter)
        self.feed = Feed(stores.followed)
        self.recovery = WorkerRecovery(
            config=config,
            ledger=stores.tasks,
            workers=stores.workers,
            dispatcher=stores.dispatcher,
            leases=stores.leases,
            ownership=stores.ownership,
        )
        if tracing is not None:
            self.recovery.trace(TracedLosses(stores.tasks, stores.held_attempts, tracing))
        self.access = Access(stores.api_keys, stores.tenants, stores.secrets)
        self.quotas = Quotas(stores.quotas, stores.tasks)
        self.failures = stores.failures
        self.schedules = Schedules(stores, self.pusher, self.admissions, config)
        self.limits = stores.limits
        self.queue_limits = QueueLimits(stores.queue_limits)
        self.bulk = BulkOperations(stores.bulk_operations)
        self.bulk_runner = BulkRunner(stores.bulk_operations, stores.tasks)
        self.census = CensusTaker(stores.census)
        self._submitter = Submitter(
            stores.tasks, retention_seconds=config.idempotency_retention_seconds
        )
        self._gatherer: Gatherer[Submission, Submitted] = Gatherer(
            self._submitter.write_hastily,
            batch_size=BATCH_SIZE,
            capacity=CAPACITY,
            owner_of=attrgetter("tenant"),
        )
        self._chunks = FairTurns(CHUNKS_AT_ONCE)
        self._held_keys = HeldKeys(self._submitter)
        self._refusals = Refusals()
        self._tally = TALLY

    @property
    def takes_no_writes(self) -> bool:
        """Whether the server behind the URL of Postgres answers, and takes no writes."""
        return primary_at(str(self.config.postgres_url)).read_only

    async def submit(self, submission: Submission) -> Submitted:
        """Record one task (gathered with others that come at the same time) and let it be
        delivered.

        Returns once it is committed. Raises `IdempotencyKeyReused`, `IdempotencyInFlight`,
        `ServerUnreachable`.
        """
        if self.queue_limits.of:
            submission = self.queue_limits.bind(submission)
        if submission.idempotency_key is not None and self._held_keys.knows(submission):
            submitted = await self._held_keys.submit(submission)
        else:
            try:
                submitted = await self._gatherer.add(submission)
            except KeyHeld:  # by an open transaction, which the batch did not wait for
                submitted = await self._held_keys.submit(submission)
        reach("submit.committed")
        self._deliver([(submission, submitted)])
        return submitted

    async def submit_many(self, batch: Sequence[Submission]) -> list[Submitted | BaseException]:
        """Record many tasks, a chunk in one transaction; one answer for each, in order.

        The next chunk is on its way while one is being written, unless they share a key: then the
        first one has it. Where this raises, some of the chunks may be recorded.
        """
        batch = self.queue_limits.bind_all(batch)
        if 0 < len(batch) <= BATCH_SIZE:
            return await self._submit_chunk(batch)
        chunks = [batch[start : start + BATCH_SIZE] for start in range(0, len(batch), BATCH_SIZE)]
        ahead = AHEAD if keys_differ(batch) else 0
        answers: list[Submitted | BaseException] = []
        under_way: deque[asyncio.Task[list[Submitted | BaseException]]] = deque()
        try:
            for chunk in chunks:
                under_way.append(asyncio.create_task(self._submit_chunk(chunk)))
                if len(under_way) > ahead:
                    answers += await under_way.popleft()
            while under_way:
                answers += await under_way.popleft()
        finally:
            await asyncio.gather(*under_way, return_exceptions=True)
        return answers

    async def _submit_chunk(self, chunk: Sequence[Submission]) -> list[Submitted | BaseException]:
        async with self._chunks.turn(chunk[0].tenant):
            found = await self._submitter.write(chunk)
        self._deliver(
            [(s, a) for s, a in zip(chunk, found, strict=True) if isinstance(a, Submitted)]
        )
        return found

    async def submit_within(self, submission: Submission, conn: Connection) -> Submitted:
        """Record one task inside the caller's own transaction: it exists if and when that commits.

        It is SCHEDULED and due; promote delivers it a fraction of a second after the commit.
        """
        submission = self.queue_limits.bind(submission)
        (answer,) = await self._submitter.write([submission], conn=conn)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def for_tenant(self, tenant: str | None) -> TenantClient:
        """Bind a tenant: the client for the tasks of this tenant alone. None: of every tenant, for
        operators."""
        return TenantClient(
            tenant,
            ledger=self.stores.tasks,
            waiter=self.waiter,
            submit=self.submissions.submit,
            submit_within=self.submissions.submit_within,
            submit_many=self.submissions.submit_many,
        )

    def as_operator(self, actor: Actor) -> Operator:
        """The changes that a client or a person may make, each recorded under their name."""
        return Operator(
            actor,
            log=self.stores.operation_log,
            tasks=self.for_tenant(actor.tenant),
            access=self.access,
            pause=self.pause,
            refusals=self._refusals,
        )

    def as_bulk_operator(self, actor: Actor) -> BulkOperator:
        """The operations on many tasks that a client or a person may make."""
        return BulkOperator(self.as_operator(actor), self.bulk)

    async def pause(
        self, queue: str, *, paused: bool, by: str | None = None, reason: str | None = None
    ) -> QueueRecord:
        """Pause or resume a queue: in the ledger, then (best effort, repaired by the reconciler) in
        dispatch."""
        record = await self.stores.queues.pause(queue, paused=paused, by=by, reason=reason)
        try:
            await self.stores.pause_flags.set(queue, paused=paused)
        except ServerUnreachable as error:
            emit("push.failed", queue=queue, count=0, error=str(error))
        emit("queue.paused" if paused else "queue.resumed", queue=queue)
        return record

    async def list_queues(self) -> list[QueueRecord]:
        """Read every known queue."""
        return await self.stores.queues.list_queues()

    async def list_workers(self, *, closed: bool = False, limit: int = 200) -> list[WorkerRecord]:
        """Read the open workers, newest first, and with `closed` those that have ended too."""
        return await self.stores.workers.list_workers(closed=closed, limit=limit)

    async def list_services(self) -> list[ServiceRecord]:
        """Read the processes that have announced themselves, by role."""
        return await self.stores.services.list_services()

    async def list_operations(
        self, wanted: OperationFilter, *, tenant: str | None
    ) -> OperationListing:
        """Read one page of recorded changes, newest first."""
        return await self.stores.operation_log.list_operations(wanted, tenant=tenant)

    async def list_notices(self, wanted: NoticeFilter) -> NoticeListing:
        """Read one page of the diary, newest first."""
        return await self.stores.notices.list_notices(wanted)

    async def count_dead_letters(self, *, tenant: str | None, limit: int) -> list[CountedLetters]:
        """Count the dead letters of a tenant (None: of all) by queue and type, the most first."""
        return await self.stores.dead_letters.count(tenant=tenant, limit=limit)

    async def find_followed(self, task_ids: Sequence[str]) -> dict[str, FollowedTask]:
        """Read the part of tasks that changes, of any tenant, without their payloads."""
        return await self.stores.followed.find_followed(task_ids) if task_ids else {}

    async def count_deliveries(self, queues: Sequence[str], *, seconds: float) -> dict[str, Depths]:
        """Count the deliveries of queues, within `seconds`. One that was not read is left out."""
        return await self.stores.lists.depths_of(queues, seconds=seconds)

    async def find_holdings(
        self, workers: Sequence[WorkerRecord], *, seconds: float
    ) -> dict[str, Holding] | None:
        """Find the lease of each of these workers, and the tasks that it holds. None: Redis did not
        answer within `seconds`."""
        queues = {worker.worker_id: worker.queues for worker in workers}
        return await self.stores.holdings.of(queues, seconds=seconds)

    def announced(
        self, role: Role, describe: Callable[[], dict[str, Any]] = dict
    ) -> AbstractAsyncContextManager[object]:
        """Announce this process in the ledger, and record its notices, for as long as the block
        lasts. `describe` returns a small JSON object from memory."""
        return self._announced(role, describe)

    @asynccontextmanager
    async def _announced(
        self, role: Role, describe: Callable[[], dict[str, Any]]
    ) -> AsyncIterator[None]:
        async with (
            noticed(self.stores.notices, role),
            announced(self.stores.services, role, describe),
        ):
            yield

    async def read_life(self, task_id: str, *, tenant: str | None) -> LifeFacts:
        """Read the facts about the past of a task of this tenant. Raises `TaskNotFound`."""
        return await read_life(self.stores.tasks.session, task_id, tenant=tenant)

    async def statistics(
        self, window: Window, *, queue: str | None = None, type_name: str | None = None
    ) -> Statistics:
        """Read the statistics of a window that ends now, of all tenants."""
        ledger = self.stores.statistics
        return await read_statistics(ledger, window, queue=queue, type_name=type_name)

    def flushing_statistics(self, role: Reporter) -> AbstractAsyncContextManager[object]:
        """Write the counts of this process to the ledger for as long as the block lasts."""
        if role == "program":
            self._tally = Tally()  # a program may have several apps, each with its own ledger
        return flushing(self.stores.statistics, role, self._tally.series)

    async def read_facts(self, task_id: str, *, tenant: str, key: str | None = None) -> Facts:
        """Read the facts that `explain` needs about a task of this tenant; with its idempotency key
        also after it was pruned. Raises `TaskNotFound`."""
        reader = FactReader(self.stores.tasks.session, self.stores.search, self.config)
        return await reader.read(task_id, tenant=tenant, key=key, key_tenant=tenant)

    async def explain(self, task_id: str, *, tenant: str) -> Why:
        """Explain why a task of this tenant is where it is. Raises `TaskNotFound`."""
        return explain(await self.read_facts(task_id, tenant=tenant))

    def fact_reader(self, lists: Lists) -> FactReader:
        """A reader of the facts about tasks, within the share of lists."""
        return FactReader(lists.session, self.stores.search, self.config, turn=lists.turn)

    def overview_reader(self, lists: Lists | None = None) -> OverviewReader:
        """A reader of the state of the cluster; with `lists`, within the share of lists."""
        if lists is None:
            return OverviewReader(self.stores.tasks.session, self.stores, self.config)
        return OverviewReader(lists.session, self.stores, self.config, turn=lists.turn)

    def running_reader(self, lists: Lists) -> RunningReader:
        """A reader of the tasks that run, within the share of lists."""
        return RunningReader(lists.session, self.stores, turn=lists.turn)

    def known_types(self) -> KnownTypes:
        """An empty copy of the registered task types, which its owner refreshes."""
        return KnownTypes(self.stores.task_types)

    async def read_server_settings(self) -> ServerSettings:
        """Read the settings of Postgres that a promise rests on."""
        return await read_server_settings(self.stores.tasks.session)

    async def measure_cluster(self, *, queues: int) -> MeasuredCluster:
        """Measure at most so many queues, the workers and the tables, for metrics."""
        lease = self.config.lease_seconds
        return await self.stores.cluster.measure(queues=queues, lease_seconds=lease)

    async def measure_dispatch_memory(self) -> int | None:
        """The bytes of data in Redis; None if its user may not ask. Raises `ServerUnreachable`."""
        return await self.stores.dispatch_server.memory_bytes()

    async def check_dispatch(self) -> None:
        """Raise `ServerUnreachable` unless Redis answers."""
        await self.stores.dispatch_server.run_id()

    async def aclose(self) -> None:
        """Write the submissions that wait, and push the deliveries of those that are recorded."""
        await self._gatherer.aclose()
        await self.admissions.aclose()
        await self.pusher.aclose()
        await self.waiter.aclose()
        await self.feed.aclose()

    def _deliver(self, pairs: Sequence[tuple[Submission, Submitted]]) -> None:
        self.pusher.offer(
            [
                (answer.queue, answer.lane, answer.task_id)
                for _, answer in pairs
                if not answer.replayed and answer.state is State.PENDING
            ]
        )
        counts, queue, type_name = None, "", ""
        for submission, answer in pairs:
            # Neighbours mostly come from one call, and have one type.
            if counts is None or submission.type != type_name or answer.queue != queue:
                queue, type_name = answer.queue, submission.type
                counts = self._tally.of_task(queue, type_name)
                if submission.limit is not None:
                    self.admissions.ask([submission.limit])
            if answer.replayed:
                counts.replayed += 1
            else:
                counts.created += 1
        if listening("task.submitted"):
            report_submitted(pairs)


__all__ = ["BATCH_SIZE", "Engine"]
