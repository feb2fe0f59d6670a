"""Read the facts about one task from both stores.

Postgres alone suffices for a sentence: where Redis does not answer in time, that is a fact itself.
The number of statements and commands is fixed, and the work of each has a bound. Nothing is written,
and no row is locked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext

from msgspec.structs import replace

from leaseq.config import Config
from leaseq.dispatch.delivery_search import DeliverySearch, DispatchFacts
from leaseq.errors import ServerUnreachable, TaskNotFound
from leaseq.ledger.failures import FailureLedger, FailureSummary
from leaseq.ledger.operation_log import OperationLog
from leaseq.ledger.services import ServiceLedger
from leaseq.ledger.session import Session
from leaseq.ledger.statistics import StatisticsLedger
from leaseq.ledger.task_facts import OpenWorker, Situation, TaskFacts
from leaseq.metrics.percentiles import percentile
from leaseq.model import TERMINAL, State, TaskSummary
from leaseq.operations.why.facts import Facts, Rules, UsualRun
from leaseq.operations.why.wording import code_of, fields_of
from leaseq.safe_text.fingerprint import HARMLESS, of_code

# A frozen Redis must not delay the part that comes from the ledger.
DISPATCH_SECONDS = 2.0
MOST_OPERATIONS = 5
# The usual run time of a type is that of the last day, and of so many attempts at least.
USUAL_HOURS = 24
FEWEST_RUNS = 20

Turn = Callable[[], AbstractAsyncContextManager[None]]


class FactReader:
    """Reads facts on one session of Postgres. `turn`: within which each series of statements
    runs."""

    def __init__(
        self, session: Session, search: DeliverySearch, config: Config, *, turn: Turn = nullcontext
    ) -> None:
        self._ledger = TaskFacts(session)
        self._services = ServiceLedger(session)
        self._statistics = StatisticsLedger(session)
        self._operations = OperationLog(session)
        self._failures = FailureLedger(session)
        self._search = search
        self._turn = turn
        self._rules = Rules(
            lease_seconds=config.lease_seconds, retention_seconds=config.task_retention_seconds
        )

    async def read(
        self, task_id: str, *, tenant: str | None, key: str | None, key_tenant: str
    ) -> Facts:
        """Read the facts about a task of this tenant (None: of any). With an idempotency key of
        `key_tenant` that stands for it, also about a task that was pruned.

        Raises `TaskNotFound`, and `ServerUnreachable` where Postgres does not answer.
        """
        async with self._turn():
            situation = await self._ledger.find_situation(task_id, tenant=tenant)
            if situation is None:
                return await self._read_remembered(task_id, key=key, key_tenant=key_tenant)
            failure = await self._read_failure(situation.task, tenant=tenant)
            if situation.task.state in TERMINAL:
                return replace(await self._read_ended(situation), failure=failure)
            facts = replace(await self._read_waiting(situation), failure=failure)
        facts = await self._add_dispatch(facts)
        if situation.task.state is State.PENDING and facts.dispatch is not None:
            async with self._turn():
                facts = await self._add_estimates(facts, facts.dispatch)
        return facts

    async def _read_remembered(self, task_id: str, *, key: str | None, key_tenant: str) -> Facts:
        found = (
            None
            if key is None
            else await self._ledger.find_remembered(task_id, tenant=key_tenant, key=key)
        )
        if found is None:
            raise TaskNotFound(f"there is no task {task_id}")
        return Facts(now=found.now, rules=self._rules, remembered=found)

    async def _read_ended(self, situation: Situation) -> Facts:
        task = situation.task
        retention = await self._ledger.find_retention(task.type)
        rules = self._rules
        if retention is not None:
            rules = replace(rules, retention_seconds=retention)
        return replace(await self._read_history(situation), rules=rules)

    async def _read_history(self, situation: Situation) -> Facts:
        task = situation.task
        operations = await self._operations.list_on_task(
            task.task_id, tenant=task.tenant, limit=MOST_OPERATIONS
        )
        return Facts(
            now=situation.now,
            rules=self._rules,
            task=task,
            queue=situation.queue,
            last_attempt=await self._ledger.find_last_attempt(task.task_id)
            if task.attempt
            else None,
            operations=operations,
        )

    async def _read_waiting(self, situation: Situation) -> Facts:
        task, ledger = situation.task, self._ledger
        history = await self._read_history(situation)
        servers = await ledger.list_servers(task.queue, task.type)
        serving = any(worker.serves for worker in servers)
        return replace(
            history,
            worker=None if task.worker_id is None else await ledger.find_worker(task.worker_id),
            servers=servers,
            last_server=None if serving else await ledger.find_last_server(task.queue),
            services=await self._services.list_services(),
            lockers=await ledger.find_lockers(task.task_id),
            usual=None if task.worker_id is None else await self._read_usual(task),
            line=await ledger.read_line(task.task_id) if task.in_line else None,
        )

    async def _read_failure(
        self, task: TaskSummary, *, tenant: str | None
    ) -> FailureSummary | None:
        """The group of the last failure of a task, unless it has ended in another way."""
        fingerprint = _fingerprint_of(task)
        if fingerprint is None:
            return None
        return await self._failures.summarize(task.type, fingerprint, tenant=tenant)

    async def _read_usual(self, task: TaskSummary) -> UsualRun | None:
        runs = await self._statistics.sum_runs(task.queue, task.type, hours=USUAL_HOURS)
        p95, p99 = percentile(runs, 0.95), percentile(runs, 0.99)
        if p95 is None or p99 is None or sum(runs) < FEWEST_RUNS:
            return None
        return UsualRun(sum(runs), p95, p99)

    async def _add_dispatch(self, facts: Facts) -> Facts:
        task = facts.task
        assert task is not None
        try:
            found = await self._search.find(
                task.queue,
                task.task_id,
                lane=facts.lane,
                worker_ids=_holders(task.worker_id, facts.servers),
                seconds=DISPATCH_SECONDS,
            )
        except ServerUnreachable as error:
            return replace(facts, dispatch=None, dispatch_error=str(error))
        return replace(facts, dispatch=found)

    async def _add_estimates(self, facts: Facts, dispatch: DispatchFacts) -> Facts:
        """The pace of its queue, and the part of a backlog before it."""
        task = facts.task
        assert task is not None
        if dispatch.place is None and dispatch.backlog_since is None:
            return facts
        before = None
        if dispatch.place is None and dispatch.backlog_cursor is not None:
            before = await self._ledger.count_before(
                task.task_id,
                queue=task.queue,
                priority=task.priority,
                first=dispatch.backlog_cursor,
            )
        pace = await self._ledger.measure_pace(task.queue, dispatch.heads)
        return replace(facts, pace=pace, backlog_before=before)


def _fingerprint_of(task: TaskSummary) -> str | None:
    """The fingerprint of the error of a task that is FAILED or goes on after a failure."""
    code = code_of(task.error)
    is_over = task.state in TERMINAL and task.state is not State.FAILED
    if is_over or not code or code in HARMLESS:
        return None
    fields = fields_of(task.error)
    return str(fields.get("fingerprint") or of_code(code, str(fields.get("type") or "")))


def _holders(worker_id: str | None, servers: Sequence[OpenWorker]) -> list[str]:
    """The workers whose lists may hold a task, the one that runs it first."""
    serving = [worker.worker_id for worker in servers if worker.serves]
    first = [] if worker_id is None else [worker_id]
    return [*first, *(each for each in serving if each != worker_id)]


__all__ = ["DISPATCH_SECONDS", "FactReader", "Turn"]
