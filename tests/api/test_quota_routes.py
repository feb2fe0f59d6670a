"""The routes that set and show the quotas of tenants."""

from __future__ import annotations

from support.api import Api, problem
from support.keys import headers_of
from support.quotas import Tenant


async def test_an_administrator_sets_and_removes_quotas(guarded: Api) -> None:
    admin = await headers_of(guarded, ["admin", "operate"])
    await headers_of(guarded, ["read"], tenant="acme")
    path = "/api/tenants/acme"
    set_first = await guarded.client.patch(
        path, json={"unfinished": 10, "payload_bytes_per_day": 0}, headers=admin
    )
    quotas = {"unfinished": 10, "unfinished_per_queue": None, "payload_bytes_per_day": 0}
    assert quotas.items() <= set_first.json().items()
    assert (await guarded.client.patch(path, json={}, headers=admin)).json() == set_first.json()
    await guarded.client.patch(
        path, json={"unfinished": None, "unfinished_per_queue": 3}, headers=admin
    )
    listed = (await guarded.client.get("/api/tenants", headers=admin)).json()["tenants"]
    (acme,) = [tenant for tenant in listed if tenant["name"] == "acme"]
    assert (acme["unfinished"], acme["unfinished_per_queue"]) == (None, 3)
    rows = await guarded.client.get(
        "/api/operations", params={"action": "limit_tenant"}, headers=admin
    )
    latest = rows.json()["operations"][0]
    assert (latest["target"], latest["outcome"]) == ("acme", "done")
    assert latest["detail"] == {
        "before": {"unfinished": 10, "unfinished_per_queue": None},
        "after": {"unfinished": None, "unfinished_per_queue": 3},
    }


async def test_a_quota_that_is_not_a_number_in_range_is_refused(guarded: Api) -> None:
    for wrong in [
        {"unfinished": -1},
        {"unfinished": 10**7 + 1},
        {"unfinished_per_queue": 2**63},
        {"payload_bytes_per_day": 10**40},
        {"payload_bytes_per_day": 1.5},
        {"unfinished": "10"},
        {"unfinished": True},
        {"unknown": 1},
        [],
    ]:
        admin = await headers_of(guarded, ["admin"])
        answer = await guarded.client.patch("/api/tenants/default", json=wrong, headers=admin)
        problem(answer, "access_invalid")


async def test_quotas_need_a_tenant_and_the_scope(acme: Tenant) -> None:
    client = acme.api.client
    admin = await headers_of(acme.api, ["admin"])
    for name in ("nowhere", "Acme", "a" * 129):
        answer = await client.patch(f"/api/tenants/{name}", json={"unfinished": 1}, headers=admin)
        problem(answer, "tenant_not_found")
    answer = await client.patch("/api/tenants/acme", json={"unfinished": 1}, headers=acme.headers)
    problem(answer, "scope_missing")
    bound = admin | {"Leaseq-Tenant": "acme"}
    answer = await client.patch("/api/tenants/acme", json={"unfinished": 1}, headers=bound)
    problem(answer, "tenant_forbidden")


async def test_a_tenant_sees_its_quotas(acme: Tenant) -> None:
    client = acme.api.client
    nothing = {"unfinished": None, "unfinished_per_queue": None, "payload_bytes_per_day": None}
    answer = await client.get("/api/quota", headers=acme.headers)
    assert answer.json() == {"tenant": "acme"} | nothing
    await acme.limit(unfinished=5, unfinished_per_queue=3, payload_bytes_per_day=1000)
    for queue in ("mail", "mail", "other"):
        await acme.accepted(queue=queue)
    found = (await client.get("/api/quota", headers=acme.headers)).json()
    assert found["unfinished"] == {"limit": 5, "used": 3, "left": 2}
    assert found["unfinished_per_queue"] == [
        {"queue": "mail", "limit": 3, "used": 2, "left": 1},
        {"queue": "other", "limit": 3, "used": 1, "left": 2},
    ]
    of_bytes = found["payload_bytes_per_day"]
    assert 0 < of_bytes.pop("resets_in_seconds") <= 86_400
    assert of_bytes == {"limit": 1000, "used": 3, "left": 997}
    # An unbound key sees the tenant that it names, or that it submits to.
    unbound = await headers_of(acme.api, ["read"])
    named = unbound | {"Leaseq-Tenant": "acme"}
    assert (await client.get("/api/quota", headers=named)).json()["unfinished"]["limit"] == 5
    assert (await client.get("/api/quota", headers=unbound)).json()["tenant"] == "default"
