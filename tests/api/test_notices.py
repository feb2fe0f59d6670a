"""The diary of the cluster over HTTP."""

from __future__ import annotations

from support.api import Api, problem
from support.keys import headers_of


async def test_what_happened_is_listed_newest_first(api: Api) -> None:
    for queue in ("mail", "billing"):
        await api.client.post(f"/api/queues/{queue}/pause")
    async with api.service.engine.announced("api"):
        await api.client.post("/api/queues/mail/resume")
        await api.client.post("/api/queues/mail/pause")
    page = await api.get("/api/notices?queue=mail")
    assert [each["name"] for each in page["notices"]] == ["queue.paused", "queue.resumed"]
    assert page["next_cursor"] is None
    first = await api.get("/api/notices?limit=1")
    rest = await api.get(f"/api/notices?cursor={first['next_cursor']}")
    assert [each["name"] for each in rest["notices"]] == ["queue.resumed"]
    assert rest["notices"][0]["meaning"] == "a queue goes on"
    until = rest["notices"][0]["at"]
    assert [each["name"] for each in (await api.get(f"/api/notices?since={until}"))["notices"]] == [
        "queue.paused",
        "queue.resumed",
    ]
    assert (await api.get(f"/api/notices?until={until}"))["notices"] == []


async def test_a_query_that_is_not_valid_is_refused(api: Api) -> None:
    wrong = ("until=2026-11-30T03:12",)  # without its zone
    for query in (
        *wrong,
        "name=A",
        "cursor=x",
        "limit=0",
        "queue=a%20b",
        "worker_id=%00",
        "state=1",
        "since=1",
    ):
        problem(await api.client.get(f"/api/notices?{query}"), "parameter_invalid")


async def test_a_bound_key_is_refused(guarded: Api) -> None:
    acme = await headers_of(guarded, ["operate"], tenant="acme")
    problem(await guarded.client.get("/api/notices", headers=acme), "tenant_forbidden")
