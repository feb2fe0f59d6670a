"""The pages Queues and Queue, with pause and resume.

A pause can be undone and shows its whole effect, so it takes one click. It is recorded as any
change of an operator is, once for each form.
"""

from __future__ import annotations

from contextlib import suppress

from litestar import Response, get, post

from leaseq.errors import LeaseqError
from leaseq.ledger.failures import FailureFilter, FailureGroup
from leaseq.ledger.limits import MOST_OF_LIMIT, QueueWait
from leaseq.operations.operator import Repeated
from leaseq.operations.overview.answer import Overview, QueueStanding
from leaseq.operations.overview.needs import oldest_seconds
from leaseq.operations.statistics.read import Figures, Statistics
from leaseq_api import parameters as given
from leaseq_api.refused import Refused
from leaseq_api.security.principal import (
    Principal,
    may_read_contents,
    principal_of,
    require_unbound,
)
from leaseq_api.service import Injected, Service
from leaseq_api.ui.answer import ROOT, see_other
from leaseq_api.ui.charts import line
from leaseq_api.ui.forms import OPERATION_ID, new_operation_id, operation_of, read_form
from leaseq_api.ui.page import AnyRequest, page, require_changes
from leaseq_api.ui.wording import age, number

MOST_WORKERS = 200
# Causes of failures of a queue, and the time in which they have occurred.
MOST_CAUSES, CAUSES_SECONDS = 5, 86_400.0
# Below this many in a second, a queue stands still.
STILL = 0.01
# The headline says it already.
UNSERVED = "LeaseqQueueUnserved"


@get("/queues", scope="read")
async def show_queues(request: AnyRequest, service: Injected) -> Response[str]:
    """Show the page of all queues."""
    overview = await service.overview.read(principal_of(request.scope))
    statistics = await statistics_of(request, service)
    values = {"overview": overview, "rates": rates_of(statistics)}
    return await page(request, service, "queues.html", title="Queues", values=values)


@get("/queues/{queue:str}", scope="read", query=("done",))
async def show_queue(
    request: AnyRequest, service: Injected, queue: given.QueueName
) -> Response[str]:
    """Show the page of one queue."""
    name, principal = given.check_queue_name(queue), principal_of(request.scope)
    overview = await service.overview.read(principal)
    found = next((each for each in overview.queues if each.name == name), None)
    if found is None:
        raise Refused("not_found", f"no queue {name} is known: it appears with a worker or a task")
    statistics = await statistics_of(request, service, queue=name)
    workers = await service.lists.list_workers(closed=False, limit=MOST_WORKERS)
    values = {
        "overview": overview,
        "queue": found,
        "needs": [need for need in overview.needs if need.queue == name and need.rule != UNSERVED],
        "headline": _headline(overview, found, statistics),
        "statistics": statistics,
        "charts": _charts(statistics),
        "workers": [worker for worker in workers if name in worker.queues],
        "failures": await causes_of(
            service,
            principal,
            FailureFilter(queue=name, window_seconds=CAUSES_SECONDS, limit=MOST_CAUSES),
        ),
        "waits": await _waits_of(service, principal, name),
        "most_of_limit": MOST_OF_LIMIT,
        "contents": may_read_contents(request.scope),
        "diary": principal.tenant is None and principal.may("operate"),
        "done": request.query_params.get("done"),
        "operation_id": new_operation_id(),
        "unbound": principal.tenant is None,
    }
    return await page(request, service, "queue.html", title=f"Queue {name}", values=values)


@post("/queues/{queue:str}/pause", scope="operate", status_code=200)
async def pause(request: AnyRequest, service: Injected, queue: given.QueueName) -> Response[str]:
    """Pause a queue."""
    name = await _check_change(request, service, queue)
    form = await read_form(request, (OPERATION_ID, "reason"))
    reason = form.get("reason", "").strip() or None
    with suppress(Repeated):
        await service.operator_of(request.scope).pause(
            name, reason=reason, request_id=operation_of(form)
        )
    return await _done(service, name, "paused")


@post("/queues/{queue:str}/resume", scope="operate", status_code=200)
async def resume(request: AnyRequest, service: Injected, queue: given.QueueName) -> Response[str]:
    """Resume a queue."""
    name = await _check_change(request, service, queue)
    form = await read_form(request, (OPERATION_ID,))
    with suppress(Repeated):
        await service.operator_of(request.scope).resume(name, request_id=operation_of(form))
    return await _done(service, name, "resumed")


async def statistics_of(
    request: AnyRequest, service: Service, *, queue: str | None = None
) -> Statistics | None:
    """The statistics of the last hour. None: the request is bound to a tenant, and they are those of
    all tenants, or they could not be read."""
    if principal_of(request.scope).tenant is None:
        with suppress(LeaseqError):
            return await service.statistics.read("1h", queue=queue)
    return None


async def causes_of(
    service: Service, principal: Principal, wanted: FailureFilter
) -> list[FailureGroup] | None:
    """A few causes of failures, with masked messages, read for all who look. None: not known."""

    async def read() -> list[FailureGroup]:
        found = await service.lists.list_failures(wanted, tenant=principal.tenant)
        return await service.redactor.mask_groups(found.groups, tenant=principal.tenant)

    with suppress(LeaseqError):
        return await service.reads.read((wanted, principal.tenant), read)
    return None


async def _waits_of(service: Service, principal: Principal, queue: str) -> list[QueueWait] | None:
    """The limits that tasks of a queue wait for, read for all who look. None: not known."""

    async def read() -> list[QueueWait]:
        return await service.lists.count_waits(queue, tenant=principal.tenant)

    with suppress(LeaseqError):
        return await service.reads.read(("waits", queue, principal.tenant), read)
    return None


async def _check_change(request: AnyRequest, service: Service, queue: str) -> str:
    require_changes(service)
    require_unbound(request.scope)
    return given.check_queue_name(queue)


async def _done(service: Service, name: str, word: str) -> Response[str]:
    service.overview.forget()
    return see_other(f"{ROOT}/queues/{name}?done={word}")


def rates_of(statistics: Statistics | None) -> dict[str, Figures]:
    """The figures of each queue in the last hour."""
    return {each.queue: each.figures for each in statistics.queues} if statistics else {}


def _headline(overview: Overview, queue: QueueStanding, statistics: Statistics | None) -> str:
    """One sentence about where the queue is going."""
    waiting = None if queue.lanes is None else queue.lanes.waiting
    if queue.paused:
        return "It is paused: submissions are accepted, and none of its tasks start."
    if waiting is None:
        return "The number of its waiting tasks is not known."
    more = "" if queue.lanes is None or queue.lanes.backlog_since is None else " and more"
    tasks = f"{number(waiting)}{more} task{'' if waiting == 1 and not more else 's'}"
    verb = "waits" if waiting == 1 and not more else "wait"
    if waiting == 0:
        return "Nothing waits."
    if queue.workers == 0:
        return f"{tasks} {verb}, and no worker serves it."
    figures = None if statistics is None else _latest(statistics)
    if figures is None:
        waited = oldest_seconds(overview, queue)
        return f"{tasks} {verb}" + ("." if waited is None else f", the oldest for {age(waited)}.")
    into, out = figures
    rates = f"{number(round(out, 1))} a second end, {number(round(into, 1))} come"
    if out - into > STILL and not more:
        return f"It drains: {tasks} {verb}, {rates}. At this pace it is empty in {age(waiting / (out - into))}."
    if into - out > STILL:
        return f"It grows: {tasks} {verb}, {rates}."
    return f"{tasks} {verb}, {rates}."


def _latest(statistics: Statistics) -> tuple[float, float] | None:
    """Submitted and ended in a second in the last whole step that is known."""
    for step in reversed(statistics.steps[:-1]):
        if step.figures is not None:
            return step.figures.submitted_per_second, step.figures.ended_per_second
    return None


def _charts(statistics: Statistics | None) -> dict[str, object]:
    steps = statistics.steps if statistics is not None else []
    figures = [step.figures for step in steps]
    return {
        "submitted": line(
            [None if each is None else each.submitted_per_second for each in figures]
        ),
        "ended": line([None if each is None else each.ended_per_second for each in figures]),
        "wait": line([None if each is None else each.wait.p95 for each in figures]),
        "run": line([None if each is None else each.run.p95 for each in figures]),
    }


HANDLERS = (show_queues, show_queue, pause, resume)

__all__ = ["HANDLERS", "causes_of", "rates_of", "statistics_of"]
