"""Each client error gets the right 4xx, and nothing is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from leaseq.codec import new_task_id
from leaseq.ledger.session import Connection
from leaseq.observability.telemetry import recorded
from support.api import JSON, Api, problem

MIB = 1_048_576


def submission(payload: bytes = b"1", more: bytes = b"") -> bytes:
    return b'{"type":"add","payload":' + payload + more + b"}"


def field(name: str, value: str) -> bytes:
    return submission(more=f',"{name}":{value}'.encode())


# Request -> the code, and the pointer if one place is wrong.
BODIES: dict[str, tuple[bytes, str, str | None]] = {
    "nothing": (b"", "json_invalid", None),
    "no JSON": (b"type=add", "json_invalid", None),
    "two values": (submission() + b"{}", "json_invalid", None),
    "cut off": (b'{"type":"add","payload":', "json_invalid", None),
    "a comma too many": (b'{"type":"add","payload":1,}', "json_invalid", None),
    "a byte order mark": (b"\xef\xbb\xbf" + submission(), "json_invalid", None),
    "another encoding": (submission().decode().encode("utf-16"), "json_invalid", None),
    "NaN": (submission(b"NaN"), "json_invalid", None),
    "Infinity": (submission(b"-Infinity"), "json_invalid", None),
    "a leading zero": (submission(b"01"), "json_invalid", None),
    "invalid UTF-8 in a name": (b'{"type":"\xff","payload":1}', "json_invalid", None),
    "a list": (b"[]", "submission_invalid", ""),
    "null": (b"null", "submission_invalid", ""),
    "no payload": (b'{"type":"add"}', "submission_invalid", "/payload"),
    "no type": (b'{"payload":1}', "submission_invalid", "/type"),
    "an unknown field": (field("stat", "1"), "submission_invalid", "/stat"),
    "a state": (field("state", '"SUCCESS"'), "submission_invalid", "/state"),
    "a tenant": (field("tenant", '"other"'), "submission_invalid", "/tenant"),
    "a type that is a number": (b'{"type":1,"payload":1}', "submission_invalid", "/type"),
    "an empty type": (b'{"type":"","payload":1}', "submission_invalid", None),
    "a type with a space": (b'{"type":"a b","payload":1}', "submission_invalid", None),
    "a type with a NUL": (b'{"type":"a\\u0000","payload":1}', "submission_invalid", None),
    "a type with half a pair": (b'{"type":"\\ud800","payload":1}', "json_invalid", None),
    "a type of 129": (b'{"type":"' + b"a" * 129 + b'","payload":1}', "submission_invalid", None),
    "a queue with a slash": (field("queue", '"a/b"'), "submission_invalid", None),
    "a queue with a line break": (field("queue", '"a\\n"'), "submission_invalid", None),
    "no such priority": (field("priority", '"urgent"'), "submission_invalid", "/priority"),
    "a priority that is a number": (field("priority", "1"), "submission_invalid", "/priority"),
    "a negative delay": (field("delay_seconds", "-1"), "submission_invalid", None),
    "a delay of two years": (field("delay_seconds", "63072000"), "submission_invalid", None),
    "a delay beyond numbers": (
        field("delay_seconds", "1e400"),
        "submission_invalid",
        "/delay_seconds",
    ),
    "a delay that is true": (
        field("delay_seconds", "true"),
        "submission_invalid",
        "/delay_seconds",
    ),
    "a delay in words": (field("delay_seconds", '"1"'), "submission_invalid", "/delay_seconds"),
    "a delay and a time": (
        submission(more=b',"delay_seconds":1,"run_at":"2100-01-01T00:00:00Z"'),
        "submission_invalid",
        None,
    ),
    "a time without a zone": (field("run_at", '"2100-01-01T00:00:00"'), "submission_invalid", None),
    "no time": (field("run_at", '"tomorrow"'), "submission_invalid", "/run_at"),
    "a time that is a number": (field("run_at", "4102444800"), "submission_invalid", "/run_at"),
    "a time before time": (
        field("run_at", '"0001-01-01T00:00:00+14:00"'),
        "submission_invalid",
        None,
    ),
    "a time after time": (
        field("expires_at", '"9999-12-31T23:59:59-14:00"'),
        "submission_invalid",
        None,
    ),
    "no attempts": (field("max_attempts", "0"), "submission_invalid", None),
    "attempts without end": (field("max_attempts", "1" + "0" * 30), "submission_invalid", None),
    "half an attempt": (field("max_attempts", "1.5"), "submission_invalid", "/max_attempts"),
    "no time at all": (field("timeout_seconds", "0"), "submission_invalid", None),
    "a payload with a NUL": (submission(b'{"a":"\\u0000"}'), "payload_invalid", "/payload"),
    "a payload with half a pair": (submission(b'"\\ud83d"'), "json_invalid", None),
    "a payload with a lone half": (submission(b'"\\ud83d, and more"'), "json_invalid", None),
    "a payload with the other half": (submission(b'"\\ude00 and more"'), "json_invalid", None),
    "a payload of 65 levels": (submission(b"[" * 65 + b"]" * 65), "payload_invalid", "/payload"),
    "a payload of 65 objects": (
        submission(b'{"a":' * 65 + b"1" + b"}" * 65),
        "payload_invalid",
        "/payload",
    ),
    "a payload of brackets": (submission(b"[" * 500_000), "json_invalid", None),
    "a payload of closed brackets": (
        submission(b"[" * 400_000 + b"]" * 400_000),
        "json_invalid",
        None,
    ),
    "a number beyond numbers": (submission(b"1e400"), "payload_invalid", "/payload"),
    "a number of 5000 digits": (submission(b"1" + b"0" * 5000), "payload_invalid", "/payload"),
    "invalid UTF-8": (submission(b'"\xff"'), "payload_invalid", "/payload"),
    "an encoded half": (submission(b'"\xed\xa0\x80"'), "payload_invalid", "/payload"),
    "more than a mebibyte": (submission(b'"' + b"a" * MIB + b'"'), "body_too_large", None),
}


MEDIA_TYPES = [
    "",
    "text/plain",
    "application/x-www-form-urlencoded",
    "application/json; charset=latin-1",
    "application/jsonp",
]

# Method and path -> the code.
ADDRESSES = [
    ("GET", "/", "not_found"),
    ("GET", "/api", "not_found"),
    ("GET", "/api/jobs", "not_found"),
    ("GET", "/api/tasks/a/b/c", "not_found"),
    ("DELETE", "/api/tasks", "method_not_allowed"),
    ("PUT", f"/api/tasks/{new_task_id()}", "method_not_allowed"),
    ("GET", f"/api/tasks/{new_task_id()}/cancel", "method_not_allowed"),
    ("GET", f"/api/tasks/{new_task_id()}", "task_not_found"),
    ("GET", f"/api/tasks/{new_task_id()}/attempts", "task_not_found"),
    ("POST", f"/api/tasks/{new_task_id()}/cancel", "task_not_found"),
    ("POST", f"/api/tasks/{new_task_id()}/redrive", "task_not_found"),
    ("DELETE", f"/api/tasks/{new_task_id()}", "task_not_found"),
    ("DELETE", f"/api/tasks/{new_task_id()}/idempotency-key", "task_not_found"),
    ("GET", "/api/tasks/1", "task_not_found"),
    ("GET", "/api/tasks/%00", "not_found"),
    ("GET", "/api/tasks/%ff%fe/attempts", "not_found"),
    ("POST", "/api/tasks/'%20or%201=1/cancel", "not_found"),
    ("POST", "/api/tasks/x/redrive", "task_not_found"),
    ("GET", f"/api/tasks/{new_task_id()}?wait=61", "parameter_invalid"),
    ("GET", f"/api/tasks/{new_task_id()}?wait=-1", "parameter_invalid"),
    ("GET", f"/api/tasks/{new_task_id()}?wait=nan", "parameter_invalid"),
    ("GET", f"/api/tasks/{new_task_id()}?wait=inf", "parameter_invalid"),
    ("GET", f"/api/tasks/{new_task_id()}?wait=soon", "parameter_invalid"),
    ("GET", f"/api/tasks/{new_task_id()}?wiat=1", "parameter_invalid"),
    ("GET", "/api/tasks?state=DONE", "parameter_invalid"),
    ("GET", "/api/tasks?state=pending", "parameter_invalid"),
    ("GET", "/api/tasks?state=PENDING&state=FAILED", "parameter_invalid"),
    ("GET", "/api/tasks?stat=FAILED", "parameter_invalid"),
    ("GET", "/api/tasks?limit=0", "parameter_invalid"),
    ("GET", "/api/tasks?limit=201", "parameter_invalid"),
    ("GET", "/api/tasks?limit=" + "9" * 400, "parameter_invalid"),
    ("GET", "/api/tasks?cursor=first", "parameter_invalid"),
    ("GET", "/api/tasks?queue=%00", "parameter_invalid"),
    ("GET", "/api/tasks?queue=", "parameter_invalid"),
    ("GET", "/api/tasks?type=%ff", "parameter_invalid"),
    ("GET", "/api/tasks?idempotency_key=%00", "parameter_invalid"),
    ("GET", "/api/tasks?idempotency_key=" + "k" * 256, "parameter_invalid"),
    ("POST", "/api/tasks?type=add", "parameter_invalid"),
    ("POST", f"/api/tasks/{new_task_id()}/cancel?force=1", "parameter_invalid"),
    ("GET", "/api/queues?name=a", "parameter_invalid"),
    ("POST", "/api/queues/a%20b/pause", "not_found"),
    ("POST", "/api/queues/%00/resume", "not_found"),
    ("POST", "/api/queues/" + "q" * 129 + "/pause", "not_found"),
    ("GET", "/api/workers?limit=0", "parameter_invalid"),
    ("GET", "/api/operations?actor=x", "parameter_invalid"),
    ("GET", "/api/workers?limit=x", "parameter_invalid"),
    ("GET", "/api/workers?closed=perhaps", "parameter_invalid"),
    ("GET", "/api/workers?open=true", "parameter_invalid"),
]


@pytest.fixture(autouse=True)
async def nothing_is_stored(plain: Connection) -> AsyncIterator[None]:
    with recorded() as events:
        yield
    cursor = await plain.execute(
        "select (select count(*) from leaseq.tasks), (select count(*) from leaseq.idempotency_keys)"
    )
    assert await cursor.fetchall() == [(0, 0)]
    assert not [event for event in events if event.name == "request.failed"]


async def test_bad_bodies(api: Api) -> None:
    for name, (raw, code, pointer) in BODIES.items():
        body = problem(await api.send(raw, **{"Idempotency-Key": "k"}), code)
        assert body.get("pointer") == pointer, name
        assert len(body["detail"]) <= 1000, name


async def test_other_media_types(api: Api) -> None:
    for media_type in MEDIA_TYPES:
        answer = await api.client.post(
            "/api/tasks", content=submission(), headers={"Content-Type": media_type}
        )
        problem(answer, "media_type_unsupported")
    problem(await api.client.post("/api/tasks", content=submission()), "media_type_unsupported")
    compressed = JSON | {"Content-Encoding": "gzip"}
    problem(
        await api.client.post("/api/tasks", content=submission(), headers=compressed),
        "media_type_unsupported",
    )


async def test_a_body_without_a_length_has_the_same_limit(api: Api) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"type":"add","payload":"'
        for _ in range(20):
            yield b"a" * 65_536
        yield b'"}'

    problem(await api.client.post("/api/tasks", content=chunks(), headers=JSON), "body_too_large")


async def test_bad_addresses(api: Api, plain: Connection) -> None:
    for method, path, code in ADDRESSES:
        answer = await api.client.request(method, path)
        body = problem(answer, code)
        assert ("allow" in answer.headers) == (code == "method_not_allowed")
        assert body["instance"].isascii()
    cursor = await plain.execute("select count(*) from leaseq.queues")
    assert await cursor.fetchall() == [(0,)]
