"""Scopes and tenants, for every operation of the OpenAPI document.

Both matrices are made from the document, so a new route is in them without an edit, except that
`SCOPES_OF` has to name its scope.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from msgspec import Struct

from leaseq.api_keys import SCOPES
from leaseq.codec import new_task_id
from leaseq.ledger.session import Connection
from leaseq.model import Tenant
from leaseq_api.refused import Refused
from leaseq_api.security.known_tenants import KnownTenants
from support.api import Api, problem
from support.keys import BOUND_SCOPES, headers_of
from support.source_tree import ROOT

# The scope that each operation needs. None: it is open to requests without a key.
SCOPES_OF = {
    "acknowledge": "operate",
    "unacknowledge": "operate",
    "attempts": "read",
    "cancel": "operate",
    "create_key": "admin",
    "create_tenant": "admin",
    "erase": "operate",
    "follow_task": "read",
    "life": "read",
    "follow_tasks": "read",
    "free_key": "operate",
    "limit_key": "admin",
    "limit_tenant": "admin",
    "list_due": "read",
    "list_failures": "read",
    "list_schedules": "read",
    "show_schedule": "read",
    "put_schedule": "submit",
    "delete_schedule": "operate",
    "pause_schedule": "operate",
    "resume_schedule": "operate",
    "run_schedule": "operate",
    "list_keys": "admin",
    "list_notices": "operate",
    "list_operations": "operate",
    "list_queues": "read",
    "show_queue": "read",
    "put_queue": "operate",
    "list_limits": "read",
    "show_limit": "read",
    "put_limit": "operate",
    "delete_limit": "operate",
    "list_running": "read",
    "list_services": "read",
    "list_tasks": "read",
    "list_tenants": "admin",
    "list_types": "read",
    "list_workers": "read",
    "live": None,
    "metrics": "metrics",
    "pause": "operate",
    "preview_operation": "operate",
    "ready": None,
    "redrive": "operate",
    "replay": "submit",
    "resume": "operate",
    "resume_operation": "operate",
    "revoke_key": "admin",
    "rotate_key": "admin",
    "show": "read",
    "show_check": "read",
    "show_overview": "read",
    "show_failure": "read",
    "show_operation": "operate",
    "show_quota": "read",
    "show_type": "read",
    "show_worker": "read",
    "show_census": "read",
    "statistics": "read",
    "start_operation": "operate",
    "stop_operation": "operate",
    "submit": "submit",
    "submit_batch": "submit",
    "why": "read",
}
# Operations on what all tenants share: a key that is bound to a tenant is refused.
UNBOUND = {"show_census", "show_check", "list_notices", "pause", "resume", "statistics"}
# Operations that need a second scope.
ALSO = {"replay": "payloads"}
MARKER = "marker-of-acme"


class Operation(Struct, frozen=True):
    """One operation of the document."""

    name: str
    method: str
    path: str
    needs: str | None

    async def send(self, api: Api, headers: dict[str, str], **parts: str) -> httpx.Response:
        """Send it, with these parts of its path."""
        path = re.sub(r"\{(\w+)\}", lambda found: parts.get(found[1], "none"), self.path)
        if self.name == "follow_tasks":  # which ends only if it is asked to
            path += "?seconds=0"
        body = b"{}" if self.method == "POST" else None
        typed = headers | ({"Content-Type": "application/json"} if body else {})
        return await api.client.request(self.method, path, content=body, headers=typed)


def operations(api: Api) -> Iterator[Operation]:
    """Every operation but HEAD and OPTIONS, which are answered as GET and without a route."""
    for path, item in api.document.paths.items():
        for method, operation in item.items():
            if method in ("get", "post", "put", "patch", "delete"):
                yield Operation(operation["operationId"], method.upper(), path, _scope(operation))


def _scope(operation: dict[str, Any]) -> str | None:
    if not operation.get("security"):
        return None
    (needed,) = [each for each in operation["security"] if each]
    (roles,) = needed.values()
    scope: str = roles[0]
    return scope


async def test_the_document_names_the_scope_of_every_operation(guarded: Api) -> None:
    assert {each.name: each.needs for each in operations(guarded)} == SCOPES_OF


async def test_the_table_of_scopes_is_that_of_the_document(guarded: Api) -> None:
    table = (ROOT / "docs" / "api-keys.md").read_text(encoding="utf-8")
    told = {
        scope: set(re.findall(r"`([A-Z]+ /[^`]+)`", addresses))
        for scope, addresses in re.findall(r"^\| `?(\w+)`? \| (`.*) \|$", table, re.MULTILINE)
    }
    meant: dict[str, set[str]] = {}
    for each in operations(guarded):
        meant.setdefault(each.needs or "none", set()).add(f"{each.method} {each.path}")
    assert told == meant


@pytest.mark.parametrize("scope", [*SCOPES, None])
async def test_an_operation_answers_keys_with_its_scope_only(
    guarded: Api, scope: str | None
) -> None:
    headers = {} if scope is None else await headers_of(guarded, [scope])
    for operation in operations(guarded):
        answer = await operation.send(guarded, headers, task_id=new_task_id())
        if operation.name in ALSO and operation.needs == scope:
            problem(answer, "scope_missing")
        elif operation.needs in (scope, None):
            assert answer.status_code not in (401, 403), (operation, answer.text)
        else:
            problem(answer, "key_missing" if scope is None else "scope_missing")


async def test_an_open_address_looks_at_no_key_and_no_tenant(guarded: Api) -> None:
    """Also not where the ledger would have to be asked for it."""
    headers = {"Authorization": "Bearer nothing", "Leaseq-Tenant": "nowhere"}
    for operation in operations(guarded):
        path = re.sub(r"\{\w+\}", "none", operation.path)
        answer = await guarded.client.options(path, headers=headers)
        assert answer.status_code == 204, operation
        if operation.needs is None:
            answer = await operation.send(guarded, headers)
            assert answer.status_code == 200, operation
    for path in ("/docs", "/schema", "/problems/key_invalid"):
        assert (await guarded.client.get(path, headers=headers)).status_code == 200


async def test_a_tenant_learns_neither_depths_nor_ids_of_another_one(
    guarded: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("task_lists", "operation_log"):
        monkeypatch.setattr(f"leaseq.ledger.{module}.LOOKED_AT", 3)
    theirs = await headers_of(guarded, BOUND_SCOPES, tenant="acme")
    ours = await headers_of(guarded, BOUND_SCOPES, tenant="other")
    body = {"type": "add", "payload": 1, "delay_seconds": 3600}

    async def submit(headers: dict[str, str]) -> str:
        answer = await guarded.client.post("/api/tasks", json=body, headers=headers)
        task_id: str = answer.json()["task_id"]
        await guarded.client.post(f"/api/tasks/{task_id}/cancel", headers=headers)
        return task_id

    own = [await submit(ours)]
    foreign = {await submit(theirs) for _ in range(7)}
    own.append(await submit(ours))
    unbound = await headers_of(guarded, SCOPES)
    lists = (("tasks", "task_id", "task_id"), ("operations", "operation_id", "target"))
    for name, row_id, task_id in lists:
        found, cursors = await _pages(guarded, name, ours)
        assert [row[task_id] for row in found] == own[::-1]
        everything, _ = await _pages(guarded, name, unbound)
        hidden = {row[row_id] for row in everything if row[task_id] in foreign}
        assert len(hidden) == len(foreign)
        assert cursors
        assert not hidden & set(cursors)
    (queue,) = (await guarded.client.get("/api/queues", headers=ours)).json()["queues"]
    assert queue["depths"] is None
    (queue,) = (await guarded.client.get("/api/queues", headers=unbound)).json()["queues"]
    assert queue["depths"] is not None


async def _pages(
    api: Api, name: str, headers: dict[str, str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of all pages of a list, and the cursors between them."""
    rows: list[dict[str, Any]] = []
    cursors: list[str] = []
    while True:
        more = f"&cursor={cursors[-1]}" if cursors else ""
        page = (await api.client.get(f"/api/{name}?limit=1{more}", headers=headers)).json()
        rows += page[name]
        if page["next_cursor"] is None:
            return rows, cursors
        cursors.append(page["next_cursor"])
        assert len(cursors) < 100, "the pages come to an end"


async def test_a_tenant_reaches_nothing_of_another_one(guarded: Api, plain: Connection) -> None:
    """With every scope in its own tenant. A foreign id is answered as an id that does not exist, no
    answer shows the other tenant, and nothing of it changes."""
    theirs = await headers_of(guarded, BOUND_SCOPES, tenant="acme")
    ours = await headers_of(guarded, BOUND_SCOPES, tenant="other")
    body = {"type": "add", "payload": {"n": MARKER}, "delay_seconds": 3600}
    key = {"Idempotency-Key": MARKER}
    answer = await guarded.client.post("/api/tasks", json=body, headers=theirs | key)
    assert answer.status_code == 202, answer.text
    task_id = answer.json()["task_id"]
    before = await _everything(plain)
    for operation in operations(guarded):
        answer = await operation.send(guarded, ours, task_id=task_id, queue="default")
        told = answer.text.replace(f"/api/tasks/{task_id}", "")
        if "{task_id}" in operation.path:
            problem(answer, "task_not_found")
            unknown = new_task_id()
            other = await operation.send(guarded, ours, task_id=unknown, queue="default")
            assert other.text.replace(unknown, task_id) == answer.text, operation
        elif operation.name == "list_operations":
            rows = answer.json()["operations"]
            assert {row["tenant"] for row in rows} == {"other"}, "what it tried itself"
        else:
            assert task_id not in told, operation
        assert MARKER not in told, operation
        assert "acme" not in told, operation
        if operation.name in UNBOUND:
            problem(answer, "tenant_forbidden")
    assert await _everything(plain) == before
    found = await guarded.client.get(f"/api/tasks?idempotency_key={MARKER}", headers=ours)
    assert found.json()["tasks"] == []
    own = await guarded.client.get(f"/api/tasks?idempotency_key={MARKER}", headers=theirs)
    assert [task["task_id"] for task in own.json()["tasks"]] == [task_id]


async def _everything(plain: Connection) -> list[Any]:
    """The tasks of the other tenant, and the queues, which all tenants share."""
    cursor = await plain.execute(
        "select to_json(t)::text from leaseq.tasks t where tenant = 'acme' union all "
        "select to_json(q)::text from leaseq.queues q order by 1"
    )
    return await cursor.fetchall()


async def test_one_key_stands_for_another_task_in_each_tenant(guarded: Api) -> None:
    tasks = set()
    for tenant in ("acme", "other"):
        headers = await headers_of(guarded, ["submit"], tenant=tenant)
        body = {"type": "add", "payload": {"tenant": tenant}}
        answer = await guarded.client.post(
            "/api/tasks", json=body, headers=headers | {"Idempotency-Key": "k"}
        )
        assert answer.status_code == 202, answer.text
        assert answer.json()["tenant"] == tenant
        tasks.add(answer.json()["task_id"])
    assert len(tasks) == 2


async def test_an_unbound_key_acts_for_every_tenant_or_binds_itself_to_one(guarded: Api) -> None:
    theirs = await headers_of(guarded, ["submit"], tenant="acme")
    body = {"type": "add", "payload": 1}
    answer = await guarded.client.post("/api/tasks", json=body, headers=theirs)
    path = f"/api/tasks/{answer.json()['task_id']}"
    unbound = await headers_of(guarded, SCOPES)
    assert (await guarded.client.get(path, headers=unbound)).json()["tenant"] == "acme"
    bound = unbound | {"Leaseq-Tenant": "acme"}
    assert (await guarded.client.get(path, headers=bound)).status_code == 200
    elsewhere = unbound | {"Leaseq-Tenant": "default"}
    problem(await guarded.client.get(path, headers=elsewhere), "task_not_found")
    for name in ("nowhere", "no where", ""):
        answer = await guarded.client.get(path, headers=unbound | {"Leaseq-Tenant": name})
        problem(answer, "tenant_unknown")
    made = await guarded.client.post("/api/tasks", json=body, headers=unbound)
    assert made.json()["tenant"] == "default"
    made = await guarded.client.post("/api/tasks", json=body, headers=bound)
    assert made.json()["tenant"] == "acme"


async def test_a_tenant_is_known_as_soon_as_it_is_created(guarded: Api) -> None:
    """Also to a client whose last request was refused because there was no such tenant."""
    headers = await headers_of(guarded, SCOPES) | {"Leaseq-Tenant": "late"}
    problem(await guarded.client.get("/api/tasks", headers=headers), "tenant_unknown")
    await guarded.service.engine.access.create_tenant("late")
    assert (await guarded.client.get("/api/tasks", headers=headers)).status_code == 200


async def test_unknown_tenants_cost_few_reads(
    guarded: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = guarded.service.engine.access
    tenants, reads = KnownTenants(access), 0
    list_tenants = access.list_tenants

    async def counted() -> list[Tenant]:
        nonlocal reads
        reads += 1
        return await list_tenants()

    monkeypatch.setattr(access, "list_tenants", counted)
    asked = [tenants.require(f"nowhere-{number}") for number in range(500)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(answer, Refused) for answer in answers)
    assert reads <= 2


async def test_a_bound_key_cannot_name_another_tenant(guarded: Api) -> None:
    theirs = await headers_of(guarded, BOUND_SCOPES, tenant="acme")
    same = await guarded.client.get("/api/tasks", headers=theirs | {"Leaseq-Tenant": "acme"})
    assert same.status_code == 200
    for name in ("default", "nowhere"):
        answer = await guarded.client.get("/api/tasks", headers=theirs | {"Leaseq-Tenant": name})
        problem(answer, "tenant_forbidden")


async def test_without_the_scope_payloads_no_data_of_a_task_is_shown(
    guarded: Api, plain: Connection
) -> None:
    submits = await headers_of(guarded, ["submit"])
    body = {"type": "add", "payload": {"n": MARKER}}
    task_id = (await guarded.client.post("/api/tasks", json=body, headers=submits)).json()[
        "task_id"
    ]
    await plain.execute(
        "update leaseq.tasks set progress = '1', error = json_build_object('message', %(text)s::text)",
        {"text": MARKER},
    )
    await plain.execute(
        "insert into leaseq.attempts (task_id, attempt, outcome, worker_id, started_at, finished_at, next_state, error)"
        " values (%(id)s, 1, 'errored', 'w', now(), now(), 'PENDING', json_build_object('message', %(text)s::text))",
        {"id": task_id, "text": MARKER},
    )
    paths = (f"/api/tasks/{task_id}", f"/api/tasks/{task_id}/attempts", "/api/tasks")
    reads = await headers_of(guarded, ["read", "operate"])
    for path in paths:
        answer = await guarded.client.get(path, headers=reads)
        assert answer.status_code == 200
        assert MARKER not in answer.text
    cancelled = await guarded.client.post(f"/api/tasks/{task_id}/cancel", headers=reads)
    assert "payload" not in cancelled.json()
    both = await headers_of(guarded, ["read", "payloads"])
    for path in paths[:2]:
        assert MARKER in (await guarded.client.get(path, headers=both)).text
