"""The OpenAPI document agrees with the service, and is complete."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from leaseq.codec import new_task_id
from leaseq.config import Config
from leaseq_api.problem_kinds import KINDS
from support.api import Api, open_api, problem

YEAR = 366 * 86_400
NAMES = ["a", "A-Z_0.9", "a" * 128, "", "a" * 129, "a b", "a\n", "é", "a/b", "\u0000", 1, None]
OFFSETS = [
    "Z",
    "z",
    "+00:00",
    "-00:00",
    "+14:00",
    "+15:59",
    "+16:00",
    "-16:00",
    "+23:59",
    "-23:59",
    "+24:00",
    "+1600",
    "+16",
    "",
]
TIMES = [
    *(f"2100-01-01T00:00:00{offset}" for offset in OFFSETS),
    *(
        f"{year}-06-01T00:00:00+16:00"
        for year in (
            "0000",
            "0001",
            "1969",
            "1970",
            "1999",
            "2999",
            "9998",
            "9999",
            "10000",
            "-001",
        )
    ),
    *(
        "1970-01-01T00:00:00+23:59",
        "9998-12-31T23:59:59-23:59",
        "2100-01-01T23:59:60Z",
        "2100-01-01T24:00:00Z",
    ),
    *(
        "2100-02-30T00:00:00Z",
        "2100-01-01T00:00:00.123456789Z",
        "2100-01-01",
        "tomorrow",
        "infinity",
        "",
        4_102_444_800,
        True,
    ),
]
NUMBERS = [-1, -0.5, 0, 1e-9, 0.5, 1, 3.0, 1000, 1001, YEAR, YEAR + 1, 1e300, 10**30, "1", True, []]
# Values of each field, of which some are at its limits and some beyond.
VALUES: dict[str, list[Any]] = {
    "type": NAMES,
    "queue": NAMES,
    "priority": ["high", "normal", "low", "HIGH", "", 1, None],
    "delay_seconds": NUMBERS,
    "timeout_seconds": NUMBERS,
    "max_attempts": NUMBERS,
    "run_at": TIMES,
    "expires_at": TIMES,
    "payload": [None, True, 1, "", [], {}],
    "state": ["PENDING"],
}
# Spellings that are no time of RFC 3339 (no colon in the offset) and mean one all the same.
LENIENT = {"2100-01-01T00:00:00+1600"}
KEYS = [
    "k",
    "k" * 255,
    "k" * 256,
    '"k"',
    '"' + "k" * 255 + '"',
    '"' + "k" * 256 + '"',
    r'"a \" b"',
    r'"\a"',
    "a b",
    "a,b",
    '"a,b"',
    '"',
    "a\u007f",
]
ADDRESSES: dict[str, list[tuple[str, Any]]] = {
    "/api/tasks": [
        *(("limit", limit) for limit in (0, 1, 200, 201)),
        *(("state", state) for state in ("PENDING", "null", "pending")),
        *(
            (name, value)
            for name in ("queue", "type")
            for value in ("a", "a" * 128, "a" * 129, "a b")
        ),
        *(("idempotency_key", key) for key in ("a b", "k" * 255, "k" * 256, "é")),
        *(
            ("label", labels)
            for labels in (
                ["a=1"],
                [f"{name}==é" for name in "abcd"],
                [f"{name}=1" for name in "abcde"],
                ["a"],
                ["a="],
                ["a b=1"],
                ["n" * 64 + "=" + "v" * 128],
                ["n" * 65 + "=1"],
                ["a=" + "v" * 129],
            )
        ),
        *(("error", value) for value in ("0123456789ab", "0123456789AB", "0" * 11, "0" * 13, "é")),
        *(("cursor", cursor) for cursor in (new_task_id(), "first")),
    ],
    "/api/operations": [
        *(("limit", limit) for limit in (0, 1, 200, 201)),
        *(("action", action) for action in ("cancel", "pause", "Cancel", "destroy")),
        *(
            (name, value)
            for name in ("target", "key_id")
            for value in ("a", "a" * 255, "a" * 256, "a b", "é")
        ),
        *(("cursor", cursor) for cursor in (new_task_id(), "first")),
    ],
    "/api/types": [
        *(("limit", limit) for limit in (0, 1, 200, 201)),
        *(("cursor", cursor) for cursor in ("", "a", "a" * 128, "a" * 129, "a b")),
    ],
    "/api/workers": [
        *(("limit", limit) for limit in (0, 1, 200, 201)),
        ("closed", True),
        ("closed", "perhaps"),
    ],
}


async def test_the_document_and_the_service_agree_about_every_value_of_a_submission(
    api: Api,
) -> None:
    schema = {"$ref": "#/components/schemas/SubmitBody"}
    for field, values in VALUES.items():
        for value in values:
            body = {"type": "add", "payload": 1, field: value}
            answer = await api.submit(body)
            assert answer.status_code in (202, 422), (body, answer.text)
            if not (isinstance(value, str) and value in LENIENT):
                assert (answer.status_code == 202) == api.document.fits(schema, body), (
                    body,
                    answer.text,
                )
            if answer.status_code == 422:
                assert "CONTEXT" not in problem(answer, "submission_invalid")["detail"]
    both = {"type": "add", "payload": 1, "delay_seconds": 1, "run_at": "2100-01-01T00:00:00Z"}
    assert not api.document.fits(schema, both)
    assert api.document.fits(schema, both | {"delay_seconds": None})
    assert (await api.submit(both | {"delay_seconds": None})).status_code == 202


async def test_the_document_and_the_service_agree_about_keys(api: Api) -> None:
    parameter = api.document.paths["/api/tasks"]["post"]["parameters"][0]
    assert parameter["name"] == "Idempotency-Key"
    for key in KEYS:
        answer = await api.submit(Idempotency_Key=key)
        assert answer.status_code in (202, 400), (key, answer.text)
        assert (answer.status_code == 202) == api.document.fits(parameter["schema"], key), (
            key,
            answer.text,
        )


async def test_the_document_and_the_service_agree_about_parameters(api: Api) -> None:
    for path, given in ADDRESSES.items():
        schemas = {
            each["name"]: each["schema"] for each in api.document.paths[path]["get"]["parameters"]
        }
        assert {name for name, _ in given} == set(schemas)
        for name, value in given:
            answer = await api.client.get(path, params={name: value})
            assert answer.status_code in (200, 400), (name, value, answer.text)
            assert (answer.status_code == 200) == api.document.fits(schemas[name], value), (
                name,
                value,
                answer.text,
            )


async def test_an_attempt_count_of_3_and_of_3_point_0_is_the_same_submission(api: Api) -> None:
    whole = await api.submitted(
        {"type": "add", "payload": 1, "max_attempts": 3}, Idempotency_Key="k"
    )
    assert (
        await api.submitted({"type": "add", "payload": 1, "max_attempts": 3.0}, Idempotency_Key="k")
        == whole
    )


@pytest.mark.parametrize("required", [False, True])
async def test_a_key_is_required_in_the_document_where_the_service_requires_it(
    config: Config, required: bool
) -> None:
    async with open_api(replace(config, require_idempotency_key=required)) as api:
        parameter = api.document.paths["/api/tasks"]["post"]["parameters"][0]
        assert (parameter["name"], parameter["required"]) == ("Idempotency-Key", required)
        assert (await api.submit()).status_code == (400 if required else 202)


async def test_every_code_stands_at_an_operation_and_every_problem_has_its_headers(
    api: Api,
) -> None:
    told: set[str] = set()
    for path, item in api.document.paths.items():
        for method, operation in item.items():
            for status, response in operation["responses"].items():
                if int(status) < 400:
                    continue
                codes = response["description"].removeprefix("code: ").split(", ")
                assert {KINDS[code].status for code in codes} == {int(status)}, (
                    method,
                    path,
                    codes,
                )
                assert response["headers"]["Link"]["required"], (method, path, status)
                told.update(codes)
    assert told == set(KINDS)


async def test_answers_to_a_key_with_a_limit_may_have_its_fields(api: Api) -> None:
    fields = {"RateLimit", "RateLimit-Policy"}
    assert set(api.document.content["components"]["headers"]) == fields
    limited = 0
    for path, item in api.document.paths.items():
        for method, operation in item.items():
            responses = operation["responses"]
            with_fields = {
                status
                for status, response in responses.items()
                if fields <= set(response.get("headers", {}))
            }
            if not path.startswith("/api/") or method == "options":
                assert not with_fields, (method, path)
                # A 429 there is `too_many_attempts`.
                assert "429" not in responses or path == "/metrics", (method, path)
                continue
            limited += 1
            assert {status for status in responses if int(status) < 400} <= with_fields
            # Refused before the key is known: by the HTTP server, for the host, for the key itself.
            assert not with_fields & {"401", "408", "414", "421", "431", "501"}, (method, path)
            assert {"404", "429", "503"} & set(responses) <= with_fields, (method, path)
            assert responses["429"]["headers"]["Retry-After"]["required"], (method, path)
    assert limited > 30


async def test_every_address_is_in_the_document_with_head_and_options(api: Api) -> None:
    for path, item in api.document.paths.items():
        assert ("get" in item) == ("head" in item)
        allowed = (await api.client.options(re.sub(r"\{[^}]+\}", "x", path))).headers["allow"]
        assert {method.upper() for method in item} == set(allowed.split(", ")), path


def _nodes(node: Any) -> list[dict[str, Any]]:
    inner = (
        list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else []
    )
    return ([node] if isinstance(node, dict) else []) + [
        found for each in inner for found in _nodes(each)
    ]


async def test_schemas_have_no_exclusive_choice_and_every_time_its_format(api: Api) -> None:
    schemas = api.document.content["components"]["schemas"]
    assert not [node for node in _nodes(api.document.content) if "oneOf" in node]
    times = [
        (name, field, node)
        for name, schema in schemas.items()
        for field, written in schema.get("properties", {}).items()
        if re.search(r"_at$|_seen$|_since$", field)
        for node in _nodes(written)
        if node.get("type") == "string"
    ]
    assert len(times) > 15
    assert all(node.get("format") == "date-time" for _, _, node in times), times


async def test_a_wrong_answer_is_found(api: Api) -> None:
    """The judge of all other tests of the API refuses what the document does not say."""
    page: dict[str, Any] = {"tasks": [], "next_cursor": None}
    good: dict[str, Any] = {
        "status": 200,
        "headers": {"content-type": "application/json"},
        "body": _json(page),
    }
    api.document.check("GET", "/api/tasks", **good)
    bad: list[dict[str, Any]] = [
        {"status": 201},
        {"headers": {"content-type": "text/html"}},
        {"headers": good["headers"] | {"retry-after": "1"}},
        {"body": _json(page | {"next_cursor": "x"})},
        {"body": _json({"tasks": []})},
        {"status": 409},
    ]
    for change in bad:
        with pytest.raises(AssertionError):
            api.document.check("GET", "/api/tasks", **(good | change))
    with pytest.raises(AssertionError):
        api.document.check("GET", "/api/nowhere", **good)


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)


async def test_every_body_and_answer_has_an_example_that_fits_its_schema(api: Api) -> None:
    """Also of a new route: `leaseq_api/examples.py` has the values."""
    seen = 0
    for path, item in api.document.paths.items():
        for method, operation in item.items():
            described = [operation.get("requestBody", {}), *operation["responses"].values()]
            for content in (each for one in described for each in one.get("content", {}).values()):
                assert content["examples"], (method, path)
                for name, example in content["examples"].items():
                    api.document.validate(content["schema"], example["value"], name)
                    assert example["summary"]
                    seen += 1
            for parameter in operation.get("parameters", ()):
                assert parameter["in"] != "path" or parameter["example"], (method, path)
                if "example" in parameter:
                    api.document.validate(parameter["schema"], parameter["example"], path)
    assert seen > 300


async def test_an_example_has_the_members_of_a_real_answer(api: Api) -> None:
    task_id = await api.submitted(_example(api, "/api/tasks", "post", "smallest"))
    await api.client.post(f"/api/tasks/{task_id}/cancel")
    answers = {
        "/api/tasks": "/api/tasks",
        f"/api/tasks/{task_id}": "/api/tasks/{task_id}",
        "/api/queues": "/api/queues",
        "/health/ready": "/health/ready",
    }
    for address, path in answers.items():
        content = api.document.paths[path]["get"]["responses"]["200"]["content"]
        shown = [example["value"] for example in content["application/json"]["examples"].values()]
        real = _shape(await api.get(address))
        assert real in [_shape(value) for value in shown], path


def _example(api: Api, path: str, method: str, name: str) -> Any:
    body = api.document.paths[path][method]["requestBody"]["content"]["application/json"]
    return body["examples"][name]["value"]


def _shape(value: Any) -> Any:
    """The names of the members of an answer, at every depth."""
    opaque = ("payload", "result", "progress", "error", "labels")
    if isinstance(value, dict):
        return {
            name: None if name in opaque else _shape(each) for name, each in sorted(value.items())
        }
    return [_shape(each) for each in value[:1]] if isinstance(value, list) else None


async def test_the_document_names_the_key_and_every_tag(api: Api) -> None:
    content = api.document.content
    assert content["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    paths = api.document.paths
    assert paths["/api/tasks"]["post"]["security"] == [{"key": ["submit"]}, {}]
    assert paths["/api/tasks"]["head"]["security"] == [{"key": ["read"]}, {}]
    assert paths["/health/live"]["get"]["security"] == []
    used = {
        tag
        for item in api.document.paths.values()
        for each in item.values()
        for tag in each["tags"]
    }
    assert used == {tag["name"] for tag in content["tags"]}
    assert all(
        not re.search(r"[a-z][A-Z]", operation["summary"])
        for item in api.document.paths.values()
        for operation in item.values()
    )
