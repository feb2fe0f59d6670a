"""Every hot statement uses its index, for any number of tasks.

Asked of Postgres itself, with the values of one call (custom plan) and without (generic plan), on a
table of 20,000 tasks, with statistics that are right and with such as have gone stale.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from leaseq.connections.postgres import PLANS
from leaseq.ledger import rows
from leaseq.ledger.arrays import numbers, quoted, words
from leaseq.ledger.notices import MARKED
from leaseq.ledger.statements import STATEMENTS
from leaseq.model import Claim, State
from leaseq.uniqueness import UniqueKey, UniqueRule
from support.filled_ledger import FILL, FIRST_FEW
from support.ledger import errored, submission, succeeded
from support.servers import TEMPLATE, _admin, _database_url

IDS = [f"01900000-0000-7000-8000-{n:012x}" for n in range(1, 201)]
LEASE = Claim(IDS[0], 1, "w")
FEW = IDS[:20]
KEYS = {"tenants": ["default"] * 20, "keys": [f"key-{n}" for n in range(20)]}
SUBMISSIONS = rows.submission_arrays([submission(idempotency_key=f"new-{n}") for n in range(200)])
WITH_LABELS = [submission(labels={"account": str(n), "env": "live"}) for n in range(200)]
LABELLED = rows.submission_arrays(WITH_LABELS) | (rows.label_arrays(WITH_LABELS) or {})
PLAIN = rows.plain_submissions([submission() for _ in range(200)]) or {}
SUCCESSES = rows.success_arrays([succeeded(Claim(task_id, 1, "w")) for task_id in IDS])
SETTLEMENTS = rows.settlement_arrays([errored(Claim(task_id, 1, "w")) for task_id in IDS])
FAILURES = rows.failure_arrays([errored(Claim(task_id, 1, "w")) for task_id in IDS])
NOW = datetime(2030, 1, 1, tzinfo=UTC)
# Any state and attempt.
SEEN: dict[str, Any] = {"seen_state": None, "seen_attempt": None}
SINCE = datetime.now(UTC) - timedelta(hours=1)

# Statement, its parameters, and the indexes it must use. None of them may read the whole of a table
# that grows.
RANGES = {
    "queues": ["a", "default"],
    "priorities": "{0,0}",
    "cursors": IDS[:2],
    "sizes": "{1000,500}",
    "suspect": 2,
}
WITH_KEYS = [
    submission(task_id=IDS[n], unique=UniqueKey(f"k{n}", UniqueRule())) for n in range(len(IDS))
]
UNIQUE = (
    rows.submission_arrays(WITH_KEYS)
    | rows.NO_LABELS
    | rows.NO_LIMITS
    | {"retention": 60.0, "after_commit": False, "patience": "250", "counted": "{}"}
    | {
        "unique_tasks": words(IDS),
        "unique_tenants": quoted(["default"] * len(IDS)),
        "unique_types": quoted(["add"] * len(IDS)),
        "unique_keys": quoted([f"k{n}" for n in range(len(IDS))]),
        "unique_holds": quoted(["while_unfinished"] * len(IDS)),
        "holders": words(IDS),
        "versions": numbers([0] * len(IDS)),
        "periods": numbers([None] * len(IDS)),
        "replaces": words(["t"] * len(IDS)),
    }
)
HOT: dict[str, tuple[dict[str, Any], set[str]]] = {
    "submit_tasks": (
        SUBMISSIONS | {"retention": 60.0, "after_commit": False, "patience": "250"},
        set(),
    ),
    "submit_plain": (PLAIN, set()),
    "submit_labelled": (
        LABELLED | {"retention": 60.0, "after_commit": False, "patience": "250", "counted": "{}"},
        set(),
    ),
    "submit_unique": (UNIQUE, {"uniques_pkey"}),
    "find_uniques": (
        {"tenants": ["default"], "types": ["add"], "holds": ["while_unfinished"], "keys": ["k1"]},
        {"uniques_pkey", "tasks_pkey"},
    ),
    "find_keys": (KEYS, {"idempotency_keys_pkey", "tasks_pkey"}),
    "expire_keys": (KEYS, set()),  # by key or by expiry: whichever names fewer
    "find_due": (
        {
            "queues": ["a", "default"],
            "priorities": "{0,0}",
            "after_ats": [str(NOW)] * 2,
            "after_ids": IDS[:2],
        },
        {"scheduled_due"},
    ),
    "list_due": (
        {
            "queues": ["a", "b"],
            "priorities": "{0,0}",
            "from_ats": [str(NOW)] * 2,
            "from_ids": IDS[:2],
            "limits": "{500,9}",
        },
        {"scheduled_due"},
    ),
    "promote_tasks": (
        {"ids": IDS, "run_ats": [str(NOW)] * len(IDS), "suspect": 2},
        {"scheduled_pkey", "tasks_pkey"},
    ),
    "discard_due": ({"ids": IDS}, {"scheduled_pkey", "tasks_pkey"}),
    "find_boundary": (
        RANGES | {"rooms": "{10,20}"},
        {"tasks_pkey"},
    ),
    "refill_tasks": (
        RANGES | {"untils": [IDS[-1], IDS[-1]]},
        {"tasks_pkey"},
    ),
    "read_window": (
        {"cursor": IDS[0], "limit": 1000, "suspect": 2},
        {"tasks_pkey"},
    ),
    "claim_tasks": ({"ids": IDS, "worker_id": "w"}, {"tasks_pkey"}),
    "find_claimed": ({"ids": IDS, "worker_id": "w"}, {"tasks_pkey"}),
    "find_held": ({"ids": IDS, "worker_id": "w"}, {"tasks_pkey"}),
    "read_held_attempts": ({"ids": IDS, "attempts": ["1"] * len(IDS)}, {"tasks_pkey"}),
    "find_locked": ({"ids": IDS}, {"tasks_pkey", "scheduled_pkey"}),
    "find_lockers": ({"ids": IDS}, {"tasks_pkey", "scheduled_pkey"}),
    "succeed_attempts": (SUCCESSES, {"tasks_pkey"}),
    "settle_attempts": (SETTLEMENTS, {"tasks_pkey"}),
    "settle_errored": (FAILURES, {"tasks_pkey"}),
    "settle_failed": (FAILURES, {"tasks_pkey"}),
    "count_failures": (
        {"since": None, "limit": 5000, "most": 1000},
        {"uncounted_failures_at", "failures_pkey"},
    ),
    "list_failures": (
        {"tenant": None, "window": 3600.0, "dead_most": 1000, "limit": 51}
        | dict.fromkeys(("type", "fingerprint", "queue", "state", "new"))
        | dict.fromkeys(("cursor_at", "cursor_type", "cursor_fingerprint")),
        {"failures_last_seen", "failure_counts_pkey", "dead_letters_failures", "attempts_pkey"},
    ),
    "list_notices": (
        {"rows": 5000, "limit": 51, "cursor": 5}
        | dict.fromkeys(("name", "queue", "worker_id", "since", "until")),
        {"notices_at", "notices_pkey"},
    ),
    "list_marks": (
        {"names": quoted(MARKED), "limit": 100, "workers": 2000},
        {"notices_name"},
    ),
    "list_failed_attempts": (
        {"type": "add", "fingerprint": "1", "tenant": "default", "limit": 20},
        {"failures_pkey", "attempts_pkey", "tasks_pkey"},
    ),
    "acknowledge_failure": (
        {"type": "add", "fingerprint": "1", "tenant": "default", "by": "ada"},
        {"failures_pkey"},
    ),
    "prune_failures": (
        {"fine": 7200.0, "coarse": 86400.0, "groups": 86400.0, "limit": 1000},
        {"failure_counts_at", "failures_last_seen"},
    ),
    "add_dead_letters": ({"ids": IDS}, {"tasks_pkey"}),
    "discard_dead_letters": (
        {"after": IDS[0], "limit": 1000},
        {"dead_letters_pkey", "tasks_pkey"},
    ),
    "set_progress": (
        {"progress": "1", "task_id": IDS[0], "attempt": 1, "worker_id": "w"},
        {"tasks_pkey"},
    ),
    "cancel_tasks": (
        SEEN | {"ids": FEW, "tenant": "default", "running": False, "submitted_by": None},
        {"tasks_pkey", "scheduled_pkey"},
    ),
    "redrive_tasks": (
        SEEN | {"ids": IDS, "tenant": "default", "ended_by": None},
        {"tasks_pkey", "scheduled_pkey", "dead_letters_pkey"},
    ),
    "erase_tasks": (
        {"ids": IDS, "tenant": "default"},
        {"tasks_pkey", "dead_letters_pkey", "labels_of_task"},
    ),
    "find_tasks": ({"ids": IDS, "tenant": "default"}, {"tasks_pkey", "labels_of_task"}),
    "read_coming": (
        {"horizon": 3600.0, "places": 200, "most": 1500, "rows": 200, "tenant": None, "limit": 50},
        {"scheduled_due", "tasks_pkey"},
    ),
    "list_slowest": ({"rows": 5000, "type": "t", "tenant": None, "limit": 20}, {"tasks_pkey"}),
    "find_contents": ({"ids": IDS[:50], "tenant": "default", "most": 32_768}, {"tasks_pkey"}),
    "list_running": ({"ids": IDS, "tenant": "default", "limit": 200}, {"tasks_pkey"}),
    "find_states": ({"ids": IDS}, {"tasks_pkey"}),
    "find_changed": ({"ids": IDS, "since": None}, {"tasks_pkey"}),
    "find_followed": ({"ids": IDS}, {"tasks_pkey"}),
    "adopt_tasks": (
        {"queues": ["default"], "walks": 2, "walked": IDS[0], "size": 2000},
        {"tasks_pkey"},
    ),
    "list_written": ({"ids": FEW, "rows": 5000, "since": None}, {"tasks_pkey"}),
    "list_ends": ({"ids": FEW, "after": numbers([0] * 20)}, set()),
    "find_cancel_requests": ({"ids": IDS}, {"tasks_pkey"}),
    "find_snapshots": ({"ids": IDS}, {"tasks_pkey"}),
    "list_attempts": ({"task_id": IDS[0], "tenant": "default"}, {"tasks_pkey"}),
    "scan_tasks": (
        {"cursor": IDS[0], "limit": 1000, "quiet": 5.0, "running": 10.0, "ahead": 15}
        | {
            "backlogs": f'{{"0default": "{IDS[100]}"}}',
            "delivered": f'{{"{IDS[0]}": 0}}',
            "suspect": 2,
        },
        {"tasks_pkey", "scheduled_pkey", "dead_letters_pkey"},
    ),
    "reschedule_tasks": ({"ids": IDS}, {"tasks_pkey"}),
    "prune_tasks": (
        {"after": IDS[0], "before": IDS[100], "retention": 60.0, "limit": 100}
        | {"retentions": '{"add": 30.0}'},
        {"tasks_pkey", "idempotency_keys_pkey", "dead_letters_pkey", "labels_of_task"},
    ),
    "prune_keys": (
        {"since": None, "limit": 100, "again": 3600.0},
        {"idempotency_keys_expiry", "idempotency_keys_pkey", "tasks_pkey"},
    ),
    "list_tasks": (
        {"tenant": "default", "cursor": IDS[100], "limit": 50, "rows": 5000}
        | dict.fromkeys(("state", "queue", "type")),
        {"tasks_pkey"},
    ),
    "list_labelled": (
        {"tenant": "default", "cursor": IDS[100], "limit": 50, "rows": 500, "share": 20}
        | {"names": "{account,env}", "values": "{42,live}", "error": "aa"}
        | dict.fromkeys(("state", "queue", "type")),
        {"tasks_pkey", "labels_pkey", "dead_letters_pkey"},
    ),
    "walk_labelled": (
        {
            "tenant": None,
            "name": "account",
            "value": "42",
            "position": IDS[0],
            "position_tenant": "",
        }
        | {"names": "{account,env}", "values": "{42,live}", "rows": 2000, "limit": 500}
        | {"redrives": True, "running": False, "as_of": "2099-01-01", "error": "aa"}
        | dict.fromkeys(("queue", "type")),
        {"tasks_pkey", "labels_pkey", "dead_letters_pkey"},
    ),
    "preview_labelled": (
        {"tenant": "default", "name": "account", "value": "42", "rows": 500, "as_of": None}
        | {"names": "{account,env}", "values": "{42,live}", "redrives": True, "running": False}
        | {"error": "aa"}
        | dict.fromkeys(("queue", "type")),
        {"tasks_pkey", "labels_pkey", "dead_letters_pkey"},
    ),
    "find_waiting": (
        {"position": IDS[100], "rows": 5000, "limit": 500, "running": False}
        | {"as_of": "2099-01-01", "tenant": None, "queue": "none", "type": None},
        {"tasks_pkey"},
    ),
    "list_dead_letters": (
        {"tenant": "default", "cursor": IDS[100], "limit": 50, "rows": 5000}
        | dict.fromkeys(("queue", "type", "error")),
        {"tasks_pkey"},
    ),
    "find_remembered": (
        {"task_id": IDS[0], "tenant": "default", "key": "key-1"},
        {"idempotency_keys_pkey"},
    ),
    "measure_pace": ({"queue": "default", "heads": IDS[-3:], "rows": 2000}, {"tasks_pkey"}),
    "count_before": (
        {"task_id": IDS[-1], "queue": "default", "priority": 0, "first_id": IDS[0], "rows": 1000},
        {"tasks_pkey"},
    ),
    "sum_statistics": (
        {"since": SINCE, "step": 60, "queue": None, "type": None, "tallies": 20_000, "pairs": 100},
        {"stats_pkey", "tallies_at"},
    ),
    "sum_runs": ({"queue": "q1", "type": "t", "hours": 24}, {"stats_pkey"}),
    "fold_tallies": (
        {"age": 20.0, "pause": 6.0, "most": 10_000, "pairs": 500},
        {"tallies_at", "stats_pkey"},
    ),
    "read_reports": ({"silent": 90.0}, {"tallies_at"}),
    "prune_stats": (
        {"minutes": 1e6, "tens": 1e6, "hours": 1e6, "limit": 1000},
        {"stats_pkey"},
    ),
}
# Without knowing the limit Postgres expects a tenth of the table. It compares the costs, and never
# settles for that.
CUSTOM_ONLY = {"list_dead_letters", "list_failures", "list_tasks", "list_written", "prune_tasks"}
MODES = [(name, mode) for name in HOT for mode in ("force_custom_plan", "force_generic_plan")]
GROWING = {"tasks", "scheduled", "idempotency_keys", "dead_letters", "labels", "attempts"}
GROWING |= {"uniques", "uncounted_failures", "failures", "failure_counts", "notices"}


# The possible statistics an hour after they were gathered: that everything has ended, or that
# everything waits.
ALL_ENDED = """
update leaseq.tasks set state = 'SUCCESS', finished_at = now(), result = '1', worker_id = null;
analyze leaseq.tasks;
"""
ALL_WAIT = "update leaseq.tasks set state = 'PENDING', finished_at = null, result = null, worker_id = null; analyze leaseq.tasks;"
STATISTICS = {"of all states": "", "when all had ended": ALL_ENDED, "when all waited": ALL_WAIT}
# A plan is kept until the next analysis; one that was made before there were any tasks, or beside
# the first few, serves the first hundred thousand.
EMPTY = "when there were none"
FEW_TASKS = "when there were few"


@pytest.fixture(scope="module", params=[*STATISTICS, EMPTY, FEW_TASKS])
def full(session_postgres: str, request: pytest.FixtureRequest) -> Iterator[psycopg.Connection]:
    """A connection to a database with many tasks, for this module; nothing in it is changed."""
    name = sql.Identifier("leaseq_test_plans")
    with _admin(session_postgres) as admin:
        admin.execute(
            sql.SQL("create database {} template {}").format(name, sql.Identifier(TEMPLATE))
        )
    with psycopg.connect(
        _database_url(session_postgres, "leaseq_test_plans"), autocommit=True
    ) as conn:
        conn.execute(PLANS, {"local": False})
        if request.param == FEW_TASKS:
            conn.execute(FIRST_FEW.encode())
        elif request.param != EMPTY:
            conn.execute(FILL.encode())
        if STATISTICS.get(request.param):
            conn.execute(STATISTICS[request.param].encode())
        yield conn
    with _admin(session_postgres) as admin:
        admin.execute(sql.SQL("drop database {} with (force)").format(name))


@pytest.mark.parametrize(
    ("name", "mode"),
    [pair for pair in MODES if pair[0] not in CUSTOM_ONLY or pair[1] == "force_custom_plan"],
)
def test_hot_statement_uses_its_index(full: psycopg.Connection, name: str, mode: str) -> None:
    params, indexes = HOT[name]

    nodes = list(_nodes(_explain(full, name, params, mode)))

    read_whole = {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"}
    assert not read_whole & GROWING
    assert indexes <= {node["Index Name"] for node in nodes if "Index Name" in node}


@pytest.mark.parametrize("name", ["submit_unique", "find_uniques"])
@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
def test_a_unique_key_is_found_by_all_of_its_columns(
    full: psycopg.Connection, name: str, mode: str
) -> None:
    """By fewer of them, each submission would read all keys of its type."""
    for node in _nodes(_explain(full, name, HOT[name][0], mode)):
        if node.get("Index Name") == "uniques_pkey":
            assert all(
                f"{each} = " in node["Index Cond"] for each in ("tenant", "type", "hold", "key")
            )


@pytest.mark.parametrize("name", ["list_dead_letters", "list_tasks"])
def test_one_page_is_read_in_the_order_of_the_index(full: psycopg.Connection, name: str) -> None:
    """And not sorted out of all there is, which takes as long as the table is large."""
    assert "Sort" not in {
        node["Node Type"]
        for node in _nodes(_explain(full, name, HOT[name][0], "force_custom_plan"))
    }


@pytest.mark.parametrize(
    "name",
    ["claim_tasks", "succeed_attempts", "settle_attempts", "settle_errored", "settle_failed"],
)
@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
def test_rows_are_locked_in_the_order_in_which_they_were_sent(
    full: psycopg.Connection, name: str, mode: str
) -> None:
    """A nested loop over the array; a hash join would visit them in an order of its own."""
    nodes = list(_nodes(_explain(full, name, HOT[name][0], mode)))
    joins = {node["Node Type"] for node in nodes} & {"Hash Join", "Merge Join", "Nested Loop"}
    assert joins == {"Nested Loop"}
    for node in nodes:
        if node.get("Relation Name") == "tasks" and node["Node Type"] != "ModifyTable":
            assert "Index Cond" in node, "each task is found by its id"


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
def test_a_promotion_deletes_its_rows_in_one_scan(full: psycopg.Connection, mode: str) -> None:
    """A nested loop would ask for the size of the table once for each row."""
    nodes = _nodes(_explain(full, "promote_tasks", HOT["promote_tasks"][0], mode))
    (deletion,) = [node for node in nodes if node.get("Operation") == "Delete"]
    kinds = [child["Node Type"] for child in deletion["Plans"]]
    assert "Tid Scan" in kinds
    assert "Nested Loop" not in kinds


LONE: dict[str, dict[str, Any]] = {
    # Of a queue that is not known, since an id can be inserted only once.
    "submit_plain": rows.plain_submissions([submission(queue="unknown")]) or {},
    "submit_tasks": rows.submission_arrays([submission()])
    | {"retention": 60.0, "after_commit": False, "patience": "250"},
    "submit_labelled": rows.submission_arrays(WITH_LABELS[:1])
    | (rows.label_arrays(WITH_LABELS[:1]) or {})
    | {"retention": 60.0, "after_commit": False, "patience": "250", "counted": "{}"},
    "claim_tasks": {"ids": IDS[:1], "worker_id": "w"},
    "find_keys": {"tenants": ["default"], "keys": ["k1"]},
    "find_claimed": {"ids": IDS[:1], "worker_id": "w"},
    "find_states": {"ids": IDS[:1]},
    "find_changed": {"ids": IDS[:1], "since": "700"},
    "find_followed": {"ids": IDS[:1]},
    "find_tasks": {"ids": IDS[:1], "tenant": "default"},
    "succeed_attempts": rows.success_arrays([succeeded(LEASE)]),
    "settle_attempts": rows.settlement_arrays([errored(LEASE)]),
    "settle_errored": rows.failure_arrays([errored(LEASE)]),
    "settle_failed": rows.failure_arrays([errored(LEASE, then=State.FAILED)]),
}


@pytest.mark.parametrize("name", LONE)
def test_statement_for_one_row_is_not_planned_each_time(
    full: psycopg.Connection, name: str
) -> None:
    """Planning takes longer than running it. Postgres plans a statement again for as long as the
    values make it look cheaper than with unknown ones."""
    given, text = _given(LONE[name]), _numbered(name, LONE[name])
    try:
        with full.transaction(force_rollback=True):
            full.execute(f"prepare hot as {text}".encode())
            for _ in range(8):
                full.execute(sql.SQL("execute hot {}").format(given))
            planned = full.execute(
                "select custom_plans from pg_prepared_statements where name = 'hot'"
            ).fetchone()
    finally:
        full.execute("deallocate all")
    assert planned == (5,)


def _explain(
    conn: psycopg.Connection, name: str, params: dict[str, Any], mode: str
) -> dict[str, Any]:
    given, text = _given(params), _numbered(name, params)
    try:
        with conn.transaction(force_rollback=True):
            conn.execute(f"set local plan_cache_mode = {mode}".encode())
            conn.execute(f"prepare hot as {text}".encode())
            row = conn.execute(
                sql.SQL("explain (format json) execute hot {}").format(given)
            ).fetchone()
    finally:
        conn.execute("deallocate all")
    assert row is not None
    plan: dict[str, Any] = row[0][0]["Plan"]
    return plan


def _numbered(name: str, params: dict[str, Any]) -> str:
    numbers = {param: f"${n}" for param, n in zip(params, itertools.count(1), strict=False)}
    return re.sub(r"%\((\w+)\)s", lambda match: numbers[match[1]], STATEMENTS[name])


def _given(params: dict[str, Any]) -> sql.Composable:
    literals = sql.SQL(", ").join(_literal(value) for value in params.values())
    return sql.SQL("({})").format(literals) if params else sql.SQL("")


def _literal(value: Any) -> sql.Composable:
    """As an untyped literal, which takes the type of its parameter."""
    if isinstance(value, list):
        return sql.Literal(quoted(value))
    return sql.SQL("null") if value is None else sql.Literal(str(value))


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)
