"""The census over HTTP."""

from __future__ import annotations

from datetime import datetime

import pytest

from leaseq.errors import ServerUnreachable
from leaseq.ledger.census import CensusLedger
from leaseq.ledger.tasks import TaskLedger
from support.api import Api, problem
from support.keys import headers_of
from support.ledger import submit


async def test_the_census_counts_all_tasks_of_all_tenants(api: Api, ledger: TaskLedger) -> None:
    await submit(ledger)
    await submit(ledger)
    await submit(ledger, tenant="acme", queue="mail")
    shown = await api.get("/api/census")
    assert datetime.fromisoformat(shown.pop("at")).tzinfo is not None
    pending = {"state": "PENDING", "error": 0, "fewer_than": None}
    assert shown == {
        "exact": True,
        "pages": 1,
        "of_pages": 1,
        "counts": [
            {"queue": "default", "count": 2} | pending,
            {"queue": "mail", "count": 1} | pending,
        ],
    }


async def test_the_census_of_a_moment_ago_is_the_answer(api: Api, ledger: TaskLedger) -> None:
    first = await api.get("/api/census")
    await submit(ledger)
    assert await api.get("/api/census") == first


async def test_a_census_that_another_process_takes_for_the_first_time_is_not_known_yet(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def take(self: CensusLedger, **what: object) -> None:
        return None

    monkeypatch.setattr(CensusLedger, "take", take)
    shown = await api.get("/api/census")
    assert (shown["at"], shown["exact"], shown["counts"]) == (None, False, [])


async def test_a_census_without_postgres_is_a_503(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def find(self: CensusLedger) -> None:
        raise ServerUnreachable("Postgres does not answer: gone")

    monkeypatch.setattr(CensusLedger, "find", find)
    problem(await api.client.get("/api/census"), "server_unreachable")


async def test_numbers_of_all_tenants_are_not_for_a_bound_key(guarded: Api) -> None:
    bound = await headers_of(guarded, ["read"], tenant="acme")
    problem(await guarded.client.get("/api/census", headers=bound), "tenant_forbidden")
    unbound = await headers_of(guarded, ["read"])
    assert (await guarded.client.get("/api/census", headers=unbound)).status_code == 200
