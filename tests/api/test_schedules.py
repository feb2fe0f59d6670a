"""Schedules over HTTP: put, list, show, pause, resume, run, delete, and refusals."""

from __future__ import annotations

from typing import Any

import httpx

from leaseq.config import Config
from leaseq.ledger.task_types import TaskType, TypeLedger
from leaseq.limits import BY_FUNCTION, LimitBounds
from support.api import Api, open_api

REQUEST = "0199c6d2-7f3a-7cc4-b2a8-9d1f6a0c4e11"
BODY: dict[str, Any] = {
    "type": "add",
    "payload": {"a": 1},
    "cron": "0 6 * * *",
    "tz": "Europe/Zurich",
}


async def put(api: Api, name: str = "daily", **changes: Any) -> httpx.Response:
    body = {field: value for field, value in (BODY | changes).items() if value is not None}
    return await api.client.put(f"/api/schedules/{name}", json=body)


async def test_a_schedule_from_put_to_delete(api: Api) -> None:
    answer = await put(api, overlap="skip", labels={"k": "v"}, priority="high", jitter_seconds=5)
    assert answer.status_code == 200
    made = answer.json()
    assert made["description"] == "At 06:00 every day"
    assert (made["tz"], made["source"], made["priority"]) == ("Europe/Zurich", "api", "high")
    assert len(made["next_times"]) == 5
    assert made["next_times"][0] == made["next_at"]
    assert (made["payload"], made["runs"]) == ({"a": 1}, [])
    # The same again changes nothing.
    again = (
        await put(api, overlap="skip", labels={"k": "v"}, priority="high", jitter_seconds=5)
    ).json()
    assert again["changed_at"] == made["changed_at"]
    ran = await api.client.post("/api/schedules/daily/run", json={"operation_id": REQUEST})
    assert (ran.status_code, ran.json()["created"]) == (202, True)
    task = await api.client.get(ran.headers["location"])
    assert (task.json()["type"], task.json()["labels"]) == ("add", {"k": "v"})
    twice = await api.client.post("/api/schedules/daily/run", json={"operation_id": REQUEST})
    assert twice.json() == {"task_id": ran.json()["task_id"], "created": False}
    paused = (await api.client.post("/api/schedules/daily/pause")).json()
    assert paused["paused_by"] == "open API"
    assert (await put(api, cron="0 7 * * *")).json()["paused_by"] == "open API", (
        "a put resumes nothing"
    )
    resumed = (await api.client.post("/api/schedules/daily/resume")).json()
    assert (resumed["paused_at"], resumed["fired"]) == (None, 1)
    (run,) = resumed["runs"]
    assert (run["task_id"], run["state"]) == (ran.json()["task_id"], "PENDING")
    page = (await api.client.get("/api/schedules?limit=1")).json()
    assert [each["name"] for each in page["schedules"]] == ["daily"]
    assert "payload" not in page["schedules"][0]
    rest = (await api.client.get(f"/api/schedules?limit=1&cursor={page['next_cursor']}")).json()
    assert rest == {"schedules": [], "next_cursor": None}
    assert (await api.client.delete("/api/schedules/daily")).status_code == 204
    assert (await api.client.get("/api/schedules/daily")).json()["code"] == "schedule_not_found"
    operations = (await api.client.get("/api/operations")).json()["operations"]
    actions = [each["action"] for each in operations][::-1]
    assert actions == [
        *("put_schedule", "put_schedule", "run_schedule", "run_schedule", "pause_schedule"),
        *("put_schedule", "resume_schedule", "delete_schedule"),
    ]


async def test_bad_schedules_are_refused_and_nothing_is_stored(api: Api) -> None:
    cases: list[tuple[dict[str, Any], str, str | None, str]] = [
        ({"cron": "0 25 * * *"}, "schedule_invalid", "/cron", "the hour, '25', is not 0 to 23"),
        ({"cron": "0 0 30 2 *"}, "schedule_invalid", "/cron", "never fires"),
        ({"tz": "Mars/Olympus"}, "schedule_invalid", "/tz", "is no time zone"),
        ({"every_seconds": 60}, "schedule_invalid", "/cron", "one of the two"),
        (
            {"cron": None, "tz": None, "every_seconds": 0.01},
            "schedule_invalid",
            "/every_seconds",
            "1 second",
        ),
        (
            {"start_at": "2026-01-01T00:00:00"},
            "schedule_invalid",
            "/start_at",
            "must carry a time zone",
        ),
        ({"end_at": "2020-01-01T00:00:00Z"}, "schedule_invalid", "/cron", "never fires"),
        ({"catch_up": "maybe"}, "schedule_invalid", "/catch_up", "Invalid enum value"),
        ({"max_catch_up": 0}, "schedule_invalid", "/max_catch_up", ">= 1"),
        ({"delay_seconds": 5}, "schedule_invalid", "/delay_seconds", "unknown field"),
        ({"queue": "no queue"}, "submission_invalid", None, "queue must be"),
    ]
    for changes, code, pointer, detail in cases:
        answer = await put(api, **changes)
        assert answer.status_code in (400, 422)
        problem = answer.json()
        assert problem["code"] == code
        assert detail in problem["detail"]
        assert pointer is None or problem["pointer"] == pointer
        assert (await api.client.get("/api/schedules")).json()["schedules"] == []


async def test_names_and_cursors_that_cannot_be(api: Api) -> None:
    assert (await put(api, "a b")).status_code == 404
    assert (await api.client.get("/api/schedules?cursor=none")).json()[
        "code"
    ] == "parameter_invalid"
    assert (await api.client.post("/api/schedules/none/run")).json()["code"] == "schedule_not_found"
    assert (await put(api)).status_code == 200
    bad = await api.client.post("/api/schedules/daily/run", json={"operation_id": "x"})
    assert (bad.status_code, bad.json()["pointer"]) == (422, "/operation_id")


async def test_a_key_that_is_bound_to_a_tenant_sees_its_own(api: Api) -> None:
    bound = {"Leaseq-Tenant": "acme"}
    await api.client.post("/api/tenants", json={"name": "acme"})
    await put(api)
    assert (await api.client.get("/api/schedules/daily", headers=bound)).status_code == 404
    made = await api.client.put("/api/schedules/own", json=BODY, headers=bound)
    assert made.json()["tenant"] == "acme"
    seen = (await api.client.get("/api/schedules", headers=bound)).json()["schedules"]
    assert [each["name"] for each in seen] == ["own"]
    everyone = (await api.client.get("/api/schedules")).json()["schedules"]
    assert [each["tenant"] for each in everyone] == ["acme", "default"]
    assert (await api.client.get("/api/schedules/own")).status_code == 404


async def test_a_schedule_has_the_limit_of_its_type_and_a_key(
    config: Config, type_ledger: TypeLedger
) -> None:
    await type_ledger.register_types(
        [
            TaskType("charge", "billing", None, limit_name="stripe", limit_key="customer"),
            TaskType("mail", "billing", None, limit_name="stripe", limit_key=BY_FUNCTION),
        ]
    )
    async with open_api(config) as api:
        early = await put(api, type="charge", payload={"customer": "acme"})
        assert (early.status_code, early.json()["code"]) == (422, "limit_unknown")
        assert (await api.client.get("/api/schedules")).json()["schedules"] == []
        await api.service.engine.limits.put(LimitBounds(name="stripe", concurrency=1))
        made = (await put(api, type="charge", payload={"customer": "acme"})).json()
        assert (made["limit"], made["concurrency_key"]) == ("stripe", "acme")
        assert (await put(api, type="mail")).json()["code"] == "submission_invalid"
        made = (await put(api, type="mail", concurrency_key="b")).json()
        assert (made["limit"], made["concurrency_key"]) == ("stripe", "b")
        assert (await put(api, concurrency_key="b")).json()["code"] == "submission_invalid"
        await api.service.engine.limits.delete("stripe")
        refused = await api.client.post("/api/schedules/daily/run")
        assert (refused.status_code, refused.json()["code"]) == (422, "limit_unknown")
        await api.service.engine.limits.put(LimitBounds(name="stripe", concurrency=1))
        ran = await api.client.post("/api/schedules/daily/run")
        await api.service.engine.admissions.aclose()
        task = (await api.client.get(ran.headers["location"])).json()
        assert (task["type"], task["state"]) == ("mail", "PENDING")


async def test_no_submission_takes_the_key_of_an_occurrence(api: Api) -> None:
    key = "leaseq.schedule:daily:2026-12-24T05:00:00Z"
    headers = {"Idempotency-Key": f'"{key}"'}
    task = {"type": "add", "payload": {}}
    answer = await api.client.post("/api/tasks", json=task, headers=headers)
    assert answer.json()["code"] == "idempotency_key_invalid"
    (item,) = (
        await api.client.post("/api/tasks/batch", json=[task | {"idempotency_key": key}])
    ).json()["items"]
    assert item["problem"]["code"] == "idempotency_key_invalid"
