"""Every error has its problem, and no problem reveals internals."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any, cast

import pytest
from litestar.types import Scope

from leaseq import errors
from leaseq.codec import new_task_id
from leaseq.observability.telemetry import INFO, recorded
from leaseq_api import problems
from leaseq_api.problem_kinds import KINDS
from leaseq_api.security.principal import OPEN
from support.api import Api, problem

# Raised inside workers and in Python clients only, or before the service has begun.
NEVER_OVER_HTTP = {
    "codec_mismatch",
    "config_invalid",
    "fenced",
    "leaseq_error",
    "not_open",
    "result_invalid",
    "result_timeout",
    "server_unfit",
    "task_cancelled",
    "task_erased",
    "task_failed",
    "transaction_ended",
    "transaction_foreign",
}


def codes(error: type[errors.LeaseqError]) -> set[str]:
    # Tests define errors of their own, which live as long as this process.
    kinds = [kind for kind in error.__subclasses__() if kind.__module__.startswith("leaseq")]
    return {error.code}.union(*(codes(kind) for kind in kinds))


def test_every_error_of_leaseq_is_in_the_table_or_never_gets_there() -> None:
    mine = codes(errors.LeaseqError)
    assert mine - NEVER_OVER_HTTP <= KINDS.keys()
    assert not NEVER_OVER_HTTP & KINDS.keys()


def test_titles_tell_codes_apart() -> None:
    assert len({kind.title for kind in KINDS.values()}) == len(KINDS)
    assert {kind.status for kind in KINDS.values() if kind.retry} == {409, 429, 503}


def test_every_code_is_used_somewhere() -> None:
    package = Path(problems.__file__).parent
    engine = Path(errors.__file__)
    text = engine.read_text() + "".join(f.read_text() for f in package.rglob("*.py"))
    for code in KINDS:
        assert text.count(f'"{code}"') > 1, code


async def test_a_fault_of_ours_is_a_500_that_gives_nothing_away(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("select s3cret from /etc/leaseq")

    monkeypatch.setattr(api.service.tasks_of(cast(Scope, {"principal": OPEN})), "find", broken)
    with recorded() as events:
        answer = await api.client.get(f"/api/tasks/{new_task_id()}")
    problem(answer, "internal_error")
    assert "s3cret" not in answer.text
    assert "RuntimeError" not in answer.text
    (event,) = [event for event in events if event.name == "request.failed"]
    assert event.fields["error"] == "RuntimeError"
    assert "in broken" in event.fields["traceback"]
    assert "s3cret" not in event.fields["error"]


async def test_an_error_that_is_not_in_the_table_is_a_fault_too(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fenced(*_: Any, **__: Any) -> None:
        raise errors.Fenced

    monkeypatch.setattr(api.service.tasks_of(cast(Scope, {"principal": OPEN})), "find", fenced)
    problem(await api.client.get(f"/api/tasks/{new_task_id()}"), "internal_error")


async def test_the_link_of_every_problem_leads_to_a_page_about_it(api: Api) -> None:
    for code, kind in KINDS.items():
        page = await api.client.get(problems.page_of(code))
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert code in page.text
        assert str(kind.status) in page.text
        assert len(kind.advice) > 20
        assert page.headers["content-security-policy"].startswith("default-src 'none'; ")
        for part in ("What to do", html.escape(kind.advice), "Again", "Where", "Example"):
            assert part in page.text
        assert "<ul>\n</ul>" not in page.text, f"{code} is told nowhere"
        assert "<script" not in page.text
    listed = (await api.client.get("/problems")).text
    assert all(code in listed for code in KINDS)
    problem(await api.client.get("/problems/nonsense"), "not_found")


async def test_client_input_is_not_logged_at_info(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with recorded(level=INFO) as events:
        task_id = await api.submitted(
            {"type": "add", "payload": "s3cret"}, Idempotency_Key="s3cret"
        )
        await api.submit({"type": "add", "payload": "s3cret2"}, Idempotency_Key="s3cret")
        await api.send(b'{"type":"s3cret')
        await api.client.get("/s3cret?s3cret=s3cret")
        await api.client.post(f"/api/tasks/{task_id}/cancel")
    assert [event.name for event in events] == ["task.cancelled"]
    # not the client's
    logged = [
        record.getMessage() for record in caplog.records if not record.name.startswith("http")
    ]
    assert "s3cret" not in repr(events) + repr(logged)


PATHS = {
    "/api/census",
    "/api/limits",
    "/api/limits/{name}",
    "/api/events",
    "/api/failures",
    "/api/failures/{type_name}/{fingerprint}",
    "/api/failures/{type_name}/{fingerprint}/acknowledge",
    "/api/keys",
    "/api/keys/{key_id}",
    "/api/keys/{key_id}/rotate",
    "/api/operations",
    "/api/operations/preview",
    "/api/operations/{operation_id}",
    "/api/operations/{operation_id}/resume",
    "/api/operations/{operation_id}/stop",
    "/api/notices",
    "/api/overview",
    "/api/queues",
    "/api/queues/{queue}",
    "/api/schedules",
    "/api/schedules/{schedule}",
    "/api/schedules/{schedule}/pause",
    "/api/schedules/{schedule}/resume",
    "/api/schedules/{schedule}/run",
    "/api/quota",
    "/api/queues/{queue}/pause",
    "/api/queues/{queue}/resume",
    "/api/check",
    "/api/due",
    "/api/running",
    "/api/services",
    "/api/stats",
    "/api/tasks",
    "/api/tasks/batch",
    "/api/tasks/{task_id}",
    "/api/tasks/{task_id}/attempts",
    "/api/tasks/{task_id}/cancel",
    "/api/tasks/{task_id}/events",
    "/api/tasks/{task_id}/idempotency-key",
    "/api/tasks/{task_id}/life",
    "/api/tasks/{task_id}/redrive",
    "/api/tasks/{task_id}/replay",
    "/api/tasks/{task_id}/why",
    "/api/tenants",
    "/api/tenants/{name}",
    "/api/types",
    "/api/types/{type}",
    "/api/workers",
    "/api/workers/{worker_id}",
    "/health/live",
    "/health/ready",
    "/metrics",
}


async def test_the_document_describes_every_route_and_its_problems(api: Api) -> None:
    document = await api.get("/schema")
    assert document == await api.get("/schema/openapi.json")
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == PATHS
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert all(operation["description"] for operation in operations)
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    for operation in operations:
        for status, response in operation["responses"].items():
            if int(status) >= 400 and not operation["operationId"].startswith("head_"):
                assert list(response["content"]) == ["application/problem+json"], operation[
                    "operationId"
                ]
    query = {
        parameter["name"] for parameter in document["paths"]["/api/tasks"]["get"]["parameters"]
    }
    assert query == {
        "state",
        "queue",
        "type",
        "idempotency_key",
        "label",
        "error",
        "limit",
        "cursor",
    }


async def test_the_examples_of_a_submission_are_accepted_and_fit_their_schema(api: Api) -> None:
    submit = (await api.get("/schema"))["paths"]["/api/tasks"]["post"]
    assert {parameter["name"] for parameter in submit["parameters"]} == {
        "Idempotency-Key",
        "traceparent",
        "tracestate",
    }
    assert set(submit["responses"]) == {
        *(
            "202",
            "400",
            "401",
            "403",
            "405",
            "408",
            "409",
            "413",
            "414",
            "415",
            "421",
            "422",
            "429",
            "431",
            "500",
            "501",
            "503",
        )
    }
    assert set(submit["responses"]["202"]["headers"]) == {
        *("Location", "Idempotent-Replayed", "Leaseq-Deduplicated"),
        *("RateLimit", "RateLimit-Policy"),
    }
    media = submit["requestBody"]["content"]["application/json"]
    assert media["schema"] == {"$ref": "#/components/schemas/SubmitBody"}
    schema = api.document.content["components"]["schemas"]["SubmitBody"]
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) == {"type", "payload"}
    assert len(media["examples"]) >= 2
    for example in media["examples"].values():
        api.document.validate(media["schema"], example["value"])
        assert (await api.submit(example["value"])).status_code == 202
