"""A submission returns the recorded task, and a repeated one the same task."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.ledger.session import Connection
from leaseq.model import State
from support.api import Api, open_api, problem
from support.examples import examples

KEY = {"Idempotency-Key": "order-1"}
BODY = {"type": "add", "payload": {"n": 1}}


async def count(plain: Connection) -> int:
    cursor = await plain.execute("select count(*) from leaseq.tasks")
    return int((await cursor.fetchall())[0][0])


async def test_a_small_submission_gets_every_default(api: Api, config: Config) -> None:
    answer = await api.submit()
    assert answer.status_code == 202
    body = answer.json()
    assert answer.headers["location"] == f"/api/tasks/{body['task_id']}"
    assert "idempotent-replayed" not in answer.headers
    assert (body["state"], body["queue"], body["type"], body["priority"]) == (
        "PENDING",
        "default",
        "add",
        "normal",
    )
    assert (body["attempt"], body["retry_count"], body["crash_count"]) == (0, 0, 0)
    assert (body["max_attempts"], body["timeout_seconds"]) == (
        config.max_attempts,
        config.timeout_seconds,
    )


async def test_the_answer_is_what_the_ledger_has(api: Api) -> None:
    expires_at = datetime.now(UTC) + timedelta(days=1)
    body = {
        "type": "charge",
        "payload": [1, {"b": None}],
        "queue": "billing",
        "priority": "high",
        "delay_seconds": 60,
        "max_attempts": 3,
        "timeout_seconds": 1.5,
        "expires_at": expires_at.isoformat(),
    }
    answer = await api.submit(body, **KEY)
    shown = await api.get(answer.headers["location"])
    assert shown.pop("payload") == [1, {"b": None}]
    assert answer.json() == shown
    assert (shown["queue"], shown["priority"], shown["state"]) == ("billing", "high", "SCHEDULED")
    assert (shown["max_attempts"], shown["timeout_seconds"]) == (3, 1.5)
    assert datetime.fromisoformat(shown["expires_at"]) == expires_at
    waited = datetime.fromisoformat(shown["run_at"]) - datetime.fromisoformat(shown["created_at"])
    assert waited == timedelta(seconds=60)


async def test_a_time_to_run_at_is_kept_in_any_time_zone(api: Api) -> None:
    answer = await api.submit(BODY | {"run_at": "2100-01-01T00:30:00+01:00"})
    assert answer.json()["run_at"] == "2099-12-31T23:30:00Z"
    assert answer.json()["state"] == "SCHEDULED"


@pytest.mark.parametrize(
    "payload",
    [
        b'{ "b" : 1.0,\n\t"a":1e2 ,"a": -0.0}',
        b'"\\u00e9 \\ud83d\\ude00 \xc3\xa9"',
        b"null",
        b"1" + b"0" * 400,
        b"[" * 64 + b"]" * 64,
        b'"\\\\u0000"',
    ],
)
async def test_the_payload_is_kept_byte_for_byte(api: Api, payload: bytes) -> None:
    answer = await api.send(b'{"payload": ' + payload + b' , "type":"add"}')
    assert answer.status_code == 202, answer.text
    shown = await api.client.get(answer.headers["location"])
    assert shown.content.endswith(b'"payload":' + payload + b"}")


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(content=ANY_JSON, indent=st.sampled_from([0, 1, 4]))
@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_any_json_comes_back_byte_for_byte_or_is_refused(
    api: Api, content: Any, indent: int
) -> None:
    payload = msgspec.json.format(msgspec.json.encode(content), indent=indent)
    answer = await api.send(b'{"type":"add","payload":' + payload + b"}")
    if b"\\u0000" in payload.replace(b"\\\\", b""):
        problem(answer, "payload_invalid")
        return
    assert answer.status_code == 202, answer.text
    shown = await api.client.get(answer.headers["location"])
    assert shown.content.endswith(b'"payload":' + payload + b"}")


async def test_the_same_key_is_the_same_task(api: Api, plain: Connection) -> None:
    first = await api.submit(BODY, **KEY)
    again = await api.submit(BODY, **KEY)
    quoted = await api.submit(
        {"payload": {"n": 1}, "type": "add"}, **{"Idempotency-Key": '"order-1"'}
    )
    assert first.status_code == again.status_code == quoted.status_code == 202
    assert again.headers["idempotent-replayed"] == quoted.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert first.json()["task_id"] == again.json()["task_id"] == quoted.json()["task_id"]
    assert again.json() == await api.get(first.headers["location"])
    assert await count(plain) == 1


async def test_a_replay_shows_how_the_task_is_now(api: Api) -> None:
    task_id = await api.submitted(BODY, **KEY)
    await api.client.post(f"/api/tasks/{task_id}/cancel")
    assert (await api.submit(BODY, **KEY)).json()["state"] == "CANCELLED"


async def test_a_key_outlives_its_task(api: Api, plain: Connection) -> None:
    task_id = await api.submitted(BODY, **KEY)
    await plain.execute("update leaseq.idempotency_keys set final_state = 'SUCCESS'")
    await plain.execute("delete from leaseq.tasks")
    answer = await api.submit(BODY, **KEY)
    assert answer.status_code == 202
    assert answer.headers["idempotent-replayed"] == "true"
    remembered = answer.json()
    assert (remembered["task_id"], remembered["state"]) == (task_id, State.SUCCESS)
    assert (remembered["type"], remembered["queue"], remembered["idempotency_key"]) == (
        "add",
        "default",
        "order-1",
    )
    assert await count(plain) == 0


async def test_a_key_with_other_content_is_refused_and_names_the_task(
    api: Api, plain: Connection
) -> None:
    task_id = await api.submitted(BODY, **KEY)
    for other in ({"payload": {"n": 2}}, {"queue": "other"}, {"delay_seconds": 1}, {"type": "sub"}):
        body = problem(await api.submit(BODY | other, **KEY), "idempotency_key_reused")
        assert body["task_id"] == task_id
    assert await count(plain) == 1


async def test_a_key_that_is_being_recorded_elsewhere_is_a_conflict(
    api: Api, plain: Connection
) -> None:
    async with plain.transaction():
        await plain.execute(
            "insert into leaseq.idempotency_keys (tenant, key, fingerprint, task_id, queue, expires_at)"
            " values ('default', 'order-1', '', gen_random_uuid(), 'default', now() + interval '1 day')"
        )
        problem(await api.submit(BODY, **KEY), "idempotency_in_flight")
        await plain.execute("delete from leaseq.idempotency_keys")
    assert await api.submitted(BODY, **KEY)


async def test_a_key_can_be_required(config: Config, plain: Connection) -> None:
    async with open_api(replace(config, require_idempotency_key=True)) as api:
        problem(await api.submit(BODY), "idempotency_key_invalid")
        assert await count(plain) == 0
        assert await api.submitted(BODY, **KEY)


async def test_keys_have_255_characters_at_most(api: Api) -> None:
    assert await api.submitted(BODY, **{"Idempotency-Key": "k" * 255})
    problem(await api.submit(BODY, **{"Idempotency-Key": "k" * 256}), "idempotency_key_invalid")
    problem(await api.submit(BODY, **{"Idempotency-Key": ""}), "idempotency_key_invalid")


async def test_two_headers_that_differ_are_refused(api: Api, plain: Connection) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    answer = await api.client.post("/api/tasks", json=BODY, headers=headers)
    problem(answer, "idempotency_key_invalid")
    assert await count(plain) == 0
