"""The stores: the parts of the ledger and of dispatch, as one process uses them."""

from __future__ import annotations

from msgspec import Struct

from leaseq.dispatch.delivery_search import DeliverySearch
from leaseq.dispatch.dispatch_server import DispatchServer
from leaseq.dispatch.dispatcher import Dispatcher
from leaseq.dispatch.lane_backlogs import LaneBacklogs
from leaseq.dispatch.leases import WorkerLeases
from leaseq.dispatch.ownership import Ownership
from leaseq.dispatch.parts import DispatchParts
from leaseq.dispatch.pause_flags import PauseFlags
from leaseq.dispatch.queue_lists import QueueLists
from leaseq.dispatch.worker_holdings import WorkerHoldings
from leaseq.ledger.api_keys import ApiKeyLedger
from leaseq.ledger.backlogs import BacklogLedger
from leaseq.ledger.bulk_operations import BulkOperationLedger
from leaseq.ledger.census import CensusLedger
from leaseq.ledger.cluster import ClusterLedger
from leaseq.ledger.dead_letters import DeadLetterLedger
from leaseq.ledger.due_tasks import DueTaskLedger
from leaseq.ledger.failures import FailureLedger
from leaseq.ledger.followed import FollowedTasks
from leaseq.ledger.held_attempts import HeldAttemptLedger
from leaseq.ledger.limits import LimitLedger
from leaseq.ledger.maintenance import Maintenance
from leaseq.ledger.notices import NoticeLedger
from leaseq.ledger.operation_log import OperationLog
from leaseq.ledger.queue_limits import QueueLimitLedger
from leaseq.ledger.queues import QueueLedger
from leaseq.ledger.quotas import QuotaLedger
from leaseq.ledger.schedules import ScheduleLedger
from leaseq.ledger.secrets import SecretLedger
from leaseq.ledger.services import ServiceLedger
from leaseq.ledger.session import Session
from leaseq.ledger.statistics import StatisticsLedger
from leaseq.ledger.task_lists import TaskLists
from leaseq.ledger.task_types import TypeLedger
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.tenants import TenantLedger
from leaseq.ledger.workers import WorkerLedger


class Stores(Struct, frozen=True, kw_only=True):
    """The two stores, as one process sees them."""

    # the parts of the ledger
    tasks: TaskLedger
    task_lists: TaskLists
    followed: FollowedTasks
    due_tasks: DueTaskLedger
    dead_letters: DeadLetterLedger
    task_types: TypeLedger
    queues: QueueLedger
    workers: WorkerLedger
    backlogs: BacklogLedger
    maintenance: Maintenance
    operation_log: OperationLog
    bulk_operations: BulkOperationLedger
    notices: NoticeLedger
    api_keys: ApiKeyLedger
    tenants: TenantLedger
    secrets: SecretLedger
    quotas: QuotaLedger
    services: ServiceLedger
    statistics: StatisticsLedger
    cluster: ClusterLedger
    census: CensusLedger
    failures: FailureLedger
    held_attempts: HeldAttemptLedger
    schedules: ScheduleLedger
    limits: LimitLedger
    queue_limits: QueueLimitLedger
    # the parts of dispatch
    dispatcher: Dispatcher
    leases: WorkerLeases
    lists: QueueLists
    lane_backlogs: LaneBacklogs
    pause_flags: PauseFlags
    dispatch_server: DispatchServer
    holdings: WorkerHoldings
    search: DeliverySearch
    ownership: Ownership


def stores_over(session: Session, dispatch: DispatchParts, *, ownership: Ownership) -> Stores:
    """The stores of one process, with every part of the ledger on one session."""
    return Stores(
        tasks=TaskLedger(session),
        task_lists=TaskLists(session),
        followed=FollowedTasks(session),
        due_tasks=DueTaskLedger(session),
        dead_letters=DeadLetterLedger(session),
        task_types=TypeLedger(session),
        queues=QueueLedger(session),
        workers=WorkerLedger(session),
        backlogs=BacklogLedger(session),
        maintenance=Maintenance(session),
        operation_log=OperationLog(session),
        bulk_operations=BulkOperationLedger(session),
        notices=NoticeLedger(session),
        api_keys=ApiKeyLedger(session),
        tenants=TenantLedger(session),
        secrets=SecretLedger(session),
        quotas=QuotaLedger(session),
        services=ServiceLedger(session),
        statistics=StatisticsLedger(session),
        cluster=ClusterLedger(session),
        census=CensusLedger(session),
        failures=FailureLedger(session),
        held_attempts=HeldAttemptLedger(session),
        schedules=ScheduleLedger(session),
        limits=LimitLedger(session),
        queue_limits=QueueLimitLedger(session),
        dispatcher=dispatch.dispatcher,
        leases=dispatch.leases,
        lists=dispatch.lists,
        lane_backlogs=dispatch.lane_backlogs,
        pause_flags=dispatch.pause_flags,
        dispatch_server=dispatch.dispatch_server,
        holdings=dispatch.holdings,
        search=dispatch.search,
        ownership=ownership,
    )


__all__ = ["Stores", "stores_over"]
