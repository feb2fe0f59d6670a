"""Lists and metrics of limits and schedules read a bounded part of their tables."""

from __future__ import annotations

from typing import Any

import pytest

from leaseq.connections.postgres import PLANS
from leaseq.connections.postgres_connection import Connection
from leaseq.ledger.limits import LAST
from leaseq.ledger.statements import STATEMENTS

ROWS = 5_000
FILL = f"""
insert into leaseq.limits (name, concurrency) values ('stripe', 50), ('mail', 2);
insert into leaseq.tasks (id, queue, type, payload, state, max_attempts, timeout_seconds,
    traits, limit_name, concurrency_key)
select ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'q' || n % 2, 'pay', '1', 'SCHEDULED',
    5, 30, 1, 'stripe', 'k' || n % 100
from generate_series(1, {ROWS}) as n;
insert into leaseq.limited (task_id, limit_id, tenant, key, priority, due, admitted_at)
select t.id, l.id, t.tenant, t.concurrency_key, 0, true, case when right(t.id::text, 2) = '00' then now() end
from leaseq.tasks as t join leaseq.limits as l on l.name = t.limit_name;
insert into leaseq.schedules (
    tenant, name, cron, zone, type, queue, payload, priority, max_attempts, timeout_seconds, catch_up, max_catch_up, overlap,
    jitter_seconds, source, next_at, due_at
)
select 't', n::text, '@daily', 'UTC', 'pay', 'q', '1', 0, 5, 30, 'once', 1, 'allow', 0, 'api', now(), now()
from generate_series(1, {ROWS}) as n;
analyze leaseq.schedules;
analyze leaseq.tasks; analyze leaseq.limited; analyze leaseq.limits;
"""
ALL = {"from_tenant": "", "to_tenant": LAST}
LISTS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "list_limit_tasks": (
        {"name": "stripe", "limit": 50} | ALL | {"from_key": "", "to_key": LAST},
        {"limited_waiting", "limited_admitted", "tasks_pkey"},
    ),
    "count_queue_waits": (
        {"queue": "q1", "most": 100, "rows": 500} | ALL,
        {"limited_waiting", "tasks_pkey"},
    ),
    # Up to 500 pages are read, which is all that there is here.
    "measure_limits": ({"limit": 500}, set()),
    "measure_schedules": ({}, {"schedules_due"}),
}


@pytest.fixture
async def full(plain: Connection) -> Connection:
    """A ledger with long lines."""
    await plain.execute(PLANS, {"local": False})
    await plain.execute(FILL.encode())
    return plain


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_a_list_reads_no_whole_line(full: Connection, mode: str) -> None:
    await full.execute(f"set plan_cache_mode = {mode}".encode())
    for name, (params, indexes) in LISTS.items():
        text = "explain (format json, analyze) " + STATEMENTS[name]
        row = await (await full.execute(text.encode(), params, prepare=True)).fetchone()
        assert row is not None
        nodes = list(_nodes(row[0][0]["Plan"]))
        assert indexes <= {node.get("Index Name") for node in nodes}, name
        whole = {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"}
        assert not whole & {"limited", "tasks", "schedules"}, name
        read = [
            node["Actual Rows"] * node["Actual Loops"]
            for node in nodes
            if node["Node Type"] != "Sample Scan"
        ]
        assert max(read) <= 500, name
        await full.execute(b"deallocate all")


def _nodes(plan: dict[str, Any]) -> Any:
    yield plan
    for each in plan.get("Plans", ()):
        yield from _nodes(each)
