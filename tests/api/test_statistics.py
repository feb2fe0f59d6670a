"""GET /api/stats: what all tenants did, for keys of operators alone."""

from __future__ import annotations

import pytest

from leaseq.metrics.tally import Tally
from leaseq.operations.statistics.flush import StatisticsFlush
from support.api import Api, problem
from support.keys import headers_of


async def count(api: Api, queue: str, type_name: str, *, successes: int) -> None:
    """Let a supervisor report attempts that took a second."""
    tally = Tally()
    flushes = StatisticsFlush(api.service.engine.stores.statistics, "supervisor", tally.series)
    tally.of_task(queue, type_name).successes += [1.0] * successes
    await flushes.flush()


async def test_statistics_of_a_window_in_steps_and_by_type(api: Api) -> None:
    nothing = await api.get("/api/stats")
    assert (nothing["total"], nothing["since"], nothing["types"]) == (None, None, [])
    assert nothing["unknown"] == "no process has reported statistics yet"
    await count(api, "billing", "charge", successes=3)
    await count(api, "mail", "send", successes=1)
    for window in ("1h", "6h", "24h", "7d"):
        found = await api.get(f"/api/stats?window={window}")
        assert (found["window"], found["reporting"]) == (window, 2)
        assert found["total"]["ended"]["succeeded"] == 4
        assert [each["type"] for each in found["types"]] == ["charge", "send"]
        assert [each["run_share"] for each in found["types"]] == [0.75, 0.25]
        assert found["steps"][0]["figures"] is None
        assert found["steps"][-1]["at"] <= found["now"]
    alone = await api.get("/api/stats?queue=mail&type=send")
    assert alone["total"]["ended"]["succeeded"] == 1
    assert alone["total"]["failing_share"] == 0


@pytest.mark.parametrize("query", ["window=2h", "queue=a%20b", "type=%00", "step=60", "window="])
async def test_a_query_that_is_not_valid_is_refused(api: Api, query: str) -> None:
    problem(await api.client.get(f"/api/stats?{query}"), "parameter_invalid")


async def test_only_a_key_without_a_tenant_reads_them(guarded: Api) -> None:
    problem(await guarded.client.get("/api/stats"), "key_missing")
    submitting = await headers_of(guarded, ["submit", "metrics"])
    problem(await guarded.client.get("/api/stats", headers=submitting), "scope_missing")
    reading = await headers_of(guarded, ["read"])
    assert (await guarded.client.get("/api/stats", headers=reading)).status_code == 200
    bound = await headers_of(guarded, ["read"], tenant="acme")
    problem(await guarded.client.get("/api/stats", headers=bound), "tenant_forbidden")
    chosen = reading | {"Leaseq-Tenant": "acme"}
    problem(await guarded.client.get("/api/stats", headers=chosen), "tenant_forbidden")
