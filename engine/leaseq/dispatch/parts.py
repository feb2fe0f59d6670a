"""The parts of dispatch, each with a noun of its own, over one client."""

from __future__ import annotations

from msgspec import Struct
from redis.asyncio import Redis

from leaseq.config import DISPATCH_WINDOW
from leaseq.dispatch.delivery_search import DeliverySearch
from leaseq.dispatch.dispatch_server import DispatchServer
from leaseq.dispatch.dispatcher import Dispatcher
from leaseq.dispatch.keys import Keys
from leaseq.dispatch.lane_backlogs import LaneBacklogs
from leaseq.dispatch.leases import WorkerLeases
from leaseq.dispatch.pause_flags import PauseFlags
from leaseq.dispatch.queue_lists import QueueLists
from leaseq.dispatch.worker_holdings import WorkerHoldings


class DispatchParts(Struct, frozen=True, kw_only=True):
    """Dispatch as one process sees it."""

    dispatcher: Dispatcher
    leases: WorkerLeases
    lists: QueueLists
    lane_backlogs: LaneBacklogs
    pause_flags: PauseFlags
    dispatch_server: DispatchServer
    holdings: WorkerHoldings
    search: DeliverySearch


def parts_over(
    client: Redis, keys: Keys, *, window: int = DISPATCH_WINDOW, repairs: bool = True
) -> DispatchParts:
    """All parts, over one client. With `repairs` false, for a process that only reads, the parts
    that read dispatch as a whole remove no key of another type."""
    lane_backlogs = LaneBacklogs(client, keys, repairs=repairs)
    leases = WorkerLeases(client, keys)
    lists = QueueLists(client, keys, lane_backlogs, repairs=repairs)
    return DispatchParts(
        dispatcher=Dispatcher(client, keys, window=window),
        leases=leases,
        lists=lists,
        lane_backlogs=lane_backlogs,
        pause_flags=PauseFlags(client, keys),
        dispatch_server=DispatchServer(client, keys, repairs=repairs),
        holdings=WorkerHoldings(leases, lists),
        search=DeliverySearch(lists, leases, lane_backlogs, window=window),
    )


__all__ = ["DispatchParts", "parts_over"]
