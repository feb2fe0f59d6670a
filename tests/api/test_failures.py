"""The routes about failures: what a key sees of them, and acknowledgements."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from leaseq.model import State
from support.api import Api, problem
from support.failures import GONE, Shop, count

PATH = f"/api/failures/add/{GONE.fingerprint}"


@pytest.fixture
def shop(api: Api) -> Shop:
    stores = api.service.engine.stores
    return Shop(stores.tasks, stores.workers)


async def failures(api: Api, **query: Any) -> list[dict[str, Any]]:
    answer = await api.client.get("/api/failures", params=query)
    assert answer.status_code == 200, answer.text
    listed: list[dict[str, Any]] = answer.json()["failures"]
    return listed


async def test_failures_are_listed_by_cause(api: Api, shop: Shop) -> None:
    assert await api.get("/api/failures") == {"failures": [], "next_cursor": None}
    task_id = await shop.fail(times=2, then=State.FAILED)
    await shop.fail(replace(GONE, fingerprint="f" * 12), type="mail", queue="letters")
    await count(api.service.engine.stores.failures)

    mail, add = await failures(api)
    assert (add["type"], add["fingerprint"], add["state"]) == ("add", GONE.fingerprint, "new")
    assert (add["exception"], add["frame"], add["message"]) == ("Gone", "shop:pay", "it is gone")
    assert (add["in_hour"], add["in_day"], add["in_week"], add["dead"]) == (2, 2, 2, 2)
    assert (len(add["hours"]), add["hours"][-1]) == (24, 2)
    assert (add["task_id"], add["attempt"], add["queues"]) == (task_id, 1, ["default"])
    assert await failures(api, type="mail") == await failures(api, queue="letters") == [mail]
    assert await failures(api, state="known") == []
    assert await failures(api, window=60, limit=1) == [mail]


async def test_pages_follow_each_other(api: Api, shop: Shop) -> None:
    for n in range(3):
        await shop.fail(replace(GONE, fingerprint=f"{n:012x}"))
    await count(api.service.engine.stores.failures)
    page = await api.get("/api/failures?limit=2")
    rest = await api.get(f"/api/failures?limit=2&cursor={page['next_cursor']}")
    seen = [int(each["fingerprint"]) for each in page["failures"] + rest["failures"]]
    assert seen == [2, 1, 0]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize(
    "query",
    [
        *(
            "cursor=x",
            "cursor=",
            "state=none",
            "window=0",
            "window=nan",
            "limit=0",
            "type=a b",
            "x=1",
        ),
        # ["2026-11-30T12:00:00Z","a\0","b"]
        "cursor=WyIyMDI2LTExLTMwVDEyOjAwOjAwWiIsImFcdTAwMDAiLCJiIl0",
    ],
)
async def test_query_that_is_not_valid_is_refused(api: Api, query: str) -> None:
    problem(await api.client.get(f"/api/failures?{query}"), "parameter_invalid")


async def test_one_failure_has_its_errors_and_attempts(api: Api, shop: Shop) -> None:
    worker = await shop.worker(host="b", app_version="1.4.2")
    for number in (7, 8):
        await shop.fail(replace(GONE, message=f"order {number} is gone"), worker=worker)
    last = await shop.fail(replace(GONE, message="the shop is gone"), then=State.FAILED)
    await count(api.service.engine.stores.failures)
    found = await api.get(PATH)
    failure = found["failure"]
    assert (failure["hosts"], [seen["version"] for seen in failure["versions"]]) == (
        ["b", "here"],
        ["1.4.2"],
    )
    assert [each["count"] for each in found["messages"]] == [2, 1]
    assert [each["error"]["message"] for each in found["messages"]] == [
        "order 8 is gone",
        "the shop is gone",
    ]
    assert found["recent"][0] | {"finished_at": None} == {
        "task_id": last,
        "attempt": 1,
        "tenant": "default",
        "queue": "default",
        "state": "FAILED",
        "outcome": "errored",
        "worker_id": found["recent"][0]["worker_id"],
        "host": "here",
        "version": None,
        "finished_at": None,
    }
    problem(await api.client.get("/api/failures/add/0123"), "failure_not_found")
    problem(await api.client.get("/api/failures/a%20b/0123"), "not_found")


async def test_acknowledged_failure_is_recorded_and_told(api: Api, shop: Shop) -> None:
    await shop.fail()
    await count(api.service.engine.stores.failures)
    answer = await api.client.post(f"{PATH}/acknowledge")
    assert answer.status_code == 200, answer.text
    assert (answer.json()["state"], answer.json()["acknowledged_by"]) == (
        "acknowledged",
        "open API",
    )
    (row,) = (await api.get("/api/operations"))["operations"]
    assert (row["action"], row["target"], row["outcome"]) == (
        "acknowledge",
        f"add/{GONE.fingerprint}",
        "done",
    )
    problem(await api.client.post("/api/failures/add/0123/acknowledge"), "failure_not_found")
    for _ in range(2):
        answer = await api.client.delete(f"{PATH}/acknowledge")
        assert answer.status_code == 200, answer.text
        assert (answer.json()["state"], answer.json()["acknowledged_by"]) == ("new", None)
    rows = (await api.get("/api/operations"))["operations"]
    assert [row["action"] for row in rows[:2]] == ["unacknowledge", "unacknowledge"]
    problem(await api.client.delete("/api/failures/add/0123/acknowledge"), "failure_not_found")
