"""The pages of the workers and of the other processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Response, get
from msgspec import Struct

from leaseq.ledger.services import ServiceRecord
from leaseq.model import Moment
from leaseq.operations.overview.answer import Overview, QueueStanding
from leaseq_api import parameters as given
from leaseq_api.fleet import HOLDINGS_SECONDS, WorkerId, read_worker
from leaseq_api.operate_schemas import WorkerView
from leaseq_api.security.principal import principal_of
from leaseq_api.service import Injected, Service
from leaseq_api.ui.page import AnyRequest, page
from leaseq_api.ui.pages.running import masked_running
from leaseq_api.views import worker_view

MOST_WORKERS = 200
# Columns of the matrix: workers that serve the same queues share one.
MOST_COLUMNS = 8
# Flags in the detail of a reaper (leaseq_reaper/sidecar.py).
NOTES = {
    "braked": "most workers are silent: it recovers none until it is sure",
    "quiet": "it cannot tell yet which workers are silent",
}


class Condition(Struct, frozen=True):
    """The state of a process in a word, and how good that is."""

    word: str
    kind: str


class ServiceRow(Struct, frozen=True, kw_only=True):
    """A supervisor, a reaper or an API. `slots` and `busy` are those of a supervisor."""

    service: ServiceRecord
    condition: Condition
    slots: int | None
    busy: int | None
    notes: list[str]


class WorkerRow(Struct, frozen=True, kw_only=True):
    """A worker."""

    worker: WorkerView
    condition: Condition


class Column(Struct, frozen=True, kw_only=True):
    """Workers that serve the same queues."""

    queues: frozenset[str]
    workers: int
    hosts: list[str]


class Coverage(Struct, frozen=True, kw_only=True):
    """Which workers serve each queue. `holes`: the queues that no worker serves."""

    columns: list[Column]
    rows: list[QueueStanding]
    holes: list[QueueStanding]
    more: bool


@get("/workers", scope="read", query=("closed",))
async def show_workers(
    request: AnyRequest, service: Injected, closed: given.Closed = False
) -> Response[str]:
    """Show the page of all processes."""
    overview = await service.overview.read(principal_of(request.scope))
    workers = await _list_workers(request, service, closed=closed)
    services = await service.lists.list_services()
    values = {
        "overview": overview,
        "at": overview.at,
        "closed": closed,
        "workers": [_worker_row(each, overview.at, service) for each in workers],
        "services": service_rows(services, workers, closed=closed),
        "coverage": coverage_of(overview, workers),
        "most": MOST_WORKERS,
    }
    return await page(request, service, "workers.html", title="Workers", values=values)


@get("/workers/{worker_id:str}", scope="read")
async def show_worker(request: AnyRequest, service: Injected, worker_id: WorkerId) -> Response[str]:
    """Show the page of one worker."""
    worker, principal = await read_worker(service, request, worker_id), principal_of(request.scope)
    running = await masked_running(request, service, worker_id=worker.worker_id)
    values = {
        "worker": worker,
        "at": running.at,
        "condition": condition_of(worker, running.at, service.config.lease_seconds),
        "running": running,
        "lease_seconds": service.config.lease_seconds,
        "diary": principal.tenant is None and principal.may("operate"),
    }
    return await page(request, service, "worker.html", title=worker.worker_id, values=values)


async def _list_workers(request: AnyRequest, service: Service, *, closed: bool) -> list[WorkerView]:
    found = await service.lists.list_workers(closed=closed, limit=MOST_WORKERS)
    alive = [each for each in found if each.closed_at is None]
    holdings = await service.engine.find_holdings(alive, seconds=HOLDINGS_SECONDS) or {}
    whole = principal_of(request.scope).tenant is None
    return [worker_view(each, holdings.get(each.worker_id), whole=whole) for each in found]


def condition_of(worker: WorkerView, at: Moment, lease_seconds: float) -> Condition:
    """The condition of a worker: open, silent for a lease, or closed."""
    if worker.closed_at is not None:
        return Condition("closed", "quiet")
    if (at - worker.last_seen).total_seconds() > lease_seconds:
        return Condition("silent", "bad")
    left = worker.lease_left_seconds
    return (
        Condition("lease over", "warn")
        if left is not None and left < 0
        else Condition("open", "good")
    )


def _worker_row(worker: WorkerView, at: Moment, service: Service) -> WorkerRow:
    condition = condition_of(worker, at, service.config.lease_seconds)
    return WorkerRow(worker=worker, condition=condition)


def service_rows(
    services: Sequence[ServiceRecord], workers: Sequence[WorkerView], *, closed: bool
) -> list[ServiceRow]:
    """The services, without those that have stopped unless `closed`."""
    held: Counter[tuple[str, int]] = Counter()
    unknown = set()
    for worker in workers:
        place = (worker.host, worker.pid)
        if worker.held_count is not None:
            held[place] += worker.held_count
        elif worker.closed_at is None:
            unknown.add(place)
    return [
        _service_row(each, None if (each.host, each.pid) in unknown else held[each.host, each.pid])
        for each in services
        if closed or each.ended_at is None
    ]


def _service_row(service: ServiceRecord, held: int | None) -> ServiceRow:
    detail: dict[str, Any] = msgspec.json.decode(service.detail)
    notes = [note for name, note in NOTES.items() if detail.get(name) is True]
    if failing := detail.get("failing"):
        notes.append(f"fails: {', '.join(map(str, failing))}")
    slots = detail.get("slots") if service.role == "supervisor" else None
    return ServiceRow(
        service=service,
        condition=_condition_of_service(service),
        slots=slots if isinstance(slots, int) else None,
        busy=None if slots is None or not service.is_alive else held,
        notes=notes,
    )


def _condition_of_service(service: ServiceRecord) -> Condition:
    if service.ended_at is not None:
        return Condition("stopped", "quiet")
    return Condition("runs", "good") if service.is_alive else Condition("silent", "bad")


def coverage_of(overview: Overview, workers: Sequence[WorkerView]) -> Coverage:
    """The matrix of queues and workers, queues that no worker serves first."""
    groups: dict[frozenset[str], list[str]] = {}
    for worker in workers:
        if worker.closed_at is None:
            groups.setdefault(frozenset(worker.queues), []).append(worker.host)
    columns = [
        Column(queues=queues, workers=len(hosts), hosts=sorted(set(hosts)))
        for queues, hosts in sorted(groups.items(), key=lambda item: -len(item[1]))
    ]
    rows = sorted(overview.queues, key=lambda queue: (queue.workers > 0, queue.name))
    return Coverage(
        columns=columns[:MOST_COLUMNS],
        rows=rows,
        holes=[queue for queue in rows if queue.workers == 0],
        more=len(columns) > MOST_COLUMNS,
    )


HANDLERS = (show_workers, show_worker)

__all__ = ["HANDLERS", "condition_of", "coverage_of", "service_rows"]
