"""Read the overview from both stores.

Four statements and a fixed number of commands for each 100 queues, with any number of tasks.
While Redis is away the part of Postgres is answered alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import msgspec
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.dispatch.queue_lists import Depths
from leaseq.dispatch.worker_holdings import Holding
from leaseq.ledger.dead_letters import CountedLetters, DeadLetterLedger
from leaseq.ledger.fleet import FleetLedger, StandingFleet, StandingQueue
from leaseq.ledger.services import ServiceLedger, ServiceRecord
from leaseq.ledger.session import Session
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import WorkerRecord
from leaseq.operations.overview.answer import Fleet, LaneCounts, Overview, QueueStanding
from leaseq.operations.overview.needs import in_trouble, needs_of
from leaseq.operations.stores import Stores

# Queues and workers that are listed.
MOST_QUEUES = 200
MOST_WORKERS = 200
# Pairs of queue and type whose dead letters are counted. Of more of them no number is shown.
MOST_PAIRS = 500
# A frozen Redis must not delay the part that comes from the ledger.
DISPATCH_SECONDS = 1.0

Turn = Callable[[], AbstractAsyncContextManager[None]]


class OverviewReader:
    """Reads overviews on one session of Postgres. `turn`: within which each series of statements
    runs."""

    def __init__(
        self, session: Session, stores: Stores, config: Config, *, turn: Turn = nullcontext
    ) -> None:
        self._fleet = FleetLedger(session)
        self._services = ServiceLedger(session)
        self._workers = WorkerLedger(session)
        self._letters = DeadLetterLedger(session)
        self._stores = stores
        self._turn = turn
        self._lease_seconds = config.lease_seconds

    async def read(self) -> Overview:
        """The cluster as it is now, with every number. Raises `ServerUnreachable` where Postgres
        does not answer."""
        async with self._turn():
            standing = await self._fleet.read(
                limit=MOST_QUEUES + 1, lease_seconds=self._lease_seconds
            )
            services = await self._services.list_services()
            workers = await self._workers.list_workers(closed=False, limit=MOST_WORKERS)
            letters = await self._letters.count(tenant=None, limit=MOST_PAIRS + 1)
        dead = _dead_by_queue(letters)
        more = len(standing.queues) > MOST_QUEUES
        listed = standing.queues[:MOST_QUEUES]
        names = [queue.name for queue in listed]
        depths = await self._stores.lists.depths_of(names, seconds=DISPATCH_SECONDS)
        held = await self._stores.holdings.of(
            {each.worker_id: each.queues for each in workers}, seconds=DISPATCH_SECONDS
        )
        slots = _slots_by_queue(services)
        queues = [_standing(queue, depths.get(queue.name), slots, dead) for queue in listed]
        overview = Overview(
            at=standing.now,
            redis="away" if held is None or (names and not depths) else "up",
            needs=[],
            fleet=_fleet(standing, services, held, workers),
            dead=None if dead is None else dead.total(),
            queues=queues,
            more_queues=more,
        )
        needs = needs_of(overview)
        queues.sort(key=lambda queue: (not in_trouble(queue, needs), queue.name))
        return replace(overview, needs=needs)


def for_tenant(overview: Overview) -> Overview:
    """The same, for a request that is bound to a tenant: without the numbers in which tasks of other
    tenants count, and without the names of other actors."""
    queues = [
        replace(queue, paused_by=None, overdue_seconds=None, dead=None, lanes=None)
        for queue in sorted(overview.queues, key=lambda queue: queue.name)
    ]
    seen = replace(overview, queues=queues, dead=None, fleet=replace(overview.fleet, busy=None))
    return replace(seen, needs=needs_of(seen))


def _standing(
    queue: StandingQueue,
    depths: Depths | None,
    slots: Counter[str],
    dead: Counter[str] | None,
) -> QueueStanding:
    return QueueStanding(
        name=queue.name,
        paused=queue.paused,
        paused_by=queue.paused_by,
        paused_reason=queue.paused_reason,
        paused_at=queue.paused_at,
        workers=queue.workers,
        slots=slots.get(queue.name, None if queue.workers else 0),
        overdue_seconds=queue.overdue_seconds,
        dead=None if dead is None else dead[queue.name],
        lanes=None if depths is None else _lanes(depths),
    )


def _dead_by_queue(letters: Sequence[CountedLetters]) -> Counter[str] | None:
    """The number of dead letters of each queue. None: there are too many pairs to count all."""
    if len(letters) > MOST_PAIRS:
        return None
    found: Counter[str] = Counter()
    for each in letters:
        found[each.queue] += each.count
    return found


def _lanes(depths: Depths) -> LaneCounts:
    return LaneCounts(
        waiting=depths.waiting,
        high=depths.high,
        normal=depths.normal,
        low=depths.low,
        suspect=depths.suspect,
        parked=depths.parked,
        backlog_since=depths.backlog_since,
        oldest_at=depths.oldest_at,
    )


def _fleet(
    standing: StandingFleet,
    services: Sequence[ServiceRecord],
    held: dict[str, Holding] | None,
    workers: Sequence[WorkerRecord],
) -> Fleet:
    alive = Counter(each.role for each in services if each.is_alive)
    reapers = [each.silent_seconds for each in services if each.role == "reaper"]
    return Fleet(
        workers=standing.open,
        workers_silent=standing.silent,
        slots=sum(_slots(each) for each in services if _serves(each)),
        busy=None if held is None else sum(held[each.worker_id].count for each in workers),
        supervisors=alive["supervisor"],
        reapers=alive["reaper"],
        apis=alive["api"],
        reaper_silent_seconds=min(reapers, default=None),
    )


def _slots_by_queue(services: Sequence[ServiceRecord]) -> Counter[str]:
    found: Counter[str] = Counter()
    for service in services:
        if _serves(service):
            for queue in _detail(service).get("queues", ()):
                found[queue] += _slots(service)
    return found


def _serves(service: ServiceRecord) -> bool:
    return service.role == "supervisor" and service.is_alive


def _slots(service: ServiceRecord) -> int:
    slots = _detail(service).get("slots", 0)
    return slots if isinstance(slots, int) else 0


def _detail(service: ServiceRecord) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(service.detail)
    return found


__all__ = ["MOST_QUEUES", "OverviewReader", "for_tenant"]
