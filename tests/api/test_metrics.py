"""GET /metrics: the counts of one API process, for keys of operators alone."""

from __future__ import annotations

import pytest

from leaseq.metrics.catalogue import METRICS
from support.api import Api, problem
from support.keys import headers_of
from support.metrics import OPENMETRICS, Scraped, parse

CHARGE = {"type": "charge", "queue": "billing", "payload": {}}


async def scrape(api: Api, **headers: str) -> Scraped:
    answer = await api.client.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    return parse(answer.text, answer.headers["content-type"])


async def test_submissions_and_refusals_are_counted(api: Api) -> None:
    before = await scrape(api)
    await api.submitted(CHARGE, Idempotency_Key="a")
    await api.submitted(CHARGE, Idempotency_Key="a")
    problem(await api.submit({**CHARGE, "queue": "no queue"}), "submission_invalid")
    after = await scrape(api, accept=OPENMETRICS)

    def more(name: str, **labels: str) -> float:
        return after.total(name, **labels) - before.total(name, **labels)

    where = {"queue": "billing", "type": "charge"}
    assert more("leaseq_submissions_total", **where, result="created") == 1
    assert more("leaseq_submissions_total", **where, result="replayed") == 1
    assert more("leaseq_refusals_total", code="submission_invalid") == 1
    assert more("leaseq_batch_size_count", statement="submit") == 2
    assert more("leaseq_statement_duration_seconds_count", statement="submit_tasks") == 2
    assert after.total("leaseq_store_up") == 2


async def test_each_metric_of_the_api_is_there(api: Api) -> None:
    found = await scrape(api, accept=OPENMETRICS)
    for name, metric in METRICS.items():
        if "api" in metric.roles:
            family = found.families[name.removesuffix("_total").removesuffix("_info")]
            assert (family.documentation, family.unit) == (metric.text, metric.unit)


async def test_no_label_names_a_tenant_a_key_or_an_id(api: Api) -> None:
    task_id = await api.submitted(Idempotency_Key="marker-of-a-key")
    text = (await api.client.get("/metrics")).text
    assert "marker-of-a-key" not in text
    assert task_id not in text
    assert not {"tenant", "key", "task_id", "worker_id", "host"} & {
        label for metric in METRICS.values() for label in metric.labels
    }


async def test_a_store_that_is_away_is_told(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away() -> None:
        raise TimeoutError

    monkeypatch.setattr(api.service.engine, "check_dispatch", away)
    found = await scrape(api)
    assert found.total("leaseq_store_up", store="ledger") == 1
    assert found.total("leaseq_store_up", store="dispatch") == 0


async def test_only_a_key_without_a_tenant_and_with_the_scope_reads_them(guarded: Api) -> None:
    problem(await guarded.client.get("/metrics"), "key_missing")
    reading = await headers_of(guarded, ["read", "operate", "admin"])
    problem(await guarded.client.get("/metrics", headers=reading), "scope_missing")
    counting = await headers_of(guarded, ["metrics"])
    await scrape(guarded, **counting)
    await headers_of(guarded, ["submit"], tenant="acme")
    bound = counting | {"Leaseq-Tenant": "acme"}
    problem(await guarded.client.get("/metrics", headers=bound), "tenant_forbidden")
