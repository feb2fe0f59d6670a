"""The route with the life of one task, as lanes and as lines."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, Router, get
from litestar.types import Scope

from leaseq.operations.life.facts import LifeFacts, of_one_tenant, without_contents
from leaseq.operations.life.history import task_history
from leaseq.operations.life.lanes import life_of
from leaseq.operations.life.read_life import read_life
from leaseq_api import parameters as given
from leaseq_api.life_schemas import LifeView
from leaseq_api.openapi import api_codes
from leaseq_api.security.principal import may_read_contents, principal_of
from leaseq_api.service import Injected, Service


@get("/{task_id:str}/life", scope="read", codes=api_codes("task_not_found", "lists_busy"))
async def life(
    request: Request[Any, Any, Any], service: Injected, task_id: given.TaskId
) -> Response[LifeView]:
    """Show the life of a task in time: when it waited and ran, when its workers fell silent, which
    endings were refused, and what people did.

    A key that is bound to a tenant gets no hosts and no names of people. Texts of errors need the
    scope `payloads`.
    """
    facts = await life_facts(service, request.scope, given.check_task_id(task_id))
    return Response(life_view(facts))


async def life_facts(service: Service, scope: Scope, task_id: str) -> LifeFacts:
    """The facts that this request may see. Raises `TaskNotFound`."""
    tenant = principal_of(scope).tenant
    async with service.lists.turn():
        facts = await read_life(service.lists.session, task_id, tenant=tenant)
    if tenant is not None:
        facts = of_one_tenant(facts)
    return facts if may_read_contents(scope) else without_contents(facts)


def life_view(facts: LifeFacts) -> LifeView:
    """The life of a task, as HTTP shows it."""
    found = life_of(facts)
    return LifeView(
        task_id=found.task_id,
        began=found.began,
        ended=found.ended,
        now=found.now,
        earlier=found.earlier,
        lanes=found.lanes,
        history=task_history(facts.task, facts.attempts, facts),
        replay_of=facts.replay_of,
        replayed_as=facts.replayed_as,
    )


router = Router(
    "/api/tasks", route_handlers=[life], before_request=given.check_query, tags=["tasks"]
)

__all__ = ["life_facts", "life_view", "router"]
